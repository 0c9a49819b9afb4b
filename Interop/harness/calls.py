"""The scenarios: rtc-peer with each browser, with several pages, with itself, with aiortc."""
import hashlib
import json
import os
import subprocess
import sys
import time

from . import channels
from .browsers import Chromium, Firefox
from .peer import Peer
from .processes import Failed, find_program, measured, tail
from .recordings import (BARS, COLOUR_TOLERANCE, check_camera, check_microphone, check_pattern, check_tone, largest,
                         rising_share)
from .scenarios import Scenario, check
from .webpage import CallPage

MEBIBYTE = 1 << 20
TONE_HERTZ = 440
# The moving pattern and the tone in place of camera and microphone.
SYNTHETIC = ("--test-pattern",)


def check_same_rate(what, received, sent, tolerance=0.10):
    if sent < 5:
        raise Failed(f"{what}: only {sent:.1f} frames a second were sent")
    if abs(received - sent) > tolerance * sent:
        raise Failed(f"{what}: {received:.1f} frames a second were decoded, but {sent:.1f} sent")


class BrowserCall(Scenario):
    """`rtc-peer call` with its own server and page, and one browser."""

    browser_class = Chromium

    def set_up(self):
        self.browser = self.use(self.browser_class(self.path("browser.log")))
        self.page = CallPage(self.browser.page)
        self.peer = self.call("rtc-peer.log")

    def call(self, log_name):
        peer = self.use(Peer("call", "--listen", "127.0.0.1:0", *SYNTHETIC, "--record", self.folder("recordings"),
                             "--downloads", self.folder("downloads"), log_path=self.path(log_name)))
        self.url = peer.wait_for("ready")["url"]
        return peer

    def screenshot(self, path):
        self.browser.page.save_screenshot(path)

    @check("both sides decode frames within 5 s of opening the page", essential=True)
    def connects(self):
        self.page.open(self.url)
        self.page.wait_until_connected(seconds=5)
        self.peer.wait_for_frames(5)

    @check("the page decodes frames at the rate at which rtc-peer sends them")
    def page_rate(self):
        def attempt():
            sent, page = self.rates()
            check_same_rate("rtc-peer to page", page["decoded"], sent["framesSent"])
        measured(attempt)

    @check("rtc-peer decodes frames at the rate at which the page sends them")
    def peer_rate(self):
        def attempt():
            sent, page = self.rates()
            check_same_rate("page to rtc-peer", sent["framesDecoded"], page["sent"])
        measured(attempt)

    def rates(self):
        """Both sides' rates over the same seconds."""
        self.peer.wait_for("statistics")
        begin, first = self.peer.statistics()
        page = self.page.rates(seconds=5)[0]
        end, last = self.peer.statistics()
        missing = [key for key in ("framesSent", "framesDecoded") if key not in last]
        if missing or end - begin < 3:
            raise Failed(f"rtc-peer's statistics stopped or lack {missing}: {last}")
        return {key: (last[key] - first[key]) / (end - begin) for key in ("framesSent", "framesDecoded")}, page

    @check("the page shows the test pattern's colours and its rising counter")
    def page_pattern(self):
        self.page.check_pattern()

    @check("the page plays the tone of 440 Hz")
    def page_tone(self):
        self.page.check_tone(TONE_HERTZ)

    @check("chat text goes both ways")
    def chat(self):
        self.page.say("Grüße from the page <b>1</b>")
        said = self.peer.wait_for("chat")
        if said.get("text") != "Grüße from the page <b>1</b>":
            raise Failed(f"rtc-peer got {said}")
        self.peer.send(chat="and from rtc-peer <i>2</i> 🦊")
        self.page.wait_for_chat("and from rtc-peer <i>2</i> 🦊")

    @check("a file of 10 MiB goes from the page to rtc-peer, with the same hash")
    def file_to_peer(self):
        wanted = self.page.send_file("from the page.bin", 10 * MEBIBYTE, 12345)
        event = self.peer.wait_for("file", 30, direction="received")
        with open(event.get("path") or os.path.join(self.path("downloads"), event["name"]), "rb") as file:
            stored = hashlib.sha256(file.read()).hexdigest()
        if not (event["bytes"] == 10 * MEBIBYTE and event["sha256"] == stored == wanted):
            raise Failed(f"sent {wanted}, stored {stored}, reported {event}")

    @check("a file of 10 MiB goes from rtc-peer to the page, with the same hash")
    def file_to_page(self):
        content = hashlib.shake_128(b"rtc-peer").digest(10 * MEBIBYTE)
        path = self.path("from rtc-peer.bin")
        with open(path, "wb") as file:
            file.write(content)
        self.peer.send(sendFile=path)
        received = self.page.received_file_hash("from rtc-peer.bin", 30)
        if received != hashlib.sha256(content).hexdigest():
            raise Failed(f"the page received another content: {received}")
        os.remove(path)

    @check("a reload of the page resumes the call within 3 s")
    def reload(self):
        self.page.reload()
        self.page.wait_until_connected(seconds=3)

    @check("hanging up on the page ends rtc-peer")
    def page_hangs_up(self):
        time.sleep(4)  # something to find in the recording of this last connection as well
        self.page.hang_up()
        self.peer.wait_for("ended", 5)
        status = self.peer.wait_for_exit()
        if status:
            raise Failed(f"rtc-peer exited with {status}")

    @check("rtc-peer's recording shows the browser's fake camera")
    def recorded_picture(self):
        check_camera(largest(self.path("recordings"), "webm"), self.browser.name).save_screenshot(
            self.path("recording.png"))

    @check("the browser's fake microphone is heard in rtc-peer's recording")
    def recorded_sound(self):
        check_microphone(largest(self.path("recordings"), "webm"), self.browser.name)

    @check("rtc-peer's hanging up ends the call on the page")
    def peer_hangs_up(self):
        peer = self.call("rtc-peer-2.log")
        self.page.open(self.url)
        self.page.wait_until_connected(seconds=10)
        peer.send(hangup=True)
        peer.wait_for("ended", 5)
        self.page.wait_until_ended()
        status = peer.wait_for_exit()
        if status:
            raise Failed(f"rtc-peer exited with {status}")


