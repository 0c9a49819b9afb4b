"""Two who meet by a code: rtc-peer pipe."""
import hashlib
import os
import re
import subprocess

from .peer import PROGRAM, Peer
from .processes import Failed, start, stop, tail, wait_until
from .scenarios import Scenario, check

CODE = re.compile(r"[0-9]{4,9}-[a-z]+-[a-z]+-[a-z]+")


class Program:
    """One rtc-peer that speaks to people: its words go to a log, its input and output are files."""

    def __init__(self, *arguments, log_path, stdin=None, stdout=None):
        self.log_path = log_path
        options = {}
        if stdin:
            options["stdin"] = open(stdin, "rb")
        options["stdout"] = open(stdout, "wb") if stdout else subprocess.DEVNULL
        self.process = start([PROGRAM, *map(str, arguments)], log_path, **options)
        for file in options.values():
            if hasattr(file, "close"):
                file.close()

    def __exit__(self, *_):
        stop(self.process)

    def words(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def wait_for(self, pattern, seconds=10):
        """The first match of a regular expression in what it says."""
        return wait_until(lambda: re.search(pattern, self.words()), seconds, f"“{pattern}” in what rtc-peer says")

    def code(self):
        return self.wait_for(CODE).group()

    def address(self):
        return self.wait_for(r"'(http[^']*#[^']*)'").group(1)

    def wait_for_exit(self, status, seconds=30):
        try:
            ended = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"it did not end within {seconds:g} s; it said: {tail(self.log_path)}") from None
        if ended != status:
            raise Failed(f"it ended with {ended}, not {status}; it said: {tail(self.log_path)}")


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Pipe(Scenario):
    """Standard input and output of two processes, joined by a code."""

    name = "pipe"

    def set_up(self):
        self.inputs = {"large": 30_000_000, "small": 1_000, "empty": 0}
        for name, size in self.inputs.items():
            with open(self.path(name), "wb") as file:
                file.write(os.urandom(size))

    def pipe(self, log_name, *arguments, stdin, stdout):
        return self.use(Program("pipe", *arguments, log_path=self.path(log_name), stdin=self.path(stdin),
                                stdout=self.path(stdout)))

    def compare(self, *pairs):
        for sent, received in pairs:
            if digest(self.path(sent)) != digest(self.path(received)):
                raise Failed(f"{received} is not {sent}")

    @check("by the code alone, bytes go both ways")
    def by_code(self):
        first = self.pipe("code-1.log", stdin="large", stdout="code-1.out")
        second = self.pipe("code-2.log", first.code(), stdin="small", stdout="code-2.out")
        first.wait_for_exit(0)
        second.wait_for_exit(0)
        self.compare(("large", "code-2.out"), ("small", "code-1.out"))

    @check("by the printed address, with nothing in one direction")
    def by_address(self):
        first = self.pipe("address-1.log", stdin="empty", stdout="address-1.out")
        second = self.pipe("address-2.log", first.address(), stdin="large", stdout="address-2.out")
        first.wait_for_exit(0)
        second.wait_for_exit(0)
        self.compare(("empty", "address-2.out"), ("large", "address-1.out"))

    @check("through rtc-peer serve")
    def through_serve(self):
        server = self.use(Peer("serve", "--listen", "127.0.0.1:0", log_path=self.path("serve.log")))
        url = server.wait_for("ready")["url"]
        first = self.pipe("serve-1.log", "--server", url, stdin="small", stdout="serve-1.out")
        second = self.pipe("serve-2.log", "--server", url, first.code(), stdin="large", stdout="serve-2.out")
        first.wait_for_exit(0)
        second.wait_for_exit(0)
        self.compare(("small", "serve-2.out"), ("large", "serve-1.out"))

    @check("a wrong code gets one guess, then the code is void")
    def wrong_code(self):
        first = self.pipe("wrong-1.log", stdin="small", stdout="wrong-1.out")
        right = first.code()
        wrong = right.rsplit("-", 1)[0] + ("-zebra" if not right.endswith("zebra") else "-acorn")
        second = self.pipe("wrong-2.log", wrong, stdin="large", stdout="wrong-2.out")
        second.wait_for_exit(1)
        first.wait_for_exit(1)
        first.wait_for("this code is void")
        for path in ("wrong-1.out", "wrong-2.out"):
            if os.path.getsize(self.path(path)):
                raise Failed(f"{path} got bytes")

    @check("a second one with the code is refused, and the first goes on")
    def second_guest(self):
        # An input that stays open keeps the first two together.
        read_end, write_end = os.pipe()
        server = self.use(Peer("serve", "--listen", "127.0.0.1:0", log_path=self.path("second-serve.log")))
        url = server.wait_for("ready")["url"]
        first = self.pipe("second-1.log", "--server", url, stdin="large", stdout="second-1.out")
        code = first.code()
        with open(self.path("second-2.out"), "wb") as out:
            process = start([PROGRAM, "pipe", "--server", url, code], self.path("second-2.log"), stdin=read_end,
                            stdout=out)
        os.close(read_end)
        try:
            first.wait_for("Connected")
            third = self.pipe("second-3.log", "--server", url, code, stdin="small", stdout="second-3.out")
            third.wait_for_exit(1)
            third.wait_for("was used")
            os.close(write_end)
            write_end = None
            first.wait_for_exit(0)
            if process.wait(10) != 0:
                raise Failed("the first guest failed: " + tail(self.path("second-2.log")))
            self.compare(("large", "second-2.out"))
        finally:
            if write_end is not None:
                os.close(write_end)
            stop(process)


SCENARIOS = [Pipe]
