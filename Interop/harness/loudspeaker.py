"""A sound server of one's own that plays into nothing, and what is heard there."""
import array
import os

from .processes import find_program, start, stop, wait_until

SAMPLE_RATE = 48000


def server(socket):
    """The command line of a PulseAudio with one device, that plays into nothing at the pace of a clock."""
    return [find_program(["pulseaudio"]), "-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1",
            "--disallow-exit", "--disable-shm=yes", "-L", f"module-null-sink sink_name=nothing rate={SAMPLE_RATE}",
            "-L", "module-native-protocol-unix auth-anonymous=1 socket=" + socket]


class Loudspeaker:
    """What programs started `within` it play by PulseAudio is kept. A context manager: leaving it ends it."""

    def __init__(self, directory, log_path):
        self.log_path, self.processes = log_path, []
        self.sound = os.path.join(directory, "heard.raw")
        socket = os.path.join(directory, "pulse.sock")
        runtime = os.path.join(directory, "pulse")
        os.makedirs(runtime, mode=0o700, exist_ok=True)
        self.environment = dict(os.environ, PULSE_SERVER="unix:" + socket, XDG_RUNTIME_DIR=runtime, HOME=runtime)
        # Of PulseAudio's client alone: a runtime directory would have the program look for other things in it.
        self.within = ("env", "PULSE_SERVER=unix:" + socket)
        try:
            self.processes.append(start(server(socket), log_path, env=self.environment))
            wait_until(lambda: os.path.exists(socket), 15, "PulseAudio's start")
            with open(self.sound, "wb") as file:
                self.processes.append(start(
                    [find_program(["parec"]), "--device=nothing.monitor", "--format=s16le", f"--rate={SAMPLE_RATE}",
                     "--channels=1", "--latency-msec=20"], log_path, env=self.environment, stdout=file))
            wait_until(lambda: os.path.getsize(self.sound), 15, "the first sound of PulseAudio's")
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        while self.processes:
            stop(self.processes.pop())

    def samples(self, seconds):
        """The last so many seconds."""
        with open(self.sound, "rb") as file:
            content = file.read()
        content = content[:len(content) // 2 * 2]
        return array.array("h", content[-2 * int(seconds * SAMPLE_RATE):])