class ChromiumCall(BrowserCall):
    name = "chromium"
    browser_class = Chromium


class FirefoxCall(BrowserCall):
    name = "firefox"
    browser_class = Firefox


class SecurePage(Scenario):
    """The page from another address than the browser's own, as on another machine: with --tls and without."""

    # Of the documentation's block (RFC 5737), which browsers do not take for this machine.
    address = "192.0.2.1"
    link = ("dev", "lo")
    name = "secure page"

    def set_up(self):
        subprocess.run(["ip", "address", "add", self.address + "/32", *self.link], check=True)
        self.browser = self.use(Chromium(self.path("browser.log"), flags=["--ignore-certificate-errors"]))
        self.page = CallPage(self.browser.page)

    def tear_down(self):
        super().tear_down()
        subprocess.run(["ip", "address", "delete", self.address + "/32", *self.link], check=True)

    def call(self, log_name, *arguments):
        self.peer = self.use(Peer("call", "--listen", self.address + ":0", *arguments, *SYNTHETIC,
                                  log_path=self.path(log_name)))
        self.page.open(self.peer.wait_for("ready")["url"])
        self.page.wait_until_connected(seconds=10)

    def screenshot(self, path):
        self.browser.page.save_screenshot(path)

    @check("by HTTPS with a certificate made here, the page sends its camera")
    def by_https(self):
        self.call("rtc-peer-tls.log", "--tls")
        if not self.browser.page.value("isSecureContext && location.protocol === 'https:'"):
            raise Failed("the page is not secure")
        self.peer.wait_for_frames(5)
        self.peer.send(hangup=True)
        self.peer.wait_for_exit()

    @check("by HTTP the page says why it has no camera, and shows rtc-peer's picture")
    def by_http(self):
        self.call("rtc-peer.log")
        if self.browser.page.value("isSecureContext"):
            raise Failed("the browser takes the page for secure; this checks nothing")
        self.page.page.wait_for("document.body.innerText.includes('secure pages only')", 5, "the page's explanation")
        self.page.check_pattern()


