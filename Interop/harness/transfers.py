"""Two who meet by a code: rtc-peer pipe, forward, send and receive."""
import concurrent.futures
import contextlib
import fcntl
import hashlib
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import urllib.request

from .peer import PROGRAM, Peer
from .processes import Failed, start, stop, tail, wait_until
from .scenarios import Scenario, check

CODE = re.compile(r"[0-9]{4,9}-[a-z]+-[a-z]+-[a-z]+")


class Program:
    """One rtc-peer that speaks to people: its words go to a log, its input and output are files."""

    def __init__(self, *arguments, log_path, program=PROGRAM, stdin=None, stdout=None, **options):
        self.log_path = log_path
        if stdin:
            options["stdin"] = open(stdin, "rb")
        options["stdout"] = open(stdout, "wb") if stdout else subprocess.DEVNULL
        self.process = start([program, *map(str, arguments)], log_path, **options)
        for file in (options.get("stdin"), options["stdout"]):
            if hasattr(file, "close"):
                file.close()

    @classmethod
    def of(cls, argv, log_path):
        """Another program, whose output goes to its log."""
        program = cls.__new__(cls)
        program.log_path = log_path
        program.process = start(argv, log_path, env=dict(os.environ, PYTHONUNBUFFERED="1"))
        return program

    def __exit__(self, *_):
        stop(self.process)

    def signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
        self.process.wait(10)

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

    @check("standard input that cannot be read is told before the code is used up")
    def unreadable(self):
        first = self.pipe("unreadable-1.log", stdin="small", stdout="unreadable-1.out")
        # A directory opens, and cannot be read.
        second = self.use(Program("pipe", first.code(), log_path=self.path("unreadable-2.log"),
                                  preexec_fn=lambda: os.dup2(os.open("/", os.O_RDONLY), 0)))
        second.wait_for_exit(1)
        second.wait_for("standard input: Is a directory", 1)
        third = self.pipe("unreadable-3.log", first.code(), stdin="small", stdout="unreadable-3.out")
        first.wait_for_exit(0)
        third.wait_for_exit(0)

    @check("standard input that fails in the middle ends both sides, with words")
    def failing(self):
        master, terminal = os.openpty()
        first = self.use(Program("pipe", log_path=self.path("failing-1.log"),
                                 preexec_fn=lambda: os.dup2(terminal, 0)))
        second = self.pipe("failing-2.log", first.code(), stdin="small", stdout="failing-2.out")
        second.wait_for("Connected")
        first.wait_for("Connected")
        os.close(terminal)
        os.close(master)
        first.wait_for_exit(1)
        first.wait_for("standard input: Input/output error", 1)
        second.wait_for_exit(1)

    @check("through rtc-peer serve")
    def through_serve(self):
        server = self.use(Peer("serve", "--listen", "127.0.0.1:0", log_path=self.path("serve.log")))
        url = server.wait_for("ready")["url"]
        first = self.pipe("serve-1.log", "--server", url, stdin="small", stdout="serve-1.out")
        second = self.pipe("serve-2.log", "--server", url, first.code(), stdin="large", stdout="serve-2.out")
        first.wait_for_exit(0)
        second.wait_for_exit(0)
        self.compare(("small", "serve-2.out"), ("large", "serve-1.out"))

    @check("when the output of one cannot be written, the other ends too")
    def full(self):
        first = self.pipe("full-1.log", stdin="large", stdout="full-1.out")
        second = self.pipe("full-2.log", first.code(), stdin="small", stdout="/dev/full")
        second.wait_for_exit(1)
        second.wait_for("No space left")
        first.wait_for_exit(1)
        first.wait_for("the other side has ended")

    @check("Ctrl-C is told as such, and nothing else")
    def interrupt(self):
        read_end, write_end = os.pipe()
        try:
            first = self.use(Program("pipe", log_path=self.path("interrupt-1.log"), stdout=self.path("interrupt-1.out")))
            second = self.use(Program("pipe", first.code(), log_path=self.path("interrupt-2.log"),
                                      stdout=self.path("interrupt-2.out"), stdin=f"/dev/fd/{read_end}"))
            second.wait_for("Connected")
            second.signal(signal.SIGINT)
            second.wait_for_exit(130)
            if not second.words().endswith("Interrupted\n") or "broke" in second.words():
                raise Failed(f"it says {second.words()!r}")
            first.wait_for_exit(1)
        finally:
            os.close(read_end)
            os.close(write_end)

    @check("a code of files is told as such, on both sides, and theirs the same way")
    def code_of_files(self):
        sender = self.use(Program("send", self.path("small"), log_path=self.path("files-send.log")))
        pipe = self.pipe("files-pipe-1.log", sender.code(), stdin="small", stdout="files-pipe-1.out")
        pipe.wait_for_exit(1)
        pipe.wait_for("take them by `rtc-peer receive CODE`")
        sender.wait_for_exit(1)
        sender.wait_for("does not move files: it is a pipe")
        pipe = self.pipe("files-pipe-2.log", stdin="small", stdout="files-pipe-2.out")
        receiver = self.use(Program("receive", pipe.code(), "--into", self.folder("files-into"),
                                    log_path=self.path("files-receive.log")))
        receiver.wait_for_exit(1)
        receiver.wait_for("does not move files: it is a pipe")
        pipe.wait_for_exit(1)
        pipe.wait_for("code is of a transfer of files")

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


