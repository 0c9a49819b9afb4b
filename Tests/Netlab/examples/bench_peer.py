#!/usr/bin/env python3
"""PeerConnection's benchmark program as one end of a pair.py: shuttles its descriptions through rendezvous.py.

  bench_peer.py PEER-BENCH offer|answer ROOM ICE-SERVERS SECS PINGS
"""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rendezvous_client import http      # noqa: E402


def main(program, role, room, servers, secs, pings):
    authorities = os.environ.get("SSL_CERT_FILE")
    peer = subprocess.Popen([program, role, "lab", servers, secs, pings, *([authorities] if authorities else [])],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def put(description):
        text = description["sdp"].replace("\r", "").replace("\n", "\x01")
        peer.stdin.write(f"{description['type']}\t{text}\n")
        peer.stdin.flush()

    if role == "answer":
        put(json.loads(http("GET", room, "offer")))
    for line in peer.stdout:
        kind, _, text = line.rstrip("\n").partition("\t")
        if kind == "result":
            http("POST", room, "result-" + role, text)
            if role == "offer":
                break
        else:
            http("POST", room, kind, json.dumps({"type": kind, "sdp": text.replace("\x01", "\r\n")}))
            if kind == "offer":
                put(json.loads(http("GET", room, "answer")))
    else:
        http("POST", room, "result-" + role, json.dumps({"connected": False, "error": f"exit {peer.wait()}"}))
    peer.terminate()


if __name__ == "__main__":
    main(*sys.argv[1:7])
