"""Data channels of every kind, opened by this library and echoed by other stacks, in both roles."""
import json
import os
import re
import subprocess
import sys

from .processes import Failed, tail
from .scenarios import Scenario, check

ECHO = os.path.join(os.path.dirname(__file__), "../channel_echo.py")
PEER_BENCH = os.environ.get("PEER_BENCH", os.path.join(os.path.dirname(__file__), "../../.build/release/peer-bench"))


class ChannelEcho(Scenario):
    """peer-bench in one role, channel_echo.py in the other, joined by pipes."""

    stack = role = ""
    interpreter = "AIORTC_PYTHON"
    channel_count = 100

    @check("300 channels of every kind carry text and bytes there and back, close, and their ids are used again")
    def echoes(self):
        others_role = "answer" if self.role == "offer" else "offer"
        commands = [([PEER_BENCH, self.role, "channels", str(self.channel_count)], "peer-bench.log"),
                    ([os.environ.get(self.interpreter, sys.executable), ECHO, self.stack, others_role], "echo.log")]
        pipes = os.pipe(), os.pipe()
        processes = []
        for (argv, log_name), source, sink in zip(commands, (pipes[1][0], pipes[0][0]), (pipes[0][1], pipes[1][1])):
            self.logs.append(self.path(log_name))
            with open(self.path(log_name), "wb") as log:
                processes.append(subprocess.Popen(argv, stdin=source, stdout=sink, stderr=log,
                                                  env=dict(os.environ, BENCH_ADDR="127.0.0.1")))
        for end in pipes[0] + pipes[1]:
            os.close(end)
        try:
            status = processes[0].wait(60)
        except subprocess.TimeoutExpired:
            raise Failed("not all echoes came within 60 s") from None
        finally:
            for process in processes:
                if process.poll() is None:
                    process.kill()
                process.wait()
        found = re.search(r"RESULT (\{.*\})", tail(self.path("peer-bench.log")))
        result = json.loads(found[1]) if found else {}
        # 32 streams are what usrsctp begins with.
        if status or result.get("echoes") != result.get("expected") or result.get("highest_id", 0) < 150:
            raise Failed(f"peer-bench exited with {status}: {result}")


def scenario(stack, role, interpreter):
    other = "answers" if role == "offer" else "offers"
    return type(f"ChannelEcho_{stack}_{role}", (ChannelEcho,), {
        "name": f"data channels with {stack}, which {other}", "stack": stack, "role": role, "interpreter": interpreter})


SCENARIOS = [scenario(stack, role, interpreter)
             for stack, interpreter in (("aiortc", "AIORTC_PYTHON"), ("libdatachannel", "LIBDATACHANNEL_PYTHON"))
             # Left out where there is no Python for it; run says so.
             if interpreter != "LIBDATACHANNEL_PYTHON" or interpreter in os.environ
             for role in ("offer", "answer")]
