"""What the interoperability tests are made of; Interop/run is the program."""