class WithoutUDP(Scenario):
    """A network that lets no UDP through, and no TURN server: the page connects by TCP (RFC 6544)."""

    name = "without UDP"

    def set_up(self):
        commands = ("add table inet blocked", "add chain inet blocked input { type filter hook input priority 0; }",
                    "add rule inet blocked input meta l4proto udp drop")
        subprocess.run([find_program(["nft"]), "; ".join(commands)], check=True)
        self.browser = self.use(Chromium(self.path("browser.log")))
        self.page = CallPage(self.browser.page)

    def tear_down(self):
        subprocess.run([find_program(["nft"]), "delete table inet blocked"], check=True)
        super().tear_down()

    def screenshot(self, path):
        self.browser.page.save_screenshot(path)

    @check("Chromium connects by TCP, and shows rtc-peer's picture")
    def connects(self):
        peer = self.use(Peer("call", "--listen", "127.0.0.1:0", *SYNTHETIC, log_path=self.path("rtc-peer.log")))
        self.page.open(peer.wait_for("ready")["url"])
        self.page.wait_until_connected(seconds=10)
        self.page.check_pattern()
        path = peer.wait_for("statistics", 5)["path"]
        if not path.endswith(" tcp"):
            raise Failed("the path is " + path)


class Mesh(Scenario):
    """Several pages in the room of one rtc-peer: each has a connection with each."""

    # Two cores carry all encoders and decoders of all pages: their cameras are slow.
    camera_fps = 10
    # Of rtc-peer.
    arguments = ()

    def start_peer(self):
        self.peer = self.use(Peer("call", "--listen", "127.0.0.1:0", *self.arguments, *SYNTHETIC,
                                  log_path=self.path("rtc-peer.log")))
        self.url = self.peer.wait_for("ready")["url"]
        self.pages = []

    def screenshot(self, path):
        for number, page in enumerate(self.pages):
            page.page.save_screenshot(path.replace(".png", f"-page-{number + 1}.png"))

    def join(self, page):
        page = CallPage(page)
        page.open(self.url)
        self.pages.append(page)

    def check_all_connected(self, seconds=40):
        """Each page has one connection with each other participant, and frames come on all of them."""
        others = len(self.pages)
        for page in self.pages:
            page.wait_until_connected(others, seconds)
        for number, page in enumerate(self.pages):
            measured(lambda: self.check_frames(page, number))
        states = {event["peer"]: event["state"] for _, event in self.peer.events if event["event"] == "peer"}
        connected = [peer for peer, state in states.items() if state == "connected"]
        if len(connected) != others:
            raise Failed(f"rtc-peer reports {len(connected)} connected peers, not {others}")

    @staticmethod
    def check_frames(page, number):
        still = [rate for rate in page.rates(3) if rate["decoded"] < 1]
        if still:
            raise Failed(f"page {number + 1} has {len(still)} connection(s) on which no frames come: {still}")


class TwoBrowsers(Mesh):
    name = "two browsers"

    def set_up(self):
        self.start_peer()
        self.chromium = self.use(Chromium(self.path("chromium.log"), self.camera_fps))
        self.firefox = self.use(Firefox(self.path("firefox.log"), self.camera_fps))

    @check("a second browser in the room gets its own connections", essential=True)
    def second_joins(self):
        self.join(self.chromium.page)
        self.pages[0].wait_until_connected(seconds=10)
        self.join(self.firefox.page)
        self.check_all_connected()

    @check("when one leaves, the others stay connected")
    def one_leaves(self):
        self.pages.pop().hang_up()
        time.sleep(1)
        self.check_all_connected()


class OneUDPPort(TwoBrowsers):
    """Two browsers' stacks on one port of rtc-peer."""

    name = "one UDP port"
    arguments = ("--udp-port", "41000")

    @check("a page comes again, and rtc-peer has used no other UDP port")
    def no_other_port(self):
        self.join(self.chromium.open_page())
        self.check_all_connected()
        ports = self.peer.udp_ports()
        # 5353 is multicast DNS's, if a page tells a name.
        if ports - {5353} != {41000}:
            raise Failed(f"rtc-peer has the UDP ports {sorted(ports)}")


