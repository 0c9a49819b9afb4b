"""Addresses hidden behind names of multicast DNS: rtc-peer with Chromium, with zeroconf, and with itself.

rtc-peer is in a network namespace of its own, on the other end of a cable: loopback has no multicast.
"""
import os
import re
import subprocess
import sys

from .browsers import Chromium
from .calls import AiortcCall
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



class NamesOfOthers(Cabled):
    """zeroconf and aiortc, each of which has its own multicast DNS, and two rtc-peers."""

    name = "names of others"
    start_aiortc = AiortcCall.start_aiortc
    aiortc, seconds = None, 12

    def tear_down(self):
        if self.aiortc and self.aiortc.poll() is None:
            self.aiortc.kill()
        super().tear_down()

    def zeroconf(self, *arguments, **options):
        script = os.path.join(HERE, "../zeroconf_names.py")
        return subprocess.Popen([os.environ.get("AIORTC_PYTHON", sys.executable), script, *arguments],
                                stdout=subprocess.PIPE, text=True, **options)

    def meet(self, log_name, *arguments):
        """rtc-peer, and aiortc whose host is known by a name that zeroconf answers for."""
        host = log_name.partition(".")[0] + "-host.local"
        zeroconf = self.zeroconf("publish", self.cable.here, host, self.cable.here)
        try:
            if zeroconf.stdout.readline() != "published\n":
                raise Failed("zeroconf did not publish a name")
            peer = self.call(log_name, *arguments)
            ready = peer.wait_for("ready")
            self.start_aiortc(ready["server"], ready["room"], "--address", self.cable.here, "--host-name", host)
            peer.wait_for_frames(10)
            found = self.wait_for_log(rf"the candidate's name {host} stands for \[(.*)\]", log_name)
            if found[1] != self.cable.here:
                raise Failed(f"{host} was found to be {found[1]}")
        finally:
            zeroconf.terminate()
            zeroconf.wait()
        return peer

    @check("rtc-peer looks up a name of zeroconf's; zeroconf and aiortc look up rtc-peer's, while the call lasts")
    def both_ways(self):
        peer = self.meet("shared.log", "--hide-addresses")
        ours = self.wait_for_log(rf"answers for ({NAME})", "shared.log")[1]
        addresses = self.zeroconf("resolve", self.cable.here, ours).communicate(timeout=20)[0].split()
        if addresses != [self.cable.there]:
            raise Failed(f"zeroconf finds {addresses} for {ours}, not {self.cable.there}")
        peer.send(hangup=True)
        peer.wait_for_exit()
        late = self.zeroconf("resolve", self.cable.here, ours).communicate(timeout=20)[0].split()
        if late:
            raise Failed(f"after the call {ours} still stands for {late}")

    @check("with port 5353 taken by a program that does not share it, rtc-peer still looks up zeroconf's name")
    def port_taken(self):
        taker = ("import socket, time; s = [socket.socket(f, socket.SOCK_DGRAM) for f in (socket.AF_INET6,)];"
                 "s[0].bind(('::', 5353)); print('taken', flush=True); time.sleep(60)")
        with subprocess.Popen([*self.cable.within, sys.executable, "-c", taker], stdout=subprocess.PIPE,
                              text=True) as process:
            try:
                if process.stdout.readline() != "taken\n":
                    raise Failed("port 5353 could not be taken")
                peer = self.meet("taken.log")
                self.wait_for_log("port 5353 cannot be shared by IPv4", "taken.log", 1)
                peer.send(hangup=True)
                peer.wait_for_exit()
            finally:
                process.kill()

    @check("two rtc-peers find each other by names alone")
    def two(self):
        first = self.call("first.log", "--hide-addresses")
        ready = first.wait_for("ready")
        second = self.call("second.log", "--hide-addresses", "--server", ready["server"], "--room", ready["room"],
                           within=(), listens=False)
        first.wait_for_frames(10)
        second.wait_for_frames(10)
        for log_name, address in (("first.log", self.cable.here), ("second.log", self.cable.there)):
            found = self.wait_for_log(rf"the candidate's name {NAME} stands for \[([^\]]*)\]", log_name)
            if found[1] != address:
                raise Failed(f"{log_name}: the other side's name was found to be {found[1]}, not {address}")


SCENARIOS = [HiddenAddresses, NamesOfOthers]
