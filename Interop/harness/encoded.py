"""H.264 that was encoded before the call: made by ffmpeg's libx264, sent by rtc-peer as it is, decoded by Chromium."""
import os
import subprocess
import time

from .browsers import Chromium
from .peer import Peer
from .processes import Failed, find_program, measured
from .recordings import BARS, COUNTER_BITS
from .scenarios import Scenario, check
from .webpage import CallPage

WIDTH, HEIGHT, RATE, SECONDS = 320, 180, 30, 60
# Pictures from one key frame to the next, and slices of a picture.
GROUP, SLICES = 60, 2


def luma_and_chroma(colour):
    """Y, U and V of an RGB colour, by ITU-R BT.601 in its limited range."""
    red, green, blue = colour
    return (round(16 + 0.257 * red + 0.504 * green + 0.098 * blue), round(128 - 0.148 * red - 0.291 * green + 0.439 * blue),
            round(128 + 0.439 * red - 0.368 * green - 0.071 * blue))


def make_film(path, group=GROUP, seconds=SECONDS):
    """The test pattern (four bars over a 16-bit counter in the bottom quarter) as a byte stream of H.264."""
    colours = [luma_and_chroma(colour) for colour in BARS]
    top = HEIGHT * 3 // 4
    rows = [b"".join(bytes([colour[plane]]) * (width // 4) for colour in colours)
            for plane, width in enumerate((WIDTH, WIDTH // 2, WIDTH // 2))]
    encoder = subprocess.Popen(
        [find_program(["ffmpeg"]), "-v", "error", "-y", "-f", "yuv4mpegpipe", "-i", "-", "-c:v", "libx264", "-profile:v",
         "baseline", "-level", "3.1", "-preset", "veryfast", "-b:v", "600k", "-x264-params",
         f"keyint={group}:min-keyint={group}:scenecut=0:slices={SLICES}:bframes=0:repeat-headers=1", "-f", "h264", path],
        stdin=subprocess.PIPE)
    encoder.stdin.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{RATE}:1 C420jpeg\n".encode())
    for number in range(seconds * RATE):
        blocks = b"".join(bytes([235 if number >> (COUNTER_BITS - 1 - bit) & 1 else 16]) * (WIDTH // COUNTER_BITS)
                          for bit in range(COUNTER_BITS))
        encoder.stdin.write(b"FRAME\n" + rows[0] * top + blocks * (HEIGHT - top))
        for plane in (1, 2):
            encoder.stdin.write(rows[plane] * (top // 2) + b"\x80" * (WIDTH // 2 * (HEIGHT // 2 - top // 2)))
    encoder.stdin.close()
    if encoder.wait():
        raise Failed(f"ffmpeg exited with {encoder.returncode}")


def received_codec(page):
    """What the page's browser says of the pictures that come: codec, size, decoded frames, key frames, requests, losses."""
    return page.probe("""
        const all = await probe.connections()[0].getStats(), found = {};
        for (const s of all.values()) if (s.type === 'inbound-rtp' && s.kind === 'video')
          Object.assign(found, {codec: all.get(s.codecId)?.mimeType, fmtp: all.get(s.codecId)?.sdpFmtpLine,
                                width: s.frameWidth, height: s.frameHeight, decoded: s.framesDecoded,
                                keyFrames: s.keyFramesDecoded, requests: s.pliCount, lost: s.packetsLost,
                                decoder: s.decoderImplementation});
        return found;""")


class EncodedFilm(Scenario):
    """A film of H.264, sent as it is to Chromium's page, which sends its camera in VP8."""

    name = "H.264 as it is to Chromium"

    def set_up(self):
        film = self.path("film.h264")
        make_film(film)
        self.browser = self.use(Chromium(self.path("browser.log")))
        self.page = CallPage(self.browser.page)
        self.peer = self.use(Peer("call", "--listen", "127.0.0.1:0", "--video", film, "--audio", "none", "--no-speaker",
                                  log_path=self.path("rtc-peer.log")))
        self.url = self.peer.wait_for("ready")["url"]

    def tear_down(self):
        super().tear_down()
        if os.path.exists(self.path("film.h264")):
            os.remove(self.path("film.h264"))

    def screenshot(self, path):
        self.browser.page.save_screenshot(path)

    @check("both sides decode frames within 5 s of opening the page", essential=True)
    def connects(self):
        self.page.open(self.url)
        self.page.wait_until_connected(seconds=5)
        self.peer.wait_for_frames(5)

    @check("the page receives H.264 of the film's size, rtc-peer the page's VP8")
    def codec(self):
        seen = received_codec(self.page)
        print("   ", seen)
        if seen["codec"] != "video/H264" or (seen["width"], seen["height"]) != (WIDTH, HEIGHT):
            raise Failed(f"the page receives {seen}")
        _, told = self.peer.statistics()
        if told.get("sentCodec") != "H264" or not told.get("encoderImplementation", "").endswith("film.h264"):
            raise Failed(f"rtc-peer says {told}")

    @check("the page shows the film's colours and its rising counter, 30 pictures a second")
    def pattern(self):
        self.page.check_pattern()

    @check("every picture that is sent is decoded")
    def rate(self):
        measured(self.check_rate)

    def check_rate(self):
        before = received_codec(self.page)
        time.sleep(4)
        after = received_codec(self.page)
        print("   ", {key: after[key] - before[key] for key in ("decoded", "keyFrames", "requests", "lost")}, "in 4 s")
        if not 100 <= after["decoded"] - before["decoded"] <= 140 or after["lost"] > before["lost"]:
            raise Failed(f"{before}, 4 s later {after}")

    @check("a page that comes in the middle asks for a key frame and shows the film within 3 s")
    def reload(self):
        self.page.reload()
        self.page.wait_until_connected(seconds=3)
        self.page.check_pattern()


SCENARIOS = [EncodedFilm]
