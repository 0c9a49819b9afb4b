"""rtc-peer as a process that speaks JSON lines; docs/JSON-LINES.md describes them."""
import json
import os
import subprocess
import threading
import time

from .processes import PATIENCE, Failed, start, stop, tail, wait_until

PROGRAM = os.environ.get("RTC_PEER") or os.path.abspath(
    os.path.join(os.path.dirname(__file__), "../../.build/release/rtc-peer"))


class Peer:
    """One `rtc-peer COMMAND --json …`. A context manager: leaving it ends the process.

    `within` is what to start it with, as `ip netns exec NAME`.
    """

    def __init__(self, command, *arguments, log_path, within=()):
        self.log_path, self.events, self.changed = log_path, [], threading.Condition()
        self.process = start([*within, PROGRAM, command, "--json", *map(str, arguments)], log_path,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        stop(self.process)

    def read(self):
        """Collects events, each with the time at which it came; lines go to the log as well."""
        with open(self.log_path, "ab") as log:
            for line in self.process.stdout:
                log.write(line)
                log.flush()
                try:
                    event = json.loads(line)
                    event["event"]
                except (ValueError, TypeError, KeyError):
                    event = {"event": "not JSON", "line": line.decode(errors="replace")}
                with self.changed:
                    self.events.append((time.monotonic(), event))
                    self.changed.notify_all()

    def udp_ports(self):
        """The local ports of its UDP sockets."""
        inodes = set()
        folder = f"/proc/{self.process.pid}/fd"
        for name in os.listdir(folder):
            try:
                target = os.readlink(os.path.join(folder, name))
            except FileNotFoundError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
        ports = set()
        for table in ("udp", "udp6"):
            with open(f"/proc/{self.process.pid}/net/{table}") as lines:
                for fields in map(str.split, list(lines)[1:]):
                    if fields[9] in inodes:
                        ports.add(int(fields[1].rsplit(":", 1)[1], 16))
        return ports

    def find(self, kind, since=0, **members):
        """The first event of that kind after that many events whose members have these values, or None."""
        for _, event in self.events[since:]:
            if event["event"] == kind and all(event.get(key) == value for key, value in members.items()):
                return event
        return None

    def time_of(self, kind, **members):
        """When the first such event came; None if it has not."""
        for at, event in self.events:
            if event["event"] == kind and all(event.get(key) == value for key, value in members.items()):
                return at
        return None

    def wait_for(self, kind, seconds=15, since=0, **members):
        seconds *= PATIENCE
        end = time.monotonic() + seconds
        with self.changed:
            while True:
                event = self.find(kind, since, **members)
                if event:
                    return event
                left = end - time.monotonic()
                status = self.process.poll()
                # Once it has ended, its last lines need a moment to get here.
                if left <= 0 or (status is not None and not self.reader.is_alive()):
                    wanted = " ".join([f'"{kind}"', *(f"{key}={value}" for key, value in members.items())])
                    seen = ", ".join(dict.fromkeys(event["event"] for _, event in self.events[since:])) or "nothing"
                    when = f"within {seconds:g} s" if status is None else f"before it exited with {status}"
                    raise Failed(f"rtc-peer did not say {wanted} {when}; it said {seen}")
                self.changed.wait(min(left, 0.1))

    def send(self, **command):
        """One JSON line on its standard input: chat="text", sendFile="/path" or hangup=True."""
        try:
            self.process.stdin.write(json.dumps(command).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            raise Failed("rtc-peer has ended: " + tail(self.log_path)) from None

    def statistics(self, peer=None):
        """The latest statistics (of the connection with one peer), with the time at which they came."""
        for at, event in reversed(self.events):
            if event["event"] == "statistics" and peer in (None, event.get("peer")):
                return at, event
        raise Failed("rtc-peer has printed no statistics yet")

    def wait_for_frames(self, seconds):
        """Until its statistics say that it decodes the other side's frames; they come once a second."""
        def decoded():
            return any(event["event"] == "statistics" and event.get("framesDecoded", 0) >= 2
                       for _, event in self.events)
        try:
            wait_until(decoded, seconds, "rtc-peer's first decoded frames")
        except Failed as error:
            raise Failed(f"{error}; it said {[event for _, event in self.events][-3:]}") from None

    def rate(self, member, seconds=4, peer=None):
        """How fast a counter of the statistics grows, per second, over about that long from now on."""
        wait_until(lambda: self.find("statistics"), 5, "rtc-peer's first statistics")
        begin, first = self.statistics(peer)
        while True:
            at, _ = self.statistics(peer)
            if at >= begin + seconds - 0.5:
                break
            if time.monotonic() > begin + seconds + 5 * PATIENCE:
                raise Failed("rtc-peer has stopped printing statistics")
            time.sleep(0.05)
        at, last = self.statistics(peer)
        if member not in last or member not in first:
            raise Failed(f"rtc-peer's statistics have no {member}: {last}")
        return (last[member] - first[member]) / (at - begin)

    def wait_for_exit(self, seconds=5):
        """Its exit status."""
        seconds *= PATIENCE
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"rtc-peer did not end within {seconds:g} s") from None
