"""Calls of rtc-peer between two hosts of a lab, with signalling, STUN and TURN in the same lab."""
import os
import shutil
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
ARTIFACTS = os.path.join(ROOT, "artifacts", "network")
sys.path[:0] = [HERE, os.path.join(ROOT, "Interop")]
from harness.peer import Peer                       # noqa: E402
from harness.processes import Failed, stop          # noqa: E402, F401
from nl import lab as laboratory, topology          # noqa: E402
from nl.sysnet import LabError, start_time          # noqa: E402, F401

# The port that every network lets through.
SIGNALLING = "http://www:443"
ICE_SERVERS = ["stun:stun:3478", "turn:turn:3478", "turn:turn:3478?transport=tcp", "turns:turn:443"]


class CallLab:
    """A lab of alice's and bob's networks, with `rtc-peer serve` on its public host. A context manager.

    `own_relay`: the server relays itself (`--turn`), and nobody is told of coturn; "too": beside coturn; None: nobody relays.
    """

    def __init__(self, spec, logs, delay="0ms", own_relay=False):
        self.own_relay = own_relay
        self.spec, self.logs, self.delay = spec, logs, delay
        self.lab = laboratory.Lab("c%x" % (os.getpid() & 0xffffff))
        self.server = None

    def __enter__(self):
        shutil.rmtree(self.logs, ignore_errors=True)
        os.makedirs(self.logs)
        self.lab.up(topology.load(self.spec), owner=[os.getpid(), start_time(os.getpid())])
        try:
            for host in ("alice", "bob"):
                if self.delay != "0ms":
                    self.lab.impair(host + "-uplink", {"delay": self.delay})
            self.serve()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.stop_serving()
        self.lab.down()

    def within(self, host):
        return ["ip", "netns", "exec", self.lab.ns(host)]

    def serve(self):
        servers = []
        if self.own_relay is None:
            servers += ["--ice-server", ICE_SERVERS[0]]
        if self.own_relay:
            servers += ["--turn", "--turn-listen", "[::]:80", "--log", "turn=info"]
        if self.own_relay is False or self.own_relay == "too":
            servers += [word for url in ICE_SERVERS for word in ("--ice-server", url)]
            servers += ["--turn-user", "netlab", "--turn-password", "netlab-password"]
        self.server = Peer("serve", "--listen", "[::]:443", "--host-name", "www", *servers,
                           log_path=os.path.join(self.logs, "serve.log"), within=self.within("www"))
        self.server.wait_for("ready", 10)

    def stop_serving(self):
        if self.server:
            stop(self.server.process)
        self.server = None

    def call(self, host, room, *arguments, media=("--no-video", "--no-audio")):
        """`rtc-peer call` without devices. A context manager, too."""
        return Peer("call", "--server", SIGNALLING, "--room", room, "--name", host, *media, "--no-speaker",
                    "--turn-authorities", self.lab.path("tls", "ca.pem"), *arguments,
                    log_path=os.path.join(self.logs, f"{room}-{host}.log"), within=self.within(host))
