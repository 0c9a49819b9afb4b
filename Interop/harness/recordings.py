"""Reads what rtc-peer recorded (WebM) back through ffmpeg, and says what is to be seen and heard in it."""
import array
import glob
import math
import os
import subprocess

from .processes import Failed, find_program

# Pictures are read at this size: small enough for plain Python, with ten columns for each bit of the counter.
WIDTH, HEIGHT = 160, 90
SAMPLE_RATE = 48000

# The test pattern: four colour bars over a 16-bit counter of white and black blocks in the bottom quarter.
BARS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)]
COUNTER_BITS = 16
COLOUR_TOLERANCE = 60


def ffmpeg(*arguments):
    done = subprocess.run([find_program(["ffmpeg"]), "-v", "error", "-nostdin", *arguments], capture_output=True,
                          timeout=120, check=False)
    if done.returncode:
        raise Failed("ffmpeg cannot read the recording: " + done.stderr.decode(errors="replace").strip()[-300:])
    return done.stdout


def largest(directory, extension):
    """The longest recording of that kind in a directory."""
    paths = glob.glob(os.path.join(directory, "**", "*." + extension), recursive=True)
    if not paths:
        raise Failed(f"no {extension.upper()} file was recorded; the folder holds {os.listdir(directory)}")
    return max(paths, key=os.path.getsize)


