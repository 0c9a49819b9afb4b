"""Child processes that end with us, and waiting with a deadline."""
import contextlib
import os
import shutil
import signal
import subprocess
import time


# By how much longer than they need everything is waited for: a machine that others use as well stands still at times.
PATIENCE = float(os.environ.get("INTEROP_PATIENCE", "1"))


class Failed(Exception):
    """A check did not hold; the text says what was seen instead."""


def find_program(names):
    """The path of the first of `names` that is installed."""
    for name in names:
        path = shutil.which(name)
        if path:
            return path
    raise Failed("not installed: " + " or ".join(names) + "; run scripts/install-dependencies --test")


def start(argv, log_path, fds=(), **options):
    """Starts argv in a process group of its own; its standard error goes to `log_path`.

    The kernel ends it should this program be killed. Options are those of subprocess.Popen.
    """
    with open(log_path, "ab") as log:
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", log)
        return subprocess.Popen([find_program(["setpriv"]), "--pdeathsig", "TERM", *argv], stderr=log,
                                start_new_session=True, pass_fds=fds, **options)


def stop(process, grace=5):
    """Ends a process and its group: politely, then not."""
    for sig in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sig)
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            continue
        # What the leader left behind.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return


def wait_until(condition, seconds, what, interval=0.05):
    """The first true value of condition(), or Failed after that many seconds, times PATIENCE."""
    seconds *= PATIENCE
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {seconds:g} s")
        time.sleep(interval)


def measured(attempt, seconds=15):
    """What the first attempt() returns that does not fail; after that many seconds, times PATIENCE, what the last one raises.

    For rates: a processor that stood still for half a second falsifies one measurement, a fault all of them.
    """
    end = time.monotonic() + seconds * PATIENCE
    while True:
        try:
            return attempt()
        except Failed as error:
            if time.monotonic() > end:
                raise
            print("    measured again:", error, flush=True)


def tail(path, count=15):
    """The last lines of a log file."""
    with contextlib.suppress(OSError), open(path, errors="replace") as file:
        return "".join(file.readlines()[-count:]).rstrip()
    return ""
