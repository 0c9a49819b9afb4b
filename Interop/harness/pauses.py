"""Speech with pauses by Opus DTX: little is sent, and who listens hears the room's sound all the time."""
import array
import math
import random
import time
import wave

from .browsers import Chromium
from .loudspeaker import SAMPLE_RATE, Loudspeaker
from .peer import Peer
from .processes import Failed, measured, wait_until
from .scenarios import Scenario, check
from .webpage import CallPage

# Seconds of the recording, of speech and pause in it.
PERIOD, SPEECH = 4, 1
BLOCK = SAMPLE_RATE // 50


def make_talk(path):
    """Something like speech for a second, then three of the room's faint noise (-55 dBFS)."""
    generator = random.Random(1)
    samples = array.array("h")
    for at in range(PERIOD * SAMPLE_RATE):
        t = at / SAMPLE_RATE
        value = generator.gauss(0, 60)
        if t < SPEECH:
            syllable = 0.5 + 0.5 * math.sin(2 * math.pi * 4 * t)
            pitch = 150 + 30 * math.sin(6 * t)
            value += syllable * (6000 * math.sin(2 * math.pi * pitch * t) + 2500 * math.sin(2 * math.pi * 700 * t))
        samples.append(int(value))
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.tobytes())
    return path


class Pauses(Scenario):
    name = "pauses"

    def set_up(self):
        talk = make_talk(self.path("talk.wav"))
        self.speaker = self.use(Loudspeaker(self.directory, self.path("pulseaudio.log")))
        self.browser = self.use(Chromium(self.path("browser.log"), flags=["--use-file-for-fake-audio-capture=" + talk]))
        self.page = CallPage(self.browser.page)
        self.peer = self.use(Peer("call", "--listen", "127.0.0.1:0", "--video", "none", "--audio", talk, "--dtx",
                                  "--speaker", "pulse", log_path=self.path("rtc-peer.log"), within=self.speaker.within))
        self.page.open(self.peer.wait_for("ready")["url"])

    @check("the call stands", essential=True)
    def connects(self):
        self.peer.wait_for("peer", 15, state="connected")

    @check("in a pause rtc-peer sends next to nothing, and Chromium takes nothing of it for lost")
    def heard_by_chromium(self):
        measured(self.nothing_lost, 30)

    def nothing_lost(self):
        before = wait_until(self.received, 5, "a packet of sound")
        time.sleep(2 * PERIOD)
        after = wait_until(self.received, 5, "a packet of sound")
        rate = {key: (after[key] - before[key]) / (after["timestamp"] - before["timestamp"]) * 1000 for key in after}
        if not 5 < rate["packetsReceived"] < 35:
            raise Failed(f"{rate['packetsReceived']:.1f} packets a second came")
        if rate["concealedSamples"] > 0.05 * SAMPLE_RATE:
            raise Failed(f"{rate['concealedSamples']:.0f} samples a second were made up for what was thought lost")

    def received(self):
        return self.page.probe("""
            for (const s of (await probe.connections()[0].getStats()).values())
              if (s.type === 'inbound-rtp' && s.kind === 'audio')
                return {timestamp: s.timestamp, packetsReceived: s.packetsReceived,
                        concealedSamples: s.concealedSamples};""")

    @check("in a pause of Chromium's rtc-peer's loudspeaker plays the room's noise all the time")
    def heard_by_peer(self):
        measured(self.no_silence, 30)

    def no_silence(self):
        time.sleep(2 * PERIOD)
        samples = self.speaker.samples(2 * PERIOD)
        powers = [sum(sample * sample for sample in samples[at:at + BLOCK]) / BLOCK
                  for at in range(0, len(samples) - BLOCK + 1, BLOCK)]
        levels = [10 * math.log10(max(power, 0.01) / 32768 ** 2) for power in powers]
        # Chromium's noise suppression leaves no more of the room than -80 dBFS; silence is the absence of anything.
        loud, dead = sum(level > -40 for level in levels), sum(level < -95 for level in levels)
        if loud < 0.1 * len(levels):
            raise Failed(f"no speech is heard: {sorted(levels)[::len(levels) // 10]}")
        if dead > 0.03 * len(levels):
            raise Failed(f"{dead} of {len(levels)} blocks of 20 ms are silent")


SCENARIOS = [Pauses]
