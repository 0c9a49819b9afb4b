"""The peers that benchmarks run: where they are, how a pair is joined, and what it reports (Benchmarks/README.md)."""
import json
import os
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OWN = "PeerConnection"


def build():
    """Builds our own peer."""
    subprocess.run(["swift", "build", "-c", "release", "--product", "peer-bench"], cwd=ROOT, check=True,
                   env=dict(os.environ, BENCHMARKS="1"), stdout=sys.stderr)


def peers():
    """Name and command of each peer, ours first."""
    found = {OWN: [os.path.join(ROOT, ".build/release/peer-bench")]}
    for extra in os.environ.get("BENCH_EXTRA_PEERS", "").split(";"):
        name, equals, command = extra.partition("=")
        if equals:
            found[name] = command.split()
    return found


def run_pair(popen, limit):
    """One run of an offerer and an answerer, each of which reads what the other writes; see report().

    popen(role, **options) starts one of the two with these options of subprocess.Popen.
    """
    first, second = os.pipe(), os.pipe()
    try:
        processes = [popen("offer", stdin=second[0], stdout=first[1], stderr=subprocess.PIPE, text=True),
                     popen("answer", stdin=first[0], stdout=second[1], stderr=subprocess.PIPE, text=True)]
    finally:
        for descriptor in first + second:
            os.close(descriptor)
    return report(processes, limit)


def run_alone(popen, limit):
    """One run of a process that is both ends; see run_pair()."""
    quiet = subprocess.DEVNULL
    return report([popen("both", stdin=quiet, stdout=quiet, stderr=subprocess.PIPE, text=True)], limit)


def report(processes, limit):
    """What processes say on the lines RESULT of their standard error, or {"error": …}; they have `limit` seconds."""
    lines = []
    readers = [threading.Thread(target=lambda p=p: lines.extend(p.stderr), daemon=True) for p in processes]
    for reader in readers:
        reader.start()
    end = time.monotonic() + limit
    for process in processes:
        try:
            process.wait(max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            lines.append(f"no end within {limit:g} s\n")
            process.kill()
            process.wait()
    for reader in readers:
        reader.join(2)
    result = {}
    for line in lines:
        if line.startswith("RESULT "):
            result.update(json.loads(line[len("RESULT "):]))
    return result or {"error": "".join(lines)[-300:].strip() or "reported nothing"}
