"""rtc-peer receive, and a browser that opens the printed address and sends files."""
import contextlib
import os
import re
import signal
import subprocess

from .browsers import Chromium, Firefox
from .peer import Peer
from .processes import Failed, wait_until
from .receptions import MEGABYTE, ReceivePage
from .scenarios import Scenario, check
from .transfers import CODE, Program, digest, part_size


class SendPage(ReceivePage):
    """The page that the address of rtc-peer receive opens."""

    def open(self, url):
        # The same page with other words after the # would not be loaded again.
        self.page.open("about:blank")
        self.page.open(url)
        self.wait_for_state("choosing", "failed")

    def choose(self, *paths):
        before = len(self.listed())
        self.page.choose_files("#choose-files", list(paths))
        wait_until(lambda: len(self.listed()) > before, 10, "the chosen files in the list")

    def send(self):
        self.page.value("document.querySelector('#send-all').click() ?? true")
        self.wait_for_state("sending", "finished")

    def wait_until_sent(self, seconds=60):
        if self.wait_for_state("finished", "failed", seconds=seconds) != "finished":
            raise Failed(f"the page says: {self.words()!r}")


class BrowserSends(Scenario):
    """A browser as the sender to rtc-peer receive."""

    browser_class = Chromium
    # Of the documentation's block (RFC 5737): by HTTP such a page has no WebCrypto.
    address = "192.0.2.1"
    link = ("dev", "lo")

    def set_up(self):
        subprocess.run(["ip", "address", "add", self.address + "/32", *self.link], check=True)
        self.browser = self.use(self.browser_class(self.path("browser.log")))
        self.page = SendPage(self.browser.page)
        self.files = {"large.bin": 30 * MEGABYTE, "Größe.txt": 1000, "block": 1 << 20, "empty": 0}
        for name, size in {**self.files, "longer.bin": 300 * MEGABYTE}.items():
            self.write(name, size)

    def tear_down(self):
        super().tear_down()
        subprocess.run(["ip", "address", "delete", self.address + "/32", *self.link], check=True)

    def screenshot(self, path):
        self.browser.page.save_screenshot(path)

    def write(self, name, size):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "wb") as file:
            for offset in range(0, size, 1 << 24):
                file.write(os.urandom(min(1 << 24, size - offset)))

    @contextlib.contextmanager
    def receiver(self, log_name, *arguments, into, host="127.0.0.1"):
        with contextlib.ExitStack() as stack:
            program = Program("receive", "--listen", host + ":0", "--into", self.path(into), *arguments,
                              log_path=self.path(log_name),
                              env=dict(os.environ, XDG_STATE_HOME=self.folder("state")))
            stack.callback(program.__exit__)
            self.logs.append(program.log_path)
            yield program

    def all(self):
        return [self.path(name) for name in self.files]

    def compare(self, into, names):
        """The folder holds these files, as they were sent, and nothing else."""
        found = sorted(os.path.relpath(os.path.join(place, name), self.path(into))
                       for place, _, files in os.walk(self.path(into)) for name in files)
        if found != sorted(names):
            raise Failed(f"{into} holds {found[:10]}")
        for name in names:
            if digest(os.path.join(self.path(into), name)) != digest(self.path(name)):
                raise Failed(f"{name} is not what was sent")

    @check("one file of 30 MB arrives, and both sides say so", essential=True)
    def one_file(self):
        with self.receiver("one.log", into="one") as receiver:
            self.page.open(receiver.address())
            self.page.choose(self.path("large.bin"))
            if self.page.listed() != {"large.bin": "30 MB"}:
                raise Failed(f"the page lists {self.page.listed()}")
            if "Receiving" in receiver.words():
                raise Failed("something was sent before the person said so")
            self.page.send()
            self.page.wait_until_sent()
            receiver.wait_for_exit(0)
            self.page.wait_for_words("1 file has arrived")
        self.compare("one", ["large.bin"])

    @check("with --json the first line has the code and the address; files of 30 MB, a block, 1 kB and 0 bytes arrive")
    def several_files(self):
        receiver = self.use(Peer("receive", "--json", "--listen", "127.0.0.1:0", "--into", self.path("several"),
                                 log_path=self.path("several.log")))
        ready = receiver.wait_for("ready")
        if not CODE.fullmatch(ready.get("code", "")) or "#" not in ready.get("url", ""):
            raise Failed(f"the first line is {ready}")
        self.page.open(ready["url"])
        if not self.page.page.value("isSecureContext && !!crypto.subtle"):
            raise Failed("the page is not secure; this checks the other way again")
        self.page.choose(*self.all())
        self.page.send()
        self.page.wait_until_sent()
        receiver.wait_for("ended")
        self.compare("several", self.files)

    @check("by HTTP from another machine's address, without WebCrypto, as well")
    def insecurely(self):
        with self.receiver("insecure.log", into="insecure", host=self.address) as receiver:
            self.page.open(receiver.address())
            if self.page.page.value("isSecureContext || !!crypto.subtle"):
                raise Failed("the browser takes the page for secure; this checks nothing")
            self.page.choose(*self.all())
            self.page.send()
            self.page.wait_until_sent()
            receiver.wait_for_exit(0)
        self.compare("insecure", self.files)


class ChromiumSends(BrowserSends):
    name = "chromium sends"
    browser_class = Chromium


class FirefoxSends(BrowserSends):
    name = "firefox sends"
    browser_class = Firefox


SCENARIOS = [ChromiumSends, FirefoxSends]
