"""Addresses hidden behind names of multicast DNS: rtc-peer with Chromium, with zeroconf, and with itself.

rtc-peer is in a network namespace of its own, on the other end of a cable: loopback has no multicast.
"""
import ipaddress
import json
import os
import re
import subprocess

from .browsers import Chromium
from .peer import Peer
from .processes import Failed, find_program, start, stop, wait_until
from .scenarios import Scenario, check
from .webpage import CallPage

NAME = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.local"
HERE = os.path.dirname(os.path.abspath(__file__))


class Cable:
    """This namespace and another one, with a cable between them. A context manager."""

    # Of the documentation's block (RFC 5737).
    here, there = "198.51.100.1", "198.51.100.2"

    def __init__(self, log_path):
        self.log_path = log_path
        self.process = start([find_program(["unshare"]), "--net", "sleep", "infinity"], log_path)
        # The new namespace is there as soon as it differs from ours.
        def is_apart():
            try:
                return os.readlink(f"/proc/{self.process.pid}/ns/net") != os.readlink("/proc/self/ns/net")
            except OSError:
                return False
        wait_until(is_apart, 5, "a second network namespace")
        self.within = ("nsenter", "--net", "--target", str(self.process.pid))
        self.ip("link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", str(self.process.pid))
        for within, address, other in (((), self.here, self.there), (self.within, self.there, self.here)):
            self.ip("address", "add", address + "/24", "dev", "cable", within=within)
            self.ip("link", "set", "cable", "up", within=within)
            # A page without permissions gathers from the default route only.
            self.ip("route", "add", "default", "via", other, within=within)
        self.ip("link", "set", "lo", "up", within=self.within)

    @staticmethod
    def ip(*arguments, within=()):
        subprocess.run([*within, "ip", *arguments], check=True)

    def __exit__(self, *_):
        # The cable goes with the namespace at its other end.
        stop(self.process)
        subprocess.run(["ip", "link", "delete", "cable"], stderr=subprocess.DEVNULL)


class Cabled(Scenario):
    """rtc-peer at the other end of a cable."""

    def set_up(self):
        self.cable = self.use(Cable(self.path("cable.log")))

    def call(self, log_name, *arguments, within=None, listens=True):
        self.peer_log = self.path(log_name)
        where = ("--listen", self.cable.there + ":0") if listens else ()
        return self.use(Peer("call", "--verbose", *where, "--test-pattern", "--no-speaker", *arguments,
                             log_path=self.peer_log, within=self.cable.within if within is None else within))

    def wait_for_log(self, pattern, log_name, seconds=10):
        def find():
            with open(self.path(log_name), errors="replace") as file:
                return re.search(pattern, file.read())
        return wait_until(find, seconds, f"{pattern!r} in {log_name}")


class HiddenAddresses(Cabled):
    """Chromium as people have it, without permissions for camera and microphone: its host addresses are names."""

    name = "hidden addresses"

    def set_up(self):
        super().set_up()
        self.browser = self.use(Chromium(self.path("browser.log"), hides_addresses=True))
        self.page = CallPage(self.browser.page)

    def screenshot(self, path):
        self.browser.page.save_screenshot(path)

    def connect(self, log_name, *arguments):
        self.peer = self.call(log_name, *arguments)
        self.page.open(self.peer.wait_for("ready")["url"])
        self.page.wait_until_connected(seconds=10)

    def candidates(self, description):
        text = self.page.probe(f"return probe.connections()[0].{description}.sdp;")
        return re.findall(r"a=candidate:.*", text)

    def hang_up(self):
        self.peer.send(hangup=True)
        self.peer.wait_for_exit()

    @check("Chromium's name is looked up, and the call is up between host candidates", essential=True)
    def theirs(self):
        self.connect("rtc-peer.log")
        told = self.candidates("localDescription")
        hosts = [line for line in told if " typ host" in line]
        if not hosts or not all(re.search(NAME, line) for line in hosts):
            raise Failed(f"Chromium hides nothing, this checks nothing: {told}")
        found = self.wait_for_log(rf"the candidate's name ({NAME}) stands for \[([^\]]*)\]", "rtc-peer.log")
        if found[2] != self.cable.here or not any(found[1] in line for line in hosts):
            raise Failed(f"{found[1]} was found to be {found[2]}; Chromium told {hosts}")
        selected = self.peer.wait_for("statistics")
        self.hang_up()

    @check("Chromium looks rtc-peer's name up, which tells no address")
    def ours(self):
        self.connect("rtc-peer-hidden.log", "--hide-addresses")
        told = self.candidates("remoteDescription")
        if not told or not all(re.search(NAME, line) for line in told):
            raise Failed(f"rtc-peer told {told}")
        # A peer-reflexive candidate comes by rtc-peer's checks; a host candidate only by its name.
        remote = self.page.probe("""
            const stats = await probe.connections()[0].getStats();
            return [...stats.values()].filter(s => s.type === 'remote-candidate')
                .map(s => [s.candidateType, s.address, s.port]);""")
        if not any(kind == "host" for kind, *_ in remote):
            raise Failed(f"Chromium knows these remote candidates only: {remote}")
        self.hang_up()


SCENARIOS = [HiddenAddresses]
