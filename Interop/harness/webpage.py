"""rtc-peer's page in a browser: what a person would do there, and what is to be seen and heard on it."""
import json
import os

from .processes import Failed, measured, wait_until
from .recordings import BARS, COLOUR_TOLERANCE

with open(os.path.join(os.path.dirname(__file__), "page.js")) as _file:
    PROBE = _file.read()


class CallPage:
    """A browser's page on which rtc-peer's page is open."""

    def __init__(self, page):
        self.page = page

    def open(self, url):
        self.page.open(url)

    def reload(self):
        """Loads the page again, and waits until it is there."""
        before = self.page.value("performance.timeOrigin")
        self.page.reload()
        # The old page may still answer for a moment.
        self.page.wait_for(f"performance.timeOrigin !== {before} && document.readyState === 'complete'", 3, "the reload")

    def probe(self, body, timeout=30, **args):
        """Runs a script with the probe in reach; it is put into the page if a reload took it away."""
        return self.page.run(f"{PROBE}\n{body}", timeout, **args)

    def wait_until_connected(self, count=1, seconds=5):
        """Until that many connections are up and their frames are decoded; the counters then."""
        def attempt():
            try:
                seen = self.probe("""
                    return Promise.all(probe.connections().filter(c => c.connectionState === 'connected')
                        .map(c => probe.counters(c)));""", timeout=5)
            except Failed as error:
                if "rtcPage" in str(error) or "reloaded" in str(error):
                    return None
                raise
            seen = [counters for counters in seen if counters.get("framesDecoded", 0) >= 2]
            return seen if len(seen) >= count else None
        try:
            return wait_until(attempt, seconds, f"{count} connection(s) with decoded frames")
        except Failed as error:
            raise Failed(f"{error}; the page says: {self.words()!r}") from None

    def words(self):
        """The text on the page, on one line."""
        return " ".join((self.page.value("document.body?.innerText") or "").split())[:300]

    def rates(self, seconds=4):
        """For each connection, how many frames a second were decoded and sent meanwhile."""
        return self.probe("""
            const all = probe.connections().filter(c => c.connectionState === 'connected');
            const before = await Promise.all(all.map(probe.counters));
            await new Promise(done => setTimeout(done, args.seconds * 1000));
            const after = await Promise.all(all.map(probe.counters));
            const rate = (i, key) => (after[i][key] - before[i][key]) / (after[i].at - before[i].at) * 1000;
            return all.map((_, i) => ({decoded: rate(i, 'framesDecoded'), sent: rate(i, 'framesSent'),
                                       audioPackets: rate(i, 'audioPackets')}));""", seconds + 20, seconds=seconds)

    def check_pattern(self):
        """The test pattern is what the page's video shows, and its counter rises at about 30 a second."""
        measured(self._check_pattern_once)

    def _check_pattern_once(self):
        reads = self.probe("""
            const reads = [];
            for (let i = 0; i < 8; i++) {
              reads.push({at: performance.now(), ...probe.pattern(probe.connections()[0])});
              await new Promise(done => setTimeout(done, 250));
            }
            return reads;""")
        for read in reads:
            if "bars" not in read:
                raise Failed("no video element of the page shows the remote track")
            for seen, wanted in zip(read["bars"], BARS):
                if any(abs(a - b) > COLOUR_TOLERANCE for a, b in zip(seen, wanted)):
                    raise Failed(f"the bars are {read['bars']}, not {BARS}")
        counters = [read["counter"] for read in reads]
        steps = [(after - before) & 0xFFFF for before, after in zip(counters, counters[1:])]
        if not all(1 <= step <= 60 for step in steps):
            raise Failed(f"the counter does not rise steadily: {counters}")
        rate = sum(steps) / (reads[-1]["at"] - reads[0]["at"]) * 1000
        if not 20 <= rate <= 40:
            raise Failed(f"the counter rises by {rate:.1f} a second, not by 30")

    def check_tone(self, hertz):
        heard = self.probe("return probe.tone(probe.connections()[0]);")
        if heard["state"] != "running" or abs(heard["hertz"] - hertz) > 8 or heard["decibels"] < -60:
            raise Failed(f"the strongest tone is {heard}, not {hertz} Hz")

    def say(self, text):
        self.probe("""
            const input = document.querySelector('#chat-input');
            input.value = args.text;
            input.dispatchEvent(new Event('input', {bubbles: true}));
            input.form.requestSubmit();""", text=text)

    def wait_for_chat(self, text, seconds=5):
        self.page.wait_for(f"document.querySelector('#chat-log').innerText.includes({json.dumps(text)})", seconds,
                           f"{text!r} in the page's chat")

    def send_file(self, name, byte_count, seed):
        """Chooses a file as a person would in the page's file field; its hash."""
        return self.probe("""
            const file = probe.makeFile(args.name, args.byteCount, args.seed), list = new DataTransfer();
            list.items.add(file);
            const input = document.querySelector('input[type=file]');
            input.files = list.files;
            input.dispatchEvent(new Event('change', {bubbles: true}));
            return probe.sha256(file);""", name=name, byteCount=byte_count, seed=seed)

    def received_file_hash(self, name, seconds=20):
        """The hash of a file that came, read through the link by which a person would save it."""
        self.page.wait_for(f"!!document.querySelector('a[download=' + JSON.stringify({json.dumps(name)}) + ']')", seconds,
                           f"a link to save {name}")
        return self.probe("""
            const link = document.querySelector('a[download=' + JSON.stringify(args.name) + ']');
            return probe.sha256(await (await fetch(link.href)).blob());""", name=name)

    def hang_up(self):
        self.page.value("document.querySelector('#hang-up').click() ?? true")

    def wait_until_ended(self, seconds=5):
        self.page.wait_for("rtcPage.connections().every(c => ['closed', 'failed'].includes(c.connectionState))", seconds,
                           "the end of the call on the page")