class FourPages(Mesh):
    name = "four pages"

    def set_up(self):
        self.start_peer()
        self.chromium = self.use(Chromium(self.path("chromium.log"), self.camera_fps))

    @check("four pages and rtc-peer all see each other")
    def four_join(self):
        self.join(self.chromium.page)
        for _ in range(3):
            self.join(self.chromium.open_page())
        self.check_all_connected(60)


class TwoPeers(Scenario):
    """rtc-peer with rtc-peer: no browser. Subclasses say through which server."""

    def set_up(self):
        self.first, self.second = self.start_peers()

    def start(self, number, *arguments):
        return self.use(Peer("call", *arguments, *SYNTHETIC, "--record", self.folder(f"recordings-{number}"),
                             "--downloads", self.folder(f"downloads-{number}"),
                             log_path=self.path(f"rtc-peer-{number}.log")))

    def screenshot(self, path):
        """What was recorded so far is only whole after the end."""

    @check("both decode frames within 5 s", essential=True)
    def connects(self):
        for peer in (self.first, self.second):
            peer.wait_for_frames(5)

    @check("frames are decoded at the rate at which they are sent")
    def rate(self):
        measured(self.check_rate)

    def check_rate(self):
        peers, members = (self.first, self.second), ("framesSent", "framesDecoded")
        for peer in peers:
            peer.wait_for("statistics")
        # Both over the same seconds: a machine that is busy for a moment slows both.
        before = [peer.statistics() for peer in peers]
        time.sleep(6)
        after = [peer.statistics() for peer in peers]
        sent, decoded = ((last[member] - first[member]) / (end - begin)
                         for member, (begin, first), (end, last) in zip(members, before, after))
        check_same_rate("rtc-peer to rtc-peer", decoded, sent)

    @check("chat text goes both ways")
    def chat(self):
        self.first.send(chat="one")
        self.second.wait_for("chat", 5, text="one")
        self.second.send(chat="two")
        self.first.wait_for("chat", 5, text="two")

    @check("a file of 10 MiB arrives with the same hash")
    def file(self):
        content = hashlib.shake_128(b"between peers").digest(10 * MEBIBYTE)
        path = self.path("content.bin")
        with open(path, "wb") as file:
            file.write(content)
        self.first.send(sendFile=path)
        event = self.second.wait_for("file", 30, direction="received")
        os.remove(path)
        if event["sha256"] != hashlib.sha256(content).hexdigest():
            raise Failed(f"another content arrived: {event}")

    @check("hanging up on one side ends the other")
    def hang_up(self):
        self.first.send(hangup=True)
        for peer in (self.first, self.second):
            peer.wait_for("ended", 5)
            status = peer.wait_for_exit()
            if status:
                raise Failed(f"rtc-peer exited with {status}; {tail(peer.log_path, 3)}")

    @check("each recorded the other's pattern and tone")
    def recordings(self):
        for number in (1, 2):
            pictures = check_pattern(largest(self.path(f"recordings-{number}"), "webm"))
            pictures.save_screenshot(self.path(f"recording-{number}.png"))
            check_tone(largest(self.path(f"recordings-{number}"), "webm"), TONE_HERTZ)


class PeersThroughServe(TwoPeers):
    name = "rtc-peer to rtc-peer through rtc-peer serve"

    def start_peers(self):
        server = self.use(Peer("serve", "--listen", "127.0.0.1:0", log_path=self.path("serve.log")))
        url = server.wait_for("ready")["url"]
        first = self.start(1, "--server", url, "--room", "interop")
        first.wait_for("ready")
        return first, self.start(2, "--server", url, "--room", "interop")


class PeersThroughEmbedded(TwoPeers):
    name = "rtc-peer to rtc-peer through its own server"

    def start_peers(self):
        first = self.start(1, "--listen", "127.0.0.1:0")
        ready = first.wait_for("ready")
        return first, self.start(2, "--server", ready["server"], "--room", ready["room"])


