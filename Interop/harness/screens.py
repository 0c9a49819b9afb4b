"""The screen as a call's picture: an X server without a monitor, something moving on it, Chromium looking at it."""
import os
import subprocess

from .browsers import Chromium
from .peer import PROGRAM, Peer
from .processes import Failed, find_program, start, stop
from .recordings import BARS, COLOUR_TOLERANCE
from .scenarios import Scenario, check
from .webpage import CallPage

# Of the film, which ffplay shows larger.
WIDTH, HEIGHT, RATE, SECONDS = 160, 90, 30, 90
SCREEN = (800, 600)
WINDOW = (640, 360)


def make_film(path):
    """The test pattern as the page reads it: four bars of colour over a counter of 16 blocks, uncompressed."""
    bars = [(82, 90, 240), (145, 54, 34), (41, 240, 110), (210, 16, 146)]
    top = HEIGHT * 3 // 4
    luma_row = bytes(bars[x * 4 // WIDTH][0] for x in range(WIDTH))
    chroma = [b"".join(bytes(bars[x * 4 // (WIDTH // 2)][plane] if row < top // 2 else 128 for x in range(WIDTH // 2))
                       for row in range(HEIGHT // 2)) for plane in (1, 2)]
    with open(path, "wb") as film:
        film.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{RATE}:1 C420jpeg\n".encode())
        for number in range(RATE * SECONDS):
            counter = bytes(235 if number >> (15 - x * 16 // WIDTH) & 1 else 16 for x in range(WIDTH))
            film.write(b"FRAME\n" + luma_row * top + counter * (HEIGHT - top) + chroma[0] + chroma[1])


class XServer:
    """Xvfb on a display of its own."""

    def __init__(self, log_path):
        self.log_path = log_path
        self.process = start([find_program(["Xvfb"]), "-displayfd", "1", "-noreset", "-ac", "-screen", "0",
                              f"{SCREEN[0]}x{SCREEN[1]}x24"], log_path, stdout=subprocess.PIPE)
        number = self.process.stdout.readline().strip().decode()
        if not number:
            raise Failed("Xvfb did not start")
        self.display = ":" + number
        self.environment = ("env", f"DISPLAY={self.display}")

    def __exit__(self, *_):
        stop(self.process)

    def kill(self):
        self.process.kill()
        self.process.wait()


class Film:
    """ffplay showing the film in a window without a frame, at the upper left of the screen."""

    def __init__(self, server, film, log_path):
        self.log_path = log_path
        self.process = start([*server.environment, "SDL_RENDER_DRIVER=software", "SDL_AUDIODRIVER=dummy",
                              find_program(["ffplay"]), "-loglevel", "error", "-noborder", "-left", "0", "-top", "0",
                              "-x", str(WINDOW[0]), "-y", str(WINDOW[1]), "-window_title", "Film of colours", film], log_path)

    def __exit__(self, *_):
        stop(self.process)


class ScreenCall(Scenario):
    """`rtc-peer call --video screen:TITLE`, and Chromium."""

    name = "the screen to Chromium"

    def set_up(self):
        film = self.path("film.y4m")
        make_film(film)
        self.server = self.use(XServer(self.path("xvfb.log")))
        self.film = self.use(Film(self.server, film, self.path("ffplay.log")))
        self.browser = self.use(Chromium(self.path("browser.log")))
        self.page = CallPage(self.browser.page)
        done = subprocess.run([*self.server.environment, find_program(["xdotool"]), "search", "--sync", "--onlyvisible",
                               "--name", "Film of colours"], capture_output=True, text=True, timeout=15, check=False)
        self.window = done.stdout.split()[0] if done.stdout.split() else None
        if not self.window:
            raise Failed("ffplay shows no window: " + done.stderr)

    def call(self, video, log_name):
        peer = self.use(Peer("call", "--listen", "127.0.0.1:0", "--video", video, "--audio", "tone", "--no-speaker",
                             within=self.server.environment, log_path=self.path(log_name)))
        self.page.open(peer.wait_for("ready")["url"])
        self.page.wait_until_connected(seconds=10)
        return peer

    def screenshot(self, path):
        self.browser.page.save_screenshot(path)

    @check("`rtc-peer devices` lists the screen and the window", essential=True)
    def listed(self):
        peer = self.use(Peer("devices", within=self.server.environment, log_path=self.path("devices.log")))
        whole = peer.wait_for("screen", id="screen")
        window = peer.wait_for("screen", name="Film of colours")
        if (whole["width"], whole["height"]) != SCREEN or int(window["id"], 16) != int(self.window):
            raise Failed(f"listed as {whole} and {window}")

    @check("the page shows the window's colours and its counter, 30 pictures a second", essential=True)
    def window_pattern(self):
        self.peer = self.call("screen:film of", "rtc-peer.log")
        self.page.check_pattern()

    @check("a window that is moved half outside the screen is shown as before")
    def moved(self):
        subprocess.run([*self.server.environment, "xdotool", "windowmove", self.window, "-300", "400"], check=True)
        self.page.check_pattern()

    @check("a window that is closed is told, and the call goes on")
    def closed(self):
        self.film.__exit__()
        self.peer.wait_for("error", 10)
        self.page.say("still there?")
        self.peer.wait_for("chat")
        self.peer.send(hangup=True)
        self.peer.wait_for("ended", 5)

    @check("the whole screen: the same film in its place, the pointer on it")
    def whole(self):
        self.film = self.use(Film(self.server, self.path("film.y4m"), self.path("ffplay.log")))
        subprocess.run([*self.server.environment, "xdotool", "search", "--sync", "--onlyvisible", "--name", "Film of colours",
                        "mousemove", "700", "500"], check=True, timeout=15, stdout=subprocess.DEVNULL)
        self.peer = self.call("screen", "rtc-peer-2.log")
        # Below and beside the film is the black of the empty screen, right of the bars.
        size = self.page.probe("return probe.pattern(probe.connections()[0]);")
        if (size["width"], size["height"]) != SCREEN:
            raise Failed(f"the page shows {size['width']}x{size['height']}, not {SCREEN}")

    @check("a snapshot of the screen is what is on it")
    def snapshot(self):
        picture = self.path("screen.png")
        done = subprocess.run([*self.server.environment, PROGRAM, "snapshot", "--video", "screen", picture],
                              capture_output=True, text=True, timeout=20, check=False)
        if done.returncode:
            raise Failed(done.stderr)
        raw = subprocess.run([find_program(["ffmpeg"]), "-v", "error", "-i", picture, "-f", "rawvideo", "-pix_fmt", "rgb24",
                              "-"], capture_output=True, timeout=20, check=True).stdout
        if len(raw) != SCREEN[0] * SCREEN[1] * 3:
            raise Failed(f"{len(raw)} bytes")
        for index, wanted in enumerate(BARS):
            at = ((WINDOW[1] * 3 // 8) * SCREEN[0] + (2 * index + 1) * WINDOW[0] // 8) * 3
            if any(abs(a - b) > COLOUR_TOLERANCE for a, b in zip(raw[at:at + 3], wanted)):
                raise Failed(f"bar {index} is {tuple(raw[at:at + 3])}, not {wanted}")

    @check("an X server that ends is told, and the call goes on")
    def server_ends(self):
        self.server.kill()
        self.peer.wait_for("error", 10)
        self.page.say("and now?")
        self.peer.wait_for("chat")


SCENARIOS = [ScreenCall]
