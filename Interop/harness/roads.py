"""The signalling server goes away in mid-call: rtc-peer and its page then speak along a data channel of their connection."""
import subprocess

from .browsers import Chromium, Firefox
from .peer import Peer
from .processes import Failed, measured, stop
from .scenarios import Scenario, check
from .webpage import CallPage

ROOM = "roads"
# Of the documentation's block (RFC 5737): an address that appears in mid-call.
LATE_ADDRESS = "192.0.2.77"


class ServerGone(Scenario):
    """A call between rtc-peer and the page of `rtc-peer serve`, which is ended; either side may have come first."""

    browser_class = Chromium
    page_is_first = False

    def set_up(self):
        self.serve("127.0.0.1:0")
        self.browser = self.use(self.browser_class(self.path("browser.log")))
        self.page = CallPage(self.browser.page)
        if self.page_is_first:
            self.page.open(f"{self.url}/{ROOM}")
            self.browser.page.wait_for("document.querySelector('#waiting')?.hidden === false", 10, "the page in its room")
            self.call()
        else:
            self.call()
            self.peer.wait_for("ready")
            self.page.open(f"{self.url}/{ROOM}")

    def serve(self, listen):
        self.server = self.use(Peer("serve", "--listen", listen, log_path=self.path("serve.log")))
        self.url = self.server.wait_for("ready")["url"].rstrip("/")

    def call(self):
        self.peer = self.use(Peer("call", "--server", self.url, "--room", ROOM, "--test-pattern", "--no-speaker",
                                  log_path=self.path("rtc-peer.log")))

    def tear_down(self):
        super().tear_down()
        subprocess.run(["ip", "address", "delete", LATE_ADDRESS + "/32", "dev", "lo"], check=False,
                       stderr=subprocess.DEVNULL)

    def screenshot(self, path):
        self.browser.page.save_screenshot(path)

    def renegotiate(self, action):
        """Does something on the page that needs an answer of rtc-peer, and waits for it."""
        return self.page.probe("""
            const connection = probe.connections()[0], end = performance.now() + 5000;
            const fragment = description => /a=ice-ufrag:(\\S+)/.exec(description?.sdp ?? '')?.[1];
            const seen = () => ({state: connection.signalingState, connection: connection.connectionState,
                local: fragment(connection.localDescription), remote: fragment(connection.currentRemoteDescription),
                directions: connection.getTransceivers().map(t => t.currentDirection)});
            const before = seen();
            window.kept ??= connection;
            if (args.action === 'restart') connection.restartIce(); else connection.addTransceiver('video');
            const isDone = now => now.state === 'stable' && (args.action === 'restart'
                ? now.local !== before.local && now.remote !== before.remote && now.connection === 'connected'
                : now.directions.length > before.directions.length && now.directions.at(-1));
            while (!isDone(seen()) && performance.now() < end) await new Promise(done => setTimeout(done, 20));
            return {isDone: isDone(seen()), isSame: window.kept === connection, before, after: seen()};""",
                               action=action)

    def expect_renegotiation(self, action):
        result = self.renegotiate(action)
        if not (result["isDone"] and result["isSame"]):
            raise Failed(f"the {action} was not answered: {result}")

    def expect_no_problem(self):
        problems = [event for _, event in self.peer.events if event["event"] == "error"
                    and not event.get("message", "").startswith("The signalling server ")]
        if problems:
            raise Failed(f"rtc-peer has a problem: {problems}")

    @check("the call is up", essential=True)
    def connects(self):
        self.page.wait_until_connected(seconds=10)
        self.peer.wait_for_frames(10)

    @check("without the server, rtc-peer answers when the page restarts ICE", essential=True)
    def restart(self):
        stop(self.server.process)
        self.expect_renegotiation("restart")
        self.expect_no_problem()

    @check("without the server, rtc-peer answers when the page adds a track")
    def track(self):
        self.expect_renegotiation("track")
        self.expect_no_problem()

    @check("without the server, the page learns of an address that rtc-peer's machine gets")
    def candidate(self):
        subprocess.run(["ip", "address", "add", LATE_ADDRESS + "/32", "dev", "lo"], check=True)
        result = self.page.probe("""
            const connection = probe.connections()[0], end = performance.now() + 8000;
            let text = '';
            while (!text.includes(args.address) && performance.now() < end) {
              await new Promise(done => setTimeout(done, 50));
              text = connection.remoteDescription.sdp;
            }
            return text.includes(args.address);""", address=LATE_ADDRESS)
        if not result:
            raise Failed(f"the page has not heard of {LATE_ADDRESS}")

    @check("when the server is back, what it brings late disturbs nothing, and both roads work")
    def back(self):
        self.serve(self.url.split("//", 1)[1])
        # Both are in the room again, by their former names.
        self.browser.page.wait_for("!document.querySelector('#state').textContent.includes('server')", 15,
                                   "the page in its room again")
        self.expect_renegotiation("restart")
        self.page.wait_until_connected(seconds=5)
        self.expect_no_problem()

        def attempt():
            rate = self.peer.rate("framesDecoded", 3)
            if rate < 5:
                raise Failed(f"rtc-peer decodes {rate:.1f} frames a second")
        measured(attempt)


class ChromiumJoins(ServerGone):
    name = "signalling server gone: Chromium called rtc-peer"


class ChromiumWaits(ServerGone):
    name = "signalling server gone: rtc-peer called Chromium"
    page_is_first = True


class FirefoxJoins(ServerGone):
    name = "signalling server gone: Firefox called rtc-peer"
    browser_class = Firefox


class HangUp(Scenario):
    """A call between two rtc-peers whose server is ended, and then one of them hangs up."""

    name = "signalling server gone: who hangs up is heard"

    def start(self, number):
        return self.use(Peer("call", "--server", self.url, "--room", ROOM, "--test-pattern", "--no-speaker",
                             log_path=self.path(f"peer-{number}.log")))

    @check("at once, not after half a minute")
    def at_once(self):
        server = self.use(Peer("serve", "--listen", "127.0.0.1:0", log_path=self.path("serve.log")))
        self.url = server.wait_for("ready")["url"].rstrip("/")
        first = self.start(1)
        first.wait_for("ready")
        second = self.start(2)
        for peer in (first, second):
            peer.wait_for("peer", state="connected")
        stop(server.process)
        second.wait_for("error")
        first.send(hangup=True)
        # Without its good-bye a silent path is told after 5 s.
        if second.wait_for("ended", 4)["reason"] != "rtc-peer hung up":
            raise Failed("it ends for another reason")


SCENARIOS = [ChromiumJoins, ChromiumWaits, FirefoxJoins, HangUp]
