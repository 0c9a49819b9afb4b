#!/usr/bin/env python3
"""Names of multicast DNS by python-zeroconf, which shares no code with rtc-peer.

  zeroconf_names.py resolve INTERFACE-ADDRESS NAME            prints the name's addresses, one a line
  zeroconf_names.py publish INTERFACE-ADDRESS NAME ADDRESS    prints "published", and answers until it is ended
"""
import signal
import socket
import sys

from zeroconf import AddressResolver, ServiceInfo, Zeroconf


def main(command, interface, name, address=None):
    zeroconf = Zeroconf(interfaces=[interface])
    try:
        if command == "resolve":
            resolver = AddressResolver(name + ".")
            resolver.request(zeroconf, 3000)
            print("\n".join(resolver.parsed_addresses()))
        else:
            # It publishes hosts as what services run on.
            service = "_rtc-peer-test._udp.local."
            zeroconf.register_service(ServiceInfo(service, "test." + service, port=9, server=name + ".",
                                                  addresses=[socket.inet_aton(address)]))
            print("published", flush=True)
            signal.pause()
    finally:
        zeroconf.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