class Pictures:
    """The frames of a recording, each WIDTH × HEIGHT in RGB."""

    def __init__(self, path):
        self.path = path
        data = ffmpeg("-i", path, "-vf", f"scale={WIDTH}:{HEIGHT}:flags=area", "-fps_mode", "passthrough",
                      "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
        size = WIDTH * HEIGHT * 3
        self.frames = [data[start:start + size] for start in range(0, len(data) - size + 1, size)]
        if not self.frames:
            raise Failed(f"{os.path.basename(path)} holds no frame")

    def save_screenshot(self, path, at=0.6):
        """Writes one frame, in its full size, as a picture."""
        ffmpeg("-i", self.path, "-vf", f"select=gte(n\\,{int(len(self.frames) * at)})", "-frames:v", "1", "-y", path)

    @staticmethod
    def pixel(frame, x, y):
        """The colour at a place given in 0 … 1 of width and height."""
        at = (int(y * HEIGHT) * WIDTH + int(x * WIDTH)) * 3
        return tuple(frame[at:at + 3])

    def counters(self):
        """The test pattern's counter in each frame; fails where the bars are not those of the pattern."""
        result = []
        for number, frame in enumerate(self.frames):
            for index, wanted in enumerate(BARS):
                seen = self.pixel(frame, (2 * index + 1) / 8, 3 / 8)
                if any(abs(a - b) > COLOUR_TOLERANCE for a, b in zip(seen, wanted)):
                    raise Failed(f"bar {index} of frame {number} is {seen}, not {wanted}")
            count = 0
            for bit in range(COUNTER_BITS):
                count = count << 1 | (self.pixel(frame, (2 * bit + 1) / 32, 7 / 8)[1] > 125)
            result.append(count)
        return result


class Sound:
    """The samples of a recording, mono at SAMPLE_RATE."""

    def __init__(self, path):
        self.path = path
        self.samples = array.array("h", ffmpeg("-i", path, "-ac", "1", "-ar", str(SAMPLE_RATE), "-f", "s16le", "-"))

    @property
    def seconds(self):
        return len(self.samples) / SAMPLE_RATE

    def levels(self, window=0.02):
        """Root mean square of each window, in sample units."""
        count = int(window * SAMPLE_RATE)
        return [math.sqrt(sum(value * value for value in self.samples[start:start + count]) / count)
                for start in range(0, len(self.samples) - count, count)]

    def share(self, hertz, start, seconds=1.0):
        """How much of the power in a stretch is that tone's, in 0 … 1 (Goertzel's algorithm)."""
        stretch = self.samples[int(start * SAMPLE_RATE):int((start + seconds) * SAMPLE_RATE)]
        total = sum(value * value for value in stretch)
        if total == 0 or len(stretch) < SAMPLE_RATE / 10:
            return 0.0
        factor, before, last = 2 * math.cos(2 * math.pi * hertz / SAMPLE_RATE), 0.0, 0.0
        for value in stretch:
            before, last = last, value + factor * last - before
        power = last * last + before * before - factor * last * before
        return 2 * power / len(stretch) / total

    def best_share(self, hertz):
        """The share in the clearest second of the recording."""
        starts = [start / 2 for start in range(max(1, int(self.seconds * 2) - 1))]
        return max(self.share(hertz, start) for start in starts)

    def beeps(self):
        """The times at which something loud begins after quiet."""
        levels = self.levels()
        if not levels or max(levels) < 200:
            return []
        threshold = max(levels) / 4
        return [index * 0.02 for index in range(1, len(levels)) if levels[index - 1] < threshold <= levels[index]]


def rising_share(counters):
    """How many of the steps from frame to frame go forward by one to ten; the counter wraps at 16 bits."""
    steps = [(after - before) & 0xFFFF for before, after in zip(counters, counters[1:])]
    return sum(1 <= step <= 10 for step in steps) / len(steps) if steps else 0


def check_pattern(path):
    """The pattern's colours are in every frame of a recording, and its counter rises."""
    pictures = Pictures(path)
    counters = pictures.counters()
    if len(counters) < 30:
        raise Failed(f"only {len(counters)} frames were recorded")
    if rising_share(counters) < 0.95:
        raise Failed(f"the counter does not rise: {counters[:20]} …")
    return pictures


def check_tone(path, hertz):
    sound = Sound(path)
    share = sound.best_share(hertz)
    if share < 0.8:
        raise Failed(f"{hertz} Hz has {share:.0%} of the power in {sound.seconds:.1f} s of sound at best, not 80 %")


def check_camera(path, browser):
    """The fake camera of that browser is what was recorded."""
    pictures = Pictures(path)
    if len(pictures.frames) < 60:
        raise Failed(f"only {len(pictures.frames)} frames were recorded")
    if browser == "chromium":
        # A clock hand of light green turns on dark green.
        for frame in pictures.frames[10:]:
            red, green, blue = pictures.pixel(frame, 0.05, 0.1)
            if red > 60 or blue > 60 or not 90 < green < 180:
                raise Failed(f"the background is {(red, green, blue)}, not dark green")
        bright = [pictures.pixel(frame, 0.53, 0.55)[1] > 200 for frame in pictures.frames]
        if len(set(bright)) == 1:
            raise Failed("the clock hand of the fake camera does not turn")
    else:
        # One saturated colour all over that drifts through the rainbow.
        colours = [pictures.pixel(frame, 0.5, 0.5) for frame in pictures.frames]
        flat = [frame for frame, centre in zip(pictures.frames, colours) if all(
            abs(a - b) < 12 for x, y in ((0.2, 0.3), (0.53, 0.55), (0.8, 0.8))
            for a, b in zip(pictures.pixel(frame, x, y), centre))]
        if len(flat) < 0.9 * len(pictures.frames):
            raise Failed("the picture is not of one colour, as Firefox's fake camera is")
        if max(max(colour) - min(colour) for colour in colours) < 100:
            raise Failed(f"the picture has no colour: {colours[:5]}")
        if max(abs(a - b) for a, b in zip(colours[10], colours[-1])) < 20:
            raise Failed("the colour of Firefox's fake camera does not change")
    return pictures


def check_microphone(path, browser):
    """The fake microphone of that browser is what was recorded."""
    if browser == "firefox":
        return check_tone(path, 1000)
    sound = Sound(path)
    beeps = sound.beeps()
    steps = [after - before for before, after in zip(beeps, beeps[1:])]
    regular = [step for step in steps if 0.44 <= step <= 0.56]
    if len(regular) < 4 or len(regular) < 0.5 * len(steps):
        raise Failed(f"no beep each half second in {sound.seconds:.1f} s of sound, but at "
                     f"{[round(beep, 2) for beep in beeps[:12]]}")