def listing(folder):
    """Each name below a folder with what is there."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.join(place, name)
            relative = os.path.relpath(path, folder)
            if os.path.islink(path):
                found[relative] = "link to " + os.readlink(path)
            elif os.path.isdir(path):
                found[relative] = "folder"
            else:
                found[relative] = f"{os.stat(path).st_mode & 0o777:o} {digest(path)}"
    return found


class Transfer(Scenario):
    """What all transfers of files share: two programs, each with a home of its own for what it remembers."""

    def program(self, side, log_name, *arguments, **options):
        environment = dict(os.environ, XDG_STATE_HOME=self.folder(f"state-{side}"))
        return self.use(Program(*arguments, log_path=self.path(log_name), env=environment, **options))

    def send(self, log_name, *arguments, **options):
        return self.program("sender", log_name, "send", *arguments, **options)

    def receive(self, log_name, *arguments, **options):
        return self.program("receiver", log_name, "receive", *arguments, **options)

    def random_file(self, name, size):
        path = self.path(name)
        with open(path, "wb") as file:
            for offset in range(0, size, 1 << 24):
                file.write(os.urandom(min(1 << 24, size - offset)))
        return path


class Files(Transfer):
    """Files, folders and streams, once through."""

    name = "files by code"
    small_file_count = 10_000

    def set_up(self):
        self.large = self.random_file("large", 100_000_000)
        self.tree = self.folder("tree")
        os.makedirs(self.tree + "/empty folder/deeper")
        self.random_file("tree/file with ünïcode \u202e and spaces", 5_000)
        open(self.tree + "/empty", "w").close()
        os.chmod(self.tree + "/empty", 0o640)
        os.symlink("empty", self.tree + "/link")
        os.makedirs(self.tree + "/many")
        for number in range(self.small_file_count):
            with open(f"{self.tree}/many/{number:05}", "wb") as file:
                file.write(os.urandom(number % 700))

    @check("a file and a folder of 10,000 files arrive as they are")
    def tree_arrives(self):
        sender = self.send("tree-send.log", self.large, self.tree)
        into = self.path("into")
        receiver = self.receive("tree-receive.log", sender.code(), "--into", into)
        receiver.wait_for_exit(0, 120)
        sender.wait_for_exit(0)
        if digest(into + "/large") != digest(self.large):
            raise Failed("the large file is not the same")
        expected, found = listing(self.tree), listing(into + "/tree")
        if expected != found:
            different = [name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)]
            raise Failed(f"{len(different)} entries differ, as {different[:3]}")
        left = [name for name in os.listdir(into) if name not in ("large", "tree")]
        if left:
            raise Failed(f"left over: {left}")

    @check("nothing is overwritten without being told, and then it is")
    def overwriting(self):
        into = self.folder("taken")
        with open(into + "/large", "w") as file:
            file.write("mine")
        sender = self.send("taken-send-1.log", self.large)
        receiver = self.receive("taken-receive-1.log", sender.code(), "--into", into)
        receiver.wait_for_exit(2)
        sender.wait_for_exit(2)
        receiver.wait_for("exists")
        if open(into + "/large").read() != "mine":
            raise Failed("it was overwritten")
        sender = self.send("taken-send-2.log", self.large)
        self.receive("taken-receive-2.log", sender.code(), "--into", into, "--rename").wait_for_exit(0)
        if digest(into + "/large (1)") != digest(self.large) or open(into + "/large").read() != "mine":
            raise Failed(f"--rename left {os.listdir(into)}")
        sender = self.send("taken-send-3.log", self.large)
        self.receive("taken-receive-3.log", sender.code(), "--into", into, "--overwrite").wait_for_exit(0)
        if digest(into + "/large") != digest(self.large):
            raise Failed("--overwrite did not overwrite")

    @check("whoever receives may print the code as well: files are sent to it")
    def to_receiver(self):
        into = self.path("to-into")
        receiver = self.receive("to-receive.log", "--into", into)
        sender = self.send("to-send.log", "--to", receiver.code(), self.large)
        sender.wait_for_exit(0)
        receiver.wait_for_exit(0)
        if digest(into + "/large") != digest(self.large) or os.listdir(into) != ["large"]:
            raise Failed(f"there is {os.listdir(into)}, or it is not the same")

    @check("two who both want to receive are told so")
    def both_receive(self):
        first = self.receive("both-1.log", "--into", self.path("both-into"))
        second = self.receive("both-2.log", first.code(), "--into", self.path("both-into-2"))
        second.wait_for_exit(1)
        first.wait_for_exit(1)
        first.wait_for("both sides want to receive")

    @check("Ctrl-C on both sides leaves what goes on, when the receiver printed the code")
    def interrupt_to_receiver(self):
        into = self.path("to-interrupt-into")
        receiver = self.receive("to-interrupt-receive-1.log", "--into", into)
        code = receiver.code()
        sender = self.send("to-interrupt-send-1.log", "--to", code, self.large)
        wait_until(lambda: part_size(into) > 8_000_000, 20, "8 MB of the file", interval=0.01)
        receiver.signal(signal.SIGINT)
        receiver.wait_for_exit(130)
        receiver.wait_for(f"to go on: rtc-peer receive --resume {code}")
        sender.signal(signal.SIGINT)
        sender.wait_for_exit(130)
        # In the folder that it remembers.
        receiver = self.receive("to-interrupt-receive-2.log", "--resume", code)
        receiver.code()
        sender = self.send("to-interrupt-send-2.log", "--to", code, self.large)
        sender.wait_for_exit(0)
        receiver.wait_for_exit(0)
        receiver.wait_for("Going on with")
        if digest(into + "/large") != digest(self.large):
            raise Failed("the file is not the same")

    @check("what cannot be sent is left out, both sides say what and why, and both end with 2")
    def left_out(self):
        folder = self.folder("leaving")
        self.random_file("leaving/good", 5_000)
        os.mkfifo(folder + "/pipe")
        os.symlink("/etc/passwd", folder + "/out")
        with open(os.fsencode(folder) + b"/bad\xff.txt", "w"):
            pass
        with Peer("send", "--listen", "127.0.0.1:0", folder, log_path=self.path("left-send.log")) as sender:
            receiver = self.receive("left-receive.log", sender.wait_for("ready")["url"], "--into", self.path("left-into"))
            receiver.wait_for_exit(2)
            for name, code in (("pipe", "unsupported-kind"), ("out", "unsafe-path"), ("bad\\xff.txt", "unsafe-path")):
                sender.wait_for("file", name="leaving/" + name, state="failed", code=code)
                receiver.wait_for(re.escape("! leaving/" + name))
            sender.wait_for("summary", failures=3, files=1)
            if sender.wait_for_exit() != 2:
                raise Failed(f"the sender ended with {sender.process.returncode}")
        receiver.wait_for("3 did not go through")
        if os.listdir(self.path("left-into/leaving")) != ["good"] or os.listdir(self.path("left-into")) != ["leaving"]:
            raise Failed(f"there is {os.listdir(self.path('left-into/leaving'))}")

    @check("a file that is gone before the receiver comes is left out, and the others arrive")
    def vanished(self):
        stays, goes = self.random_file("stays", 1000), self.random_file("goes", 1000)
        sender = self.send("vanished-send.log", stays, goes)
        code = sender.code()
        os.remove(goes)
        receiver = self.receive("vanished-receive.log", code, "--into", self.path("vanished-into"))
        receiver.wait_for_exit(2)
        sender.wait_for_exit(2)
        receiver.wait_for("! goes: cannot send goes: No such file")
        if os.listdir(self.path("vanished-into")) != ["stays"]:
            raise Failed(f"there is {os.listdir(self.path('vanished-into'))}")

    @check("what is wrong at the start is told before a code is printed")
    def mistakes(self):
        one, other = self.random_file("twice", 10), self.folder("other") + "/twice"
        shutil.copy(one, other)
        empty = (64, "is empty")
        for number, (arguments, status, words) in enumerate((
                (["/dev/null"], 1, "neither a file nor a directory"), (["/"], 1, "no name of its own"),
                (["-", "--name", "a/b"], 64, "has a slash"), (["--name", "x", one], 64, "files keep their names"), ([one, other], 1, "would both be twice"),
                ([one, self.path("nowhere")], 1, "No such file"), ([""], *empty), (["--to", "", one], *empty))):
            sender = self.send(f"mistake-{number}.log", *arguments)
            sender.wait_for_exit(status, 5)
            if words not in sender.words() or CODE.search(sender.words().split("Usage")[0].replace("4821-amber-otter-lemon", "")):
                raise Failed(f"of {arguments} it says {sender.words()!r}")
        for number, (arguments, words) in enumerate((([""], "is empty"), (["--into", ""], "is empty"),
                                                     (["--output", "-", "--into", "."], "writes no file"))):
            receiver = self.receive(f"mistake-receive-{number}.log", *arguments)
            receiver.wait_for_exit(64, 5)
            receiver.wait_for(words)

    @check("a server whose certificate is not trusted is told before a code is printed")
    def untrusted_server(self):
        server = self.use(Peer("serve", "--tls", "--listen", "127.0.0.1:0", log_path=self.path("untrusted-serve.log")))
        url = server.wait_for("ready")["url"]
        for number, arguments in enumerate((["send", self.large], ["receive"], ["pipe"], ["forward", "--allow", "localhost:80"])):
            first = self.program("first", f"untrusted-{number}.log", *arguments, "--server", url)
            first.wait_for_exit(1)
            first.wait_for("certificate")
            if CODE.search(first.words()):
                raise Failed(f"{arguments[0]} says {first.words()!r}")

    @check("standard input to standard output")
    def stream(self):
        sender = self.send("stream-send.log", "-", "--name", "large", stdin=self.large)
        receiver = self.receive("stream-receive.log", "--output", "-", sender.code(), stdout=self.path("stream.out"))
        receiver.wait_for_exit(0)
        sender.wait_for_exit(0)
        if digest(self.path("stream.out")) != digest(self.large):
            raise Failed("the stream is not the same")

    @check("a stream that breaks off ends both sides: what writes it, and what has read it, cannot go on")
    def broken_stream(self):
        sender = self.send("full-send.log", self.large)
        receiver = self.receive("full-receive.log", "--output", "-", sender.code(), stdout="/dev/full")
        for side in (receiver, sender):
            side.wait_for_exit(1)
            side.wait_for("the receiver's output cannot be written: No space left on device; a stream cannot be gone on with")
        sender = self.send("killed-send.log", "-", stdin=self.large)
        code = sender.code()
        into = self.path("killed-into")
        receiver = self.receive("killed-receive-1.log", code, "--into", into)
        wait_until(lambda: part_size(into) > 8_000_000, 20, "8 MB of the stream", interval=0.01)
        receiver.signal(signal.SIGKILL)
        sender.wait_for_exit(1, 60)
        sender.wait_for("a stream cannot be gone on with")

    @check("whoever sends to standard output over there is not promised that it can go on")
    def interrupted_stream(self):
        fifo = self.path("fifo")
        os.mkfifo(fifo)
        # Nobody reads it: the transfer stays in its middle.
        held = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        try:
            sender = self.send("fifo-send.log", self.large)
            self.receive("fifo-receive.log", "--output", "-", sender.code(), stdout=fifo)
            wait_until(lambda: struct.unpack("i", fcntl.ioctl(held, termios.FIONREAD, b"0000"))[0], 20, "bytes of the file")
            sender.signal(signal.SIGINT)
            sender.wait_for_exit(130)
            sender.wait_for("Interrupted; a stream cannot be gone on with: start it anew")
        finally:
            os.close(held)
        if [name for name in os.listdir(self.path("state-sender")) if name.startswith("send-")]:
            raise Failed("the sender remembers what it cannot go on with")

    @check("several files to standard output over there end both sides, in words that fit both")
    def several_to_stream(self):
        sender = self.send("several-send.log", self.large, self.random_file("second", 10))
        receiver = self.receive("several-receive.log", "--output", "-", sender.code(), stdout=self.path("several.out"))
        for side in (receiver, sender):
            side.wait_for_exit(1)
            side.wait_for("the receiver takes one file, as a stream: send one file, as tar makes it")

    @check("what is closed is not written to, and nobody is told that all went well")
    def closed_output(self):
        sender = self.send("closed-send.log", self.large)
        code = sender.code()
        receiver = self.use(Program("-c", f"exec '{PROGRAM}' receive --output - {code} >&-", program="/bin/sh",
                                    log_path=self.path("closed-receive.log")))
        for side in (receiver, sender):
            side.wait_for_exit(1)
            side.wait_for("Bad file descriptor")

    @check("the receiver's umask holds, whatever the sender's files allow")
    def umask(self):
        open_file = self.path("open")
        with open(open_file, "wb") as file:
            file.write(b"x")
        os.chmod(open_file, 0o666)
        sender = self.send("umask-send.log", open_file)
        into = self.path("umask-into")
        self.receive("umask-receive.log", sender.code(), "--into", into, umask=0o027).wait_for_exit(0)
        mode = os.stat(into + "/open").st_mode & 0o777
        if mode != 0o640:
            raise Failed(f"the file's mode is {mode:o}")

    @check("with two senders on one machine the code alone finds the right one")
    def two_senders(self):
        senders = [self.send(f"senders-{number}.log", self.large) for number in range(2)]
        for number, code in enumerate([sender.code() for sender in senders]):
            into = self.path(f"senders-into-{number}")
            self.receive(f"senders-receive-{number}.log", code, "--into", into).wait_for_exit(0)

    @check("a code of rtc-peer forward is told as such, on both sides")
    def other_command(self):
        first = self.use(Program("forward", "--allow", "localhost:80", log_path=self.path("other-forward.log")))
        receiver = self.receive("other-receive.log", first.code(), "--into", self.path("other-into"))
        receiver.wait_for_exit(1)
        receiver.wait_for("does not move files")
        first.wait_for_exit(1)
        first.wait_for("of another command")

    @check("another receiver by the same code on this machine is refused, and the first goes on")
    def two_receivers(self):
        sender = self.send("two-send.log", self.large)
        code = sender.code()
        into = self.path("two-into-1")
        first = self.receive("two-receive-1.log", code, "--into", into)
        first.wait_for("knows the code")
        # So that the first cannot be done before the second has begun.
        os.killpg(sender.process.pid, signal.SIGSTOP)
        try:
            second = self.receive("two-receive-2.log", code, "--into", self.path("two-into-2"))
            second.wait_for_exit(1)
            second.wait_for("busy")
        finally:
            os.killpg(sender.process.pid, signal.SIGCONT)
        first.wait_for_exit(0)
        sender.wait_for_exit(0)
        if digest(into + "/large") != digest(self.large):
            raise Failed("the file is not the same")

    @check("who does not come is waited for as long as --wait says")
    def waiting(self):
        self.send("wait-send.log", "--wait", "0.5", self.large).wait_for_exit(1, 5)
        receiver = self.receive("wait-receive.log", "--wait", "0.5", "http://127.0.0.1:9/4821#amber-otter-lemon")
        receiver.wait_for_exit(1, 5)
        receiver.wait_for("has not come in time")

    @check("a wrong code gets one guess; the sender then has a new code, by which the file arrives")
    def wrong_code(self):
        sender = self.send("wrong-send.log", self.large)
        right = sender.code()
        wrong = right.rsplit("-", 1)[0] + ("-zebra" if not right.endswith("zebra") else "-acorn")
        into = self.path("wrong-into")
        self.receive("wrong-receive-1.log", wrong, "--into", into).wait_for_exit(1)
        if os.listdir(into):
            raise Failed(f"something arrived: {os.listdir(into)}")
        sender.wait_for("that code is void")
        new = wait_until(lambda: [c for c in CODE.findall(sender.words()) if c != right], 5, "a new code")[-1]
        self.receive("wrong-receive-2.log", new, "--into", into).wait_for_exit(0)
        sender.wait_for_exit(0)
        if digest(into + "/large") != digest(self.large):
            raise Failed("the file is not the same")

    @check("whoever goes on guessing ends the sender with the fifth code")
    def guessing(self):
        sender, tried = self.send("guess-send.log", self.large), []
        for number in range(5):
            tried.append(wait_until(lambda: [c for c in dict.fromkeys(CODE.findall(sender.words())) if c not in tried],
                                    5, f"code {number + 1}")[0])
            wrong = tried[-1].rsplit("-", 1)[0] + ("-zebra" if not tried[-1].endswith("zebra") else "-acorn")
            self.receive(f"guess-receive-{number}.log", wrong, "--into", self.path("guess-into")).wait_for_exit(1)
        sender.wait_for_exit(1)

    @check("Ctrl-C leaves what the same command goes on with")
    def interrupt(self):
        sender = self.send("interrupt-send-1.log", self.large)
        code = sender.code()
        into = self.path("interrupt-into")
        receiver = self.receive("interrupt-receive-1.log", code, "--into", into)
        wait_until(lambda: part_size(into) > 8_000_000, 20, "8 MB of the file", interval=0.01)
        receiver.signal(signal.SIGINT)
        receiver.wait_for_exit(130)
        receiver.wait_for("to go on: the same command")
        sender.signal(signal.SIGINT)
        sender.wait_for_exit(130)
        sender.wait_for(f"to go on: rtc-peer send --resume {code}")
        sender = self.send("interrupt-send-2.log", "--resume", code)
        sender.code()
        receiver = self.receive("interrupt-receive-2.log", code, "--into", into)
        receiver.wait_for_exit(0)
        sender.wait_for_exit(0)
        receiver.wait_for("Going on with")
        if digest(into + "/large") != digest(self.large):
            raise Failed("the file is not the same")

    @check("who has lost what it kept is refused in words, and the sender hears of it")
    def lost_memory(self):
        sender = self.send("memory-send.log", self.large)
        code = sender.code()
        into = self.path("memory-into")
        receiver = self.receive("memory-receive-1.log", code, "--into", into)
        wait_until(lambda: part_size(into) > 8_000_000, 20, "8 MB of the file", interval=0.01)
        receiver.signal(signal.SIGINT)
        receiver.wait_for_exit(130)
        os.remove(self.path(f"state-receiver/rtc-peer/receive-{code}"))
        receiver = self.receive("memory-receive-2.log", code, "--into", into)
        receiver.wait_for_exit(1)
        receiver.wait_for("the code was used already. If that was you")
        sender.wait_for("start anew for a new code")
        sender.signal(signal.SIGINT)

    @check("Ctrl-C of the sender is one line to the receiver, with the way on")
    def sender_interrupted(self):
        sender = self.send("alarm-send-1.log", self.large)
        code = sender.code()
        into = self.path("alarm-into")
        receiver = self.receive("alarm-receive.log", code, "--into", into)
        wait_until(lambda: part_size(into) > 8_000_000, 20, "8 MB of the file", interval=0.01)
        sender.signal(signal.SIGINT)
        sender.wait_for_exit(130)
        receiver.wait_for("! The other side was stopped")
        # Longer than the receiver takes to find that nobody is there.
        time.sleep(3)
        alarms = [line for line in receiver.words().splitlines() if line.startswith("!")]
        if len(alarms) != 1 or f"this goes on there: rtc-peer send --resume {code}" not in alarms[0]:
            raise Failed(f"it says {alarms}")
        sender = self.send("alarm-send-2.log", "--resume", code)
        receiver.wait_for_exit(0)
        sender.wait_for_exit(0)
        if digest(into + "/large") != digest(self.large):
            raise Failed("the file is not the same")

    @check("who was lost is waited for with a word on how to come again, as long as --wait says, and both can go on")
    def lost(self):
        sender = self.send("lost-send-1.log", "--json", "--wait", "2", self.large, stdout=self.path("lost-send-1.out"))
        code = wait_until(lambda: CODE.search(open(self.path("lost-send-1.out")).read()), 10, "a code").group()
        into = self.path("lost-into")
        receiver = self.receive("lost-receive-1.log", code, "--into", into, "--json", stdout=self.path("lost-receive-1.out"))
        wait_until(lambda: part_size(into) > 8_000_000, 20, "8 MB of the file", interval=0.01)
        receiver.signal(signal.SIGINT)
        receiver.wait_for_exit(130)
        sender.wait_for_exit(1)
        events = {side: [json.loads(line) for line in open(self.path(f"lost-{side}-1.out"))] for side in ("send", "receive")}
        for side in events:
            last = [event["event"] for event in events[side]][-3:]
            if "summary" not in last or last[-1] != "ended":
                raise Failed(f"with --json {side} ends with {last}")
        said = {event["event"]: event.get("message", "") for event in events["send"]}
        if f"goes on there: rtc-peer receive {code}" not in said.get("waiting", ""):
            raise Failed(f"the sender waits with these words: {said.get('waiting')!r}")
        if f"to go on: rtc-peer send --resume {code}" not in said["error"]:
            raise Failed(f"the sender ends with these words: {said['error']!r}")
        sender = self.send("lost-send-2.log", "--resume", code)
        self.receive("lost-receive-2.log", code, "--into", into).wait_for_exit(0)
        sender.wait_for_exit(0)
        if digest(into + "/large") != digest(self.large):
            raise Failed("the file is not the same")


class OrdinaryUser(Transfer):
    """Tests often run as root, and do not see then what only root may do."""

    name = "an ordinary user"
    nobody = 65534

    def set_up(self):
        # Where the project lies, another user may not look.
        self.home = tempfile.mkdtemp(prefix="ordinary-user-")
        self.program_path = shutil.copy(PROGRAM, self.home + "/rtc-peer")
        self.options = {"program": self.program_path, "cwd": self.home}
        with open(self.home + "/file", "wb") as file:
            file.write(os.urandom(3_000_000))
        if os.geteuid() == 0:
            self.options |= {"user": self.nobody, "group": self.nobody, "extra_groups": []}
            for path in (self.home, self.program_path, self.home + "/file"):
                os.chown(path, self.nobody, self.nobody)

    def folder(self, name):
        return os.path.join(self.home, name)

    @check("sends and receives a file")
    def file(self):
        sender = self.send("send.log", self.home + "/file", **self.options)
        receiver = self.receive("receive.log", sender.code(), "--into", self.folder("into"), **self.options)
        receiver.wait_for_exit(0)
        sender.wait_for_exit(0)
        if digest(self.folder("into") + "/file") != digest(self.home + "/file"):
            raise Failed("the file is not the same")

    def tear_down(self):
        super().tear_down()
        shutil.rmtree(self.home, ignore_errors=True)


def part_size(folder):
    """Bytes of the unfinished files in a folder."""
    with contextlib.suppress(OSError):
        return sum(entry.stat().st_size for entry in os.scandir(folder) if entry.name.endswith(".part"))
    return 0


class BrokenTransfers(Transfer):
    """kill -9 of either side or both, and the network gone, at random moments; ROUNDS=50 for many."""

    name = "broken off transfers"
    size = 300_000_000
    # What may have been written and not yet noted as safely on disk.
    slack = 68_000_000

    def set_up(self):
        self.file = self.random_file("file", self.size)
        self.digest = digest(self.file)
        self.rounds = int(os.environ.get("ROUNDS", "4"))
        self.random = random.Random(int(os.environ.get("SEED", "0")) or None)

    @check("every round ends with the right hash, and only the missing part goes again")
    def rounds_end_well(self):
        kinds = ["sender", "receiver", "both", "network"]
        for number in range(self.rounds):
            self.round(number, kinds[number % len(kinds)])

    def round(self, number, kind):
        into = self.path(f"into-{number}")
        shutil.rmtree(into, ignore_errors=True)
        sender = self.send(f"{number}-send-1.log", self.file)
        code = sender.code()
        receiver = self.receive(f"{number}-receive-1.log", code, "--into", into)
        # At a random moment: while connecting, in the middle, or near the end.
        wanted = self.random.choice([0, 0, *[self.random.randrange(self.size) for _ in range(6)]])
        wait_until(lambda: part_size(into) >= wanted or receiver.process.poll() is not None, 60,
                   f"round {number}: {wanted} bytes", interval=0.005)
        time.sleep(self.random.random() * 0.2)
        was_paired = "knows the code" in receiver.words() and "knows the code" in sender.words()
        if kind in ("receiver", "both"):
            receiver.signal(signal.SIGKILL)
        if kind in ("sender", "both"):
            sender.signal(signal.SIGKILL)
        kept = part_size(into)
        seconds = self.random.choice([0.2, 2, 6]) if kind == "network" else 0
        if seconds:
            subprocess.run(["ip", "link", "set", "lo", "down"], check=True)
            time.sleep(seconds)
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        if not was_paired:
            # An exchange of keys that was cut off was a guess, and the code is void: both begin anew.
            for program in (sender, receiver):
                if program.process.poll() is None:
                    program.signal(signal.SIGKILL)
        # Who was done before was not killed.
        if not was_paired or kind in ("sender", "both") and sender.process.poll() != 0:
            arguments = ["--resume", code] if was_paired else [self.file]
            sender = self.send(f"{number}-send-2.log", *arguments)
            code = sender.code()
        status = receiver.process.poll()
        # One that was killed with the file whole, before it had said so, comes again to say it.
        is_awaited = status not in (None, 0) and sender.process.poll() is None
        if status is not None and not os.path.exists(into + "/file") or is_awaited:
            receiver = self.receive(f"{number}-receive-2.log", code, "--into", into)
        what = f"round {number} ({kind} at {kept} bytes)"
        try:
            receiver.wait_for_exit(0, 120)
            sender.wait_for_exit(0, 30)
        except Failed as error:
            raise Failed(f"{what}: {error}") from None
        if digest(into + "/file") != self.digest:
            raise Failed(f"{what}: the file is not the same")
        # A receiver that had all before the sender knew it tells of its first run; the sender of its second.
        found = [re.search(r"([0-9.]+) (k?M?)B were there before", program.words()) for program in (receiver, sender)]
        resumed = max([float(before.group(1)) * {"": 1, "k": 1e3, "M": 1e6}[before.group(2)] for before in found if before],
                      default=0)
        if kind != "network" and was_paired and resumed < min(kept, self.size) - self.slack:
            raise Failed(f"{what}: only {resumed:.0f} bytes were not sent again")
        shutil.rmtree(into)


class Forwarding(Scenario):
    """TCP connections to a web server over there."""

    name = "forward"

    def set_up(self):
        with open(self.path("page"), "wb") as file:
            file.write(os.urandom(3_000_000))
        self.server = self.use(Program.of([sys.executable, "-m", "http.server", "0", "--bind", "127.0.0.1",
                                           "--directory", self.directory], self.path("server.log")))
        port = self.server.wait_for(r"port (\d+)").group(1)
        self.target = f"localhost:{port}"
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.plain = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.blasts_ended = threading.Semaphore(0)
        threading.Thread(target=self.serve_plainly, daemon=True).start()
        targets = (self.target, self.plain, "localhost:1", "localhost:9")
        first = self.use(Program("forward", "--allow", self.target, "--allow", self.plain, log_path=self.path("allow.log")))
        self.second = self.use(Program("forward", first.code(), *(f"0:{target}" for target in targets),
                                       log_path=self.path("forward.log")))
        self.second.wait_for("Connected")
        self.ports = {target: self.port(self.second, target) for target in targets}

    @staticmethod
    def port(second, target):
        return int(second.wait_for(rf"127.0.0.1:(\d+) leads to {target}\b").group(1))

    def serve_plainly(self):
        while True:
            threading.Thread(target=self.answer, args=(self.listener.accept()[0],), daemon=True).start()

    def answer(self, connection):
        """By the first byte: e sends all back, h the digest of all once it has ended, b bytes without end."""
        with connection, contextlib.suppress(OSError):
            kind = connection.recv(1)
            hashed = hashlib.sha256()
            try:
                while kind == b"b":
                    connection.sendall(bytes(65536))
            finally:
                if kind == b"b":
                    self.blasts_ended.release()
            while bytes_ := connection.recv(65536):
                hashed.update(bytes_)
                if kind == b"e":
                    connection.sendall(bytes_)
            if kind == b"h":
                connection.sendall(hashed.hexdigest().encode())

    def plainly(self, first, port=None):
        connection = socket.create_connection(("127.0.0.1", port or self.ports[self.plain]), 10)
        connection.sendall(first)
        return connection

    def echoes(self, port=None):
        with self.plainly(b"eHello", port) as connection:
            with contextlib.suppress(ConnectionError):
                return connection.recv(5, socket.MSG_WAITALL) == b"Hello"
            return False

    def get(self, target):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[target]}/page", timeout=20) as answer:
            return answer.read()

    @check("five connections at once, each gets what it asks for")
    def at_once(self):
        with concurrent.futures.ThreadPoolExecutor() as pool:
            answers = list(pool.map(self.get, [self.target] * 5))
        with open(self.path("page"), "rb") as file:
            if any(answer != answers[0] for answer in answers) or answers[0] != file.read():
                raise Failed(f"not the same: {[len(answer) for answer in answers]} bytes")

    @check("a port that is taken is named before the code is used up")
    def taken(self):
        first = self.use(Program("forward", "--allow", self.target, log_path=self.path("taken-allow.log")))
        code = first.code()
        port = self.ports[self.target]
        second = self.use(Program("forward", code, f"{port}:{self.target}", log_path=self.path("taken-1.log")))
        second.wait_for(f"cannot listen on 127.0.0.1, port {port}: Address already in use")
        second.wait_for_exit(1)
        self.use(Program("forward", code, f"0:{self.target}", log_path=self.path("taken-2.log"))).wait_for("Connected")

    @check("what is not allowed is refused in words, and the connection closed")
    def not_allowed(self):
        with contextlib.suppress(OSError, http.client.HTTPException):
            self.get("localhost:9")
            raise Failed("it was answered")
        self.second.wait_for("localhost:9 is not allowed there")

    @check("who has sent all and said so still gets the answer, of nothing as of 20 MB")
    def half_closed(self):
        for size in (0, 1, 100_000, 20_000_000):
            data = os.urandom(size)
            with self.plainly(b"h") as connection:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                answer = b"".join(iter(lambda: connection.recv(100), b""))
            if answer != hashlib.sha256(data).hexdigest().encode():
                raise Failed(f"{size} bytes were answered by {answer}")

    @check("twenty downloads that nobody reads stop no other connection, and end there when they end here")
    def paused(self):
        paused = [self.plainly(b"b") for _ in range(20)]
        with self.plainly(b"b") as working:
            for _ in range(640):
                if not working.recv(65536, socket.MSG_WAITALL):
                    raise Failed("the working one ended")
        if not self.echoes():
            raise Failed("no answer beside the paused ones")
        for connection in paused:
            connection.close()
        for _ in range(21):
            if not self.blasts_ended.acquire(timeout=20):
                raise Failed("a server still sends to who has gone")
        if not self.echoes():
            raise Failed("no answer after the paused ones")

    @check("more connections than there are file descriptors are refused, and the next is served")
    def few_descriptors(self):
        few = ["bash", "-c", 'ulimit -n 64; exec "$@"', "few", PROGRAM, "forward"]
        first = self.use(Program.of([*few, "--allow", self.plain], self.path("few-allow.log")))
        second = self.use(Program.of([*few, first.code(), f"0:{self.plain}"], self.path("few.log")))
        second.wait_for("Connected")
        port = self.port(second, self.plain)
        connections = []
        for _ in range(100):
            with contextlib.suppress(ConnectionError):
                connections.append(self.plainly(b"e1", port))
        served = 0
        # All stay open meanwhile: who is not served is told so, and does not wait for another to end.
        for connection in connections:
            with contextlib.suppress(ConnectionError):
                served += connection.recv(1) == b"1"
        for connection in connections:
            connection.close()
        if not 0 < served < 60:
            raise Failed(f"{served} of 100 were served")
        wait_until(lambda: self.echoes(port), 10, "an answer after the many")
        if first.process.poll() is not None or second.process.poll() is not None:
            raise Failed("a program has ended")
        lines = re.findall("connections at once", first.words() + second.words())
        if not 0 < len(lines) < 20:
            raise Failed(f"{len(lines)} lines of refusals")


SCENARIOS = [Pipe, Forwarding, Files, OrdinaryUser, BrokenTransfers]