class AiortcCall(Scenario):
    """rtc-peer with aiortc, which reports what it saw when the call is over."""

    seconds = 8
    aiortc = None

    def start_aiortc(self, server, room, *arguments):
        script = os.path.join(os.path.dirname(__file__), "../aiortc_peer.py")
        with open(self.path("aiortc.log"), "wb") as log:
            self.aiortc = subprocess.Popen(
                [os.environ.get("AIORTC_PYTHON", sys.executable), script, "--server", server, "--room", room, "--seconds",
                 str(self.seconds), "--screenshot", self.path("aiortc.png"), *arguments], stdout=subprocess.PIPE, stderr=log)
        self.logs.append(self.path("aiortc.log"))

    def start_peer(self, *arguments):
        self.peer = self.use(Peer("call", *arguments, *SYNTHETIC, "--record", self.folder("recordings"),
                                  log_path=self.path("rtc-peer.log")))
        return self.peer.wait_for("ready")

    def tear_down(self):
        if self.aiortc and self.aiortc.poll() is None:
            self.aiortc.kill()
        super().tear_down()

    @check("connects, and both decode frames", essential=True)
    def connects(self):
        self.peer.wait_for_frames(10)

        def attempt():
            rate = self.peer.rate("framesDecoded", 4)
            if rate < 20:
                raise Failed(f"rtc-peer decodes {rate:.1f} frames a second of aiortc's 30")
        measured(attempt, 5)

    @check("chat text goes both ways")
    def chat(self):
        self.peer.wait_for("chat", 5, text="hello from aiortc")
        self.peer.send(chat="hello aiortc")
        self.peer.wait_for("chat", 5, text="echo:hello aiortc")

    @check("aiortc sees the pattern and hears the tone")
    def seen_by_aiortc(self):
        output, _ = self.aiortc.communicate(timeout=self.seconds + 20)
        try:
            report = json.loads(output)
        except ValueError:
            raise Failed("aiortc ended without a report: " + tail(self.path("aiortc.log"))) from None
        if report.get("video_frames", 0) < 20 * self.seconds / 2 or not report.get("bars"):
            raise Failed(f"aiortc decoded {report.get('video_frames', 0)} frames: {report}")
        if any(abs(a - b) > COLOUR_TOLERANCE for seen, wanted in zip(report["bars"], BARS)
               for a, b in zip(seen, wanted)):
            raise Failed(f"aiortc sees {report['bars']}, not {BARS}")
        if rising_share(report["counters"]) < 0.9:
            raise Failed(f"the counter does not rise: {report['counters']}")
        if abs(report.get("tone", 0) - TONE_HERTZ) > 5:
            raise Failed(f"aiortc hears {report.get('tone')} Hz, not {TONE_HERTZ}")

    @check("rtc-peer ends when aiortc leaves, and recorded its pattern and tone")
    def recordings(self):
        self.peer.wait_for("ended", 5)
        check_pattern(largest(self.path("recordings"), "webm")).save_screenshot(self.path("recording.png"))
        check_tone(largest(self.path("recordings"), "webm"), TONE_HERTZ)


class AiortcOffers(AiortcCall):
    name = "aiortc offers"

    def set_up(self):
        ready = self.start_peer("--listen", "127.0.0.1:0")
        self.start_aiortc(ready["server"], ready["room"])


class AiortcAnswers(AiortcCall):
    name = "aiortc answers"
    # It waits for rtc-peer before the call begins.
    seconds = 12

    def set_up(self):
        server = self.use(Peer("serve", "--listen", "127.0.0.1:0", log_path=self.path("serve.log")))
        url = server.wait_for("ready")["url"]
        self.start_aiortc(url, "interop")
        end = time.monotonic() + 15
        while "joined" not in tail(self.path("aiortc.log")):
            if time.monotonic() > end or self.aiortc.poll() is not None:
                raise Failed("aiortc did not join: " + tail(self.path("aiortc.log")))
            time.sleep(0.1)
        self.start_peer("--server", url, "--room", "interop")


SCENARIOS = [ChromiumCall, FirefoxCall, SecurePage, WithoutUDP, TwoBrowsers, OneUDPPort, FourPages, PeersThroughServe,
             PeersThroughEmbedded, AiortcOffers, AiortcAnswers, *channels.SCENARIOS]
