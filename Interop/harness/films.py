"""Recordings of calls as WebM: sound and picture in step, a killed recorder, and what a browser makes of the file."""
import array
import json
import math
import os
import signal
import subprocess
import time
import wave

from .browsers import Chromium, Firefox
from .peer import Peer
from .processes import Failed, find_program, tail
from .scenarios import Scenario, check

SAMPLE_RATE = 48000
WIDTH, HEIGHT, RATE = 320, 180, 25
CALL_SECONDS = 60
# Sound and picture further apart than this are seen to be so.
TOLERANCE = 0.040


def make_flashes(directory):
    """A second of film whose first three pictures are white, and a second of sound whose first 80 ms are a tone."""
    picture, sound = os.path.join(directory, "flash.y4m"), os.path.join(directory, "flash.wav")
    with open(picture, "wb") as file:
        file.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{RATE}:1\n".encode())
        for number in range(RATE):
            # A bar that moves keeps the encoder at work as a real picture does.
            luma = bytearray(bytes([230 if number < 3 else 30]) * (WIDTH * HEIGHT))
            for row in range(HEIGHT // 2, HEIGHT // 2 + 16):
                start = row * WIDTH + number * 12
                luma[start:start + 12] = b"\x80" * 12
            file.write(b"FRAME\n" + bytes(luma) + b"\x80" * (WIDTH * HEIGHT // 2))
    samples = array.array("h", (int(12000 * math.sin(2 * math.pi * 1000 * at / SAMPLE_RATE)) if at < 0.08 * SAMPLE_RATE
                                else 0 for at in range(SAMPLE_RATE)))
    with wave.open(sound, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.tobytes())
    return picture, sound


def tool(*arguments):
    done = subprocess.run([find_program([arguments[0]]), "-v", "error", *arguments[1:]], capture_output=True,
                          timeout=300, check=False, stdin=subprocess.DEVNULL)
    words = done.stderr.decode(errors="replace").strip()
    if done.returncode or words:
        raise Failed(f"{arguments[0]} says: {words[-400:] or done.returncode}")
    return done.stdout


def check_clean(path):
    """ffprobe and ffmpeg find nothing to complain of, and every frame decodes; gives the number of frames of each kind."""
    # The times as they are, not pressed into a rate that ffmpeg guesses.
    tool("ffmpeg", "-i", path, "-fps_mode", "passthrough", "-enc_time_base", "-1", "-f", "null", "-")
    report = json.loads(tool("ffprobe", "-count_frames", "-show_entries",
                             "stream=codec_name,nb_read_frames,start_time:format=duration", "-of", "json", path))
    return ({stream["codec_name"]: int(stream["nb_read_frames"]) for stream in report["streams"]},
            float(report["format"].get("duration", 0)))


def flashes(path):
    """When the picture becomes white, by its own time stamps."""
    times = [float(line.split(",")[0]) for line in tool(
        "ffprobe", "-select_streams", "v", "-show_entries", "frame=pts_time", "-of", "csv=p=0", path).decode().split()]
    pixels = tool("ffmpeg", "-i", path, "-an", "-vf", "scale=1:1:flags=area", "-fps_mode", "passthrough",
                  "-enc_time_base", "-1", "-f", "rawvideo", "-pix_fmt", "gray", "-")
    if len(pixels) != len(times):
        raise Failed(f"{len(times)} time stamps, but {len(pixels)} pictures")
    return [times[at] for at in range(1, len(times)) if pixels[at - 1] < 130 <= pixels[at]]


def beeps(path):
    """When the tone begins, by the sound's own time stamps: gaps are filled, so that samples tell the time."""
    samples = array.array("h", tool("ffmpeg", "-i", path, "-vn", "-af", "aresample=async=1:first_pts=0", "-ac", "1", "-ar",
                                    str(SAMPLE_RATE), "-f", "s16le", "-"))
    times, quiet = [], 0
    for at, sample in enumerate(samples):
        if abs(sample) > 2000:
            if quiet > SAMPLE_RATE // 4:
                times.append(at / SAMPLE_RATE)
            quiet = 0
        else:
            quiet += 1
    return times


def offsets(path):
    """How much later each flash is than its beep, in seconds."""
    sounds = beeps(path)
    pairs = [(flash, min(sounds, key=lambda beep: abs(beep - flash))) for flash in flashes(path)] if sounds else []
    return [(flash, flash - beep) for flash, beep in pairs if abs(flash - beep) < 0.5]


class RecordedCall(Scenario):
    """Two rtc-peers; what one sends flashes and beeps at the same instants, the other records it."""

    name = "rtc-peer records a call"

    def set_up(self):
        picture, sound = make_flashes(self.directory)
        self.sender = self.use(Peer("call", "--listen", "127.0.0.1:0", "--video", picture, "--audio", sound, "--stay",
                                    log_path=self.path("sender.log")))
        self.place = self.sender.wait_for("ready")

    def recorder(self, name):
        return self.use(Peer("call", "--server", self.place["server"], "--room", self.place["room"], "--test-pattern",
                             "--no-speaker", "--name", "Recorder", "--record", self.path(name),
                             log_path=self.path(name + ".log")))

    @check(f"a call of {CALL_SECONDS} s is recorded, and every frame decodes", essential=True)
    def records(self):
        peer = self.recorder("call.webm")
        peer.wait_for_frames(10)
        time.sleep(CALL_SECONDS)
        peer.send(hangup=True)
        peer.wait_for("ended", 10)
        self.said = peer.wait_for("recording", 1)
        counts, duration = check_clean(self.path("call.webm"))
        if counts != {"vp8": self.said["videoFrames"], "opus": self.said["audioFrames"]}:
            raise Failed(f"{counts} are in the file, but rtc-peer says {self.said}")
        if duration < CALL_SECONDS - 1 or counts["opus"] < 49 * (CALL_SECONDS - 1):
            raise Failed(f"only {counts} in {duration:.1f} s")

    @check("sound and picture are within 40 ms of each other from start to end")
    def synchrony(self):
        measured = offsets(self.path("call.webm"))
        if len(measured) < 0.9 * CALL_SECONDS:
            raise Failed(f"only {len(measured)} flashes with their beeps in {CALL_SECONDS} s")
        start, end = [offset for _, offset in measured[:5]], [offset for _, offset in measured[-5:]]
        text = (f"at the start {', '.join(f'{value * 1000:+.0f}' for value in start)} ms, "
                f"at the end {', '.join(f'{value * 1000:+.0f}' for value in end)} ms, "
                f"at most {max(abs(offset) for _, offset in measured) * 1000:.0f} ms of {len(measured)}")
        with open(self.path("synchrony.txt"), "w", encoding="utf-8") as file:
            file.write(text + "\n")
        print("  flash after beep: " + text, flush=True)
        late = [value for value in start + end if abs(value) >= TOLERANCE]
        if late:
            raise Failed(text)

    @check("a recorder that is killed leaves a file that plays")
    def killed(self):
        peer = self.recorder("killed.webm")
        peer.wait_for_frames(10)
        time.sleep(6)
        peer.process.send_signal(signal.SIGKILL)
        peer.process.wait(5)
        counts, _ = check_clean(self.path("killed.webm"))
        if counts.get("vp8", 0) < 60 or counts.get("opus", 0) < 150:
            raise Failed(f"only {counts} are left")

    @check("a recorder that is asked to end (SIGTERM) completes its file")
    def terminated(self):
        peer = self.recorder("terminated.webm")
        peer.wait_for_frames(10)
        time.sleep(2)
        peer.process.send_signal(signal.SIGTERM)
        peer.wait_for("recording", 10)
        _, duration = check_clean(self.path("terminated.webm"))
        if duration < 1:
            raise Failed(f"it says that it lasts {duration} s")

    @check("Chromium plays the recording to its end, whole and killed")
    def chromium(self):
        self.play_in(Chromium)

    @check("Firefox plays the recording to its end, whole and killed")
    def firefox(self):
        self.play_in(Firefox)

    def play_in(self, browser_class):
        browser = self.use(browser_class(self.path(browser_class.name + ".log")))
        for name in ("call.webm", "killed.webm"):
            page = self.path(name + ".html")
            with open(page, "w", encoding="utf-8") as file:
                file.write(f'<!doctype html><video id="film" muted src="{name}" width="640"></video>')
            browser.page.open("file://" + os.path.abspath(page))
            seen = browser.page.run("""
                const film = document.getElementById("film");
                const told = new Promise((done, fail) => {
                    film.onended = () => done(); film.onerror = () => fail(new Error(film.error.message));
                });
                film.playbackRate = 8;
                await film.play();
                await told;
                const quality = film.getVideoPlaybackQuality();
                return {time: film.currentTime, width: film.videoWidth, height: film.videoHeight,
                        frames: quality.totalVideoFrames, corrupted: quality.corruptedVideoFrames};
            """, timeout=60)
            if (seen["width"], seen["height"]) != (WIDTH, HEIGHT) or seen.get("corrupted") or seen["time"] < 3:
                raise Failed(f"{name}: {seen}")


class BrokenFile(Scenario):
    """A film that is cut in the middle ends its own track only."""

    name = "rtc-peer plays a file that is cut"

    def set_up(self):
        picture, _ = make_flashes(self.directory)
        film = self.path("film.webm")
        tool("ffmpeg", "-stream_loop", "5", "-i", picture, "-f", "lavfi", "-i", "sine=duration=6", "-c:v", "libvpx",
             "-c:a", "libopus", "-shortest", film)
        with open(film, "rb") as file:
            whole = file.read()
        with open(film, "wb") as file:
            file.write(whole[:len(whole) * 2 // 3])
        self.peer = self.use(Peer("call", "--listen", "127.0.0.1:0", "--video", film, "--audio", "tone",
                                  log_path=self.path("rtc-peer.log")))
        self.place = self.peer.wait_for("ready")
        self.other = self.use(Peer("call", "--server", self.place["server"], "--room", self.place["room"],
                                   "--test-pattern", "--no-speaker", log_path=self.path("other.log")))

    @check("the call says so and goes on without its pictures")
    def goes_on(self):
        self.other.wait_for_frames(10)
        said = self.peer.wait_for("error", 20)
        if "video file has stopped" not in said["message"] or "cut short" not in said["message"]:
            raise Failed(f"it said: {said['message']}")
        self.peer.send(chat="still here")
        self.other.wait_for("chat", 5, text="still here")
        if self.peer.process.poll() is not None:
            raise Failed("rtc-peer ended: " + tail(self.peer.log_path))
        self.peer.send(hangup=True)
        self.peer.wait_for("ended", 5)

    @check("a file of another kind is refused at once, with what to do")
    def refused(self):
        path = self.path("letter.webm")
        with open(path, "w", encoding="utf-8") as file:
            file.write("Dear friend, this is no film at all.\n")
        peer = self.use(Peer("call", "--listen", "127.0.0.1:0", "--video", path, log_path=self.path("refused.log")))
        message = peer.wait_for("error", 10)["message"]
        if "neither WebM, Y4M nor IVF" not in message or peer.wait_for_exit() != 1:
            raise Failed(message)


SCENARIOS = [RecordedCall, BrokenFile]
