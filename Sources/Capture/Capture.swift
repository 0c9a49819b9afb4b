// Capture: cameras, microphones, files and synthetic sources.
