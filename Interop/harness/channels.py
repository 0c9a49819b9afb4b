"""Data channels of every kind between this library and other stacks and browsers that echo, in both roles."""
import http.server
import json
import os
import select
import subprocess
import sys
import threading
import time

from .browsers import BROWSERS
from .processes import Failed, find_program, start, stop
from .scenarios import Scenario, check

HERE = os.path.dirname(__file__)
ECHO = os.path.join(HERE, "../channel_echo.py")
PEER_BENCH = os.environ.get("PEER_BENCH", os.path.join(HERE, "../../.build/release/peer-bench"))

# What everything together may take on a busy machine.
SECONDS = 120


class ChannelScenario(Scenario):
    """peer-bench in one role; in the other a peer that follows the lines of channel_echo.py, in a way of its own."""

    stack = role = ""
    # What peer-bench does, and how often.
    figure, count = "channels", 100
    # How many members of a channel the stack tells, and how many kinds of channels it can open.
    members, kinds = 7, 18

    def set_up(self):
        """Runs everything; the checks look at what peer-bench, which asks and compares, says of it."""
        others_role = "answer" if self.role == "offer" else "offer"
        log_path = self.path("peer-bench.log")
        self.logs.append(log_path)
        bench = start([PEER_BENCH, self.role, self.figure, str(self.count)], log_path, stdin=subprocess.PIPE,
                      stdout=subprocess.PIPE, env=dict(os.environ, BENCH_ADDR="127.0.0.1"))
        self.obstacle, self.deadline = None, time.monotonic() + SECONDS
        try:
            self.serve(bench, others_role)
            self.status = bench.wait(max(0, self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.obstacle = f"peer-bench was not done within {SECONDS} s"
        except (Failed, OSError) as error:
            self.obstacle = str(error)
        finally:
            stop(bench)
            self.end_serving()
        with open(log_path, errors="replace") as log:
            self.said = log.read().splitlines()
        self.results = {}
        for line in self.said:
            if line.startswith("RESULT "):
                self.results.update(json.loads(line.removeprefix("RESULT ")))

    def serve(self, bench, role):
        """Gives the peer what peer-bench says, and the reverse."""

    def end_serving(self):
        pass

    def check_all(self, *names):
        """All that was expected came about, of each of these stages."""
        for name in names:
            right, expected = self.results.get(name), self.results.get(name + "_expected")
            if not expected:
                why = self.obstacle or f"peer-bench exited with {self.status}"
                raise Failed("\n".join([f"{name}: not all was tried, since {why}", *self.said[-3:]]))
            if right != expected:
                lines = [line for line in self.said if line.startswith(name + ": ")]
                raise Failed("\n".join([f"{name}: {right:g} of {expected:g} were right", *lines[:5]]))


class Kinds:
    """Checks of `peer-bench channels`."""

    def check_kinds(self, name):
        # The last is that all are closed in the end.
        count = self.results[name + "_expected"] - 1
        if count != self.kinds:
            raise Failed(f"{name}: {count:g} kinds of channels, not {self.kinds}")

    @check("300 channels of every kind carry text and bytes there and back, close, and their ids are used again")
    def echoes(self):
        self.check_all("echoes", "reused")
        # 32 streams are what usrsctp begins with.
        if self.results["highest_id"] < 150:
            raise Failed(f"the highest id was {self.results['highest_id']:g}")

    @check("it sees each of them as it was made")
    def described(self):
        self.check_all("described")
        if self.results["members"] < self.members:
            raise Failed(f"only {self.results['members']:g} members were compared")

    @check("channels of every kind that it opens come as it made them, with what it sends at once")
    def opened(self):
        self.check_all("opened", "opened_echoes")
        self.check_kinds("opened")

    @check("channels of every kind with an id agreed on beforehand carry text and bytes")
    def negotiated(self):
        self.check_all("negotiated", "negotiated_echoes")
        self.check_kinds("negotiated")

    @check("whoever opened channels, either side closes them, or both at once, and their ids are used again")
    def closed(self):
        self.check_all("closed")


class ProgramEcho(ChannelScenario):
    """channel_echo.py as a process with a stack that Python can call."""

    interpreter = ""

    def serve(self, bench, role):
        log_path = self.path("echo.log")
        self.logs.append(log_path)
        self.echo = start([os.environ.get(self.interpreter, sys.executable), ECHO, self.stack, role], log_path,
                          stdin=bench.stdout, stdout=bench.stdin)
        bench.stdin.close()
        bench.stdout.close()

    def end_serving(self):
        stop(self.echo)


class EchoPage(http.server.BaseHTTPRequestHandler):
    """A page with nothing but the script. It needs an address: without, Firefox gathers no candidates here."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        with open(os.path.join(HERE, "channel_echo.js"), "rb") as script:
            self.wfile.write(b"<!DOCTYPE html><meta charset=utf-8><title>Echo</title><script>%b</script>" % script.read())

    def log_message(self, *_):
        pass


class BrowserEcho(ChannelScenario):
    """channel_echo.js in a browser."""

    def set_up(self):
        self.browser = self.use(BROWSERS[self.stack](self.path("browser.log")))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), EchoPage)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.browser.page.open(f"http://127.0.0.1:{self.server.server_port}/")
        super().set_up()

    def serve(self, bench, role):
        page, lines = self.browser.page, b""
        page.value(f"echoPeer.start({json.dumps(role)}) ?? true")
        while bench.poll() is None and time.monotonic() < self.deadline:
            if select.select([bench.stdout], [], [], 0.005)[0]:
                lines += os.read(bench.stdout.fileno(), 1 << 20)
            *whole, lines = lines.split(b"\n")
            for line in whole:
                page.value(f"echoPeer.take({json.dumps(line.decode())}) ?? true")
            for line in page.value("echoPeer.lines.splice(0)"):
                bench.stdin.write(line.encode() + b"\n")
                bench.stdin.flush()
        if bench.poll() is None:
            raise Failed(f"peer-bench was not done within {SECONDS} s; the page has {page.value('echoPeer.state')}")

    def end_serving(self):
        self.server.shutdown()
        self.server.server_close()


class Lossy:
    """Checks of `peer-bench bursts`, where one packet of twenty gets lost."""

    figure, count, percent = "bursts", 60, 5

    def set_up(self):
        commands = ("add table inet loss", "add chain inet loss input { type filter hook input priority 0; }",
                    f"add rule inet loss input meta l4proto udp numgen random mod 100 < {self.percent} drop")
        subprocess.run([find_program(["nft"]), "; ".join(commands)], check=True)
        super().set_up()

    def tear_down(self):
        subprocess.run([find_program(["nft"]), "delete table inet loss"], check=True)
        super().tear_down()

    def check_burst(self, name):
        self.check_all(name)
        if not self.results[name + "_lost"]:
            raise Failed("no message was given up")

    @check("what it is sent comes all, and in order, as the channel has it; what was given up stops nothing")
    def sent(self):
        self.check_burst("sent")

    @check("what it sends comes all, and in order, as the channel has it; what was given up stops nothing")
    def received(self):
        self.check_burst("received")


def scenario(where, checks, stack, role, words="", **members):
    other = "answers" if role == "offer" else "offers"
    return type(f"{checks.__name__}_{stack}_{role}", (checks, where), {
        "name": f"data channels{words} with {stack}, which {other}", "stack": stack, "role": role, **members})


ROLES = ("offer", "answer")
LOSSY = " on a lossy network"
SCENARIOS = [scenario(BrowserEcho, Kinds, browser, role) for browser in BROWSERS for role in ROLES]
SCENARIOS += [scenario(ProgramEcho, Kinds, "aiortc", role, interpreter="AIORTC_PYTHON") for role in ROLES]
# Left out where there is no Python for it; run says so.
if "LIBDATACHANNEL_PYTHON" in os.environ:
    # Its package tells label, protocol and id alone, and takes a life time of 0 for none.
    SCENARIOS += [scenario(ProgramEcho, Kinds, "libdatachannel", role, interpreter="LIBDATACHANNEL_PYTHON", members=3,
                           kinds=16) for role in ROLES]
# Only when asked for: about one of twenty-five with Firefox stands still, and it is not known yet on whose side.
if "INTEROP_LOSSY" in os.environ:
    SCENARIOS += [scenario(BrowserEcho, Lossy, browser, role, LOSSY) for browser in BROWSERS for role in ROLES]
    SCENARIOS += [scenario(ProgramEcho, Lossy, "aiortc", role, LOSSY, interpreter="AIORTC_PYTHON") for role in ROLES]
