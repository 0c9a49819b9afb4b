"""rtc-peer send, and a browser that opens the printed address."""
import contextlib
import os
import re
import subprocess

from .browsers import Chromium, Firefox
from .processes import Failed, wait_until
from .scenarios import Scenario, check
from .transfers import Program, digest

MEGABYTE = 1_000_000


class ReceivePage:
    """The page that a code's address opens."""

    def __init__(self, page):
        self.page = page

    def open(self, url):
        # The same page with other words after the # would not be loaded again.
        self.page.open("about:blank")
        self.page.open(url)
        self.wait_for_state("offered", "failed")

    def wait_for_state(self, *states, seconds=20):
        try:
            return self.page.wait_for(f"{list(states)}.includes(rtcTransfer.state) && rtcTransfer.state", seconds,
                                      " or ".join(states))
        except Failed as error:
            raise Failed(f"{error}; the page says: {self.words()!r}") from None

    def words(self):
        return " ".join((self.page.value("document.body?.innerText") or "").split())[:500]

    def wait_for_words(self, words, seconds=20):
        try:
            wait_until(lambda: words in self.words(), seconds, f"“{words}” on the page")
        except Failed as error:
            raise Failed(f"{error}; it says: {self.words()!r}") from None

    def listed(self):
        """Names and sizes as they are shown."""
        return {name: size for name, size in self.page.value("""
            [...document.querySelectorAll('#entries li')].map(line => [line.querySelector('.name').textContent,
                                                                       line.querySelector('.size').textContent])""")}

    def accept(self):
        # Nobody could answer the browser's own dialogue here.
        self.page.value("(delete window.showSaveFilePicker, delete window.showDirectoryPicker, "
                        "document.querySelector('#accept').click(), true)")
        self.wait_for_state("receiving", "finished")

    def wait_for_share(self, share, seconds=20):
        self.page.wait_for(f"document.querySelector('#total').value >= {share}", seconds, f"{share:.0%} of the files")

    def save_all(self):
        self.page.value("document.querySelector('#save-all').click() ?? true")


class BrowserReceives(Scenario):
    """A browser as the receiver of rtc-peer send."""

    browser_class = Chromium
    # Of the documentation's block (RFC 5737): by HTTP such a page has neither WebCrypto nor a file system.
    address = "192.0.2.1"
    link = ("dev", "lo")

    def set_up(self):
        subprocess.run(["ip", "address", "add", self.address + "/32", *self.link], check=True)
        self.browser = self.use(self.browser_class(self.path("browser.log"), downloads=self.folder("downloads")))
        self.page = ReceivePage(self.browser.page)
        os.makedirs(self.path("photos/below"))
        self.files = {"large.bin": 30 * MEGABYTE, "Größe.txt": 1000, "photos/1.jpg": 3 << 20, "photos/below/2.jpg": 5,
                      "photos/empty": 0}
        for name, size in {**self.files, "longer.bin": 200 * MEGABYTE}.items():
            with open(self.path(name), "wb") as file:
                file.write(os.urandom(size))

    def tear_down(self):
        super().tear_down()
        subprocess.run(["ip", "address", "delete", self.address + "/32", *self.link], check=True)

    def screenshot(self, path):
        self.browser.page.save_screenshot(path)

    @contextlib.contextmanager
    def sender(self, log_name, *arguments, host="127.0.0.1"):
        with contextlib.ExitStack() as stack:
            program = Program("send", "--listen", host + ":0", *arguments, log_path=self.path(log_name))
            stack.callback(program.__exit__)
            self.logs.append(program.log_path)
            yield program

    def everything(self):
        return [self.path(name) for name in ("large.bin", "Größe.txt", "photos")]

    def compare_downloads(self, names, seconds=30):
        """What the browser saved, folders flattened, is what was sent."""
        for name in names:
            saved = os.path.join(self.path("downloads"), name.replace("/", "-"))
            size = os.path.getsize(self.path(name))
            wait_until(lambda: os.path.exists(saved) and os.path.getsize(saved) == size, seconds, f"the download {saved}")
            if digest(saved) != digest(self.path(name)):
                raise Failed(f"{saved} is not {name}")
            os.remove(saved)

    @check("the page lists what is offered, with sizes, before anything is accepted", essential=True)
    def lists(self):
        with self.sender("list.log", *self.everything()) as sender:
            self.page.open(sender.address())
            listed = self.page.listed()
            wanted = {"large.bin": "30 MB", "Größe.txt": "1 kB", "photos/1.jpg": "3.15 MB",
                      "photos/below/2.jpg": "5 bytes", "photos/empty": "0 bytes"}
            if listed != wanted:
                raise Failed(f"the page lists {listed}")
            if "sent" in sender.words():
                raise Failed("something was sent before it was accepted")

    @check("two files, of 30 MB and 1 kB, and a folder are received and saved as they were")
    def receives(self):
        with self.sender("receive.log", *self.everything()) as sender:
            self.page.open(sender.address())
            if not self.page.page.value("isSecureContext && !!crypto.subtle"):
                raise Failed("the page is not secure; this checks the other way again")
            self.page.accept()
            self.page.wait_for_state("finished", seconds=60)
            sender.wait_for_exit(0)
        self.page.save_all()
        self.compare_downloads(self.files)

    @check("by HTTP from another machine's address, without WebCrypto, as well")
    def receives_insecurely(self):
        with self.sender("insecure.log", *self.everything(), host=self.address) as sender:
            self.page.open(sender.address())
            if self.page.page.value("isSecureContext || !!crypto.subtle"):
                raise Failed("the browser takes the page for secure; this checks nothing")
            self.page.accept()
            self.page.wait_for_state("finished", seconds=60)
            sender.wait_for_exit(0)
        self.page.save_all()
        self.compare_downloads(self.files)

    @check("a wrong code is told in words, and the sender prints another code")
    def wrong_code(self):
        with self.sender("wrong.log", *self.everything()) as sender:
            right = sender.address()
            self.page.open(right.rsplit("-", 1)[0] + ("-zebra" if not right.endswith("zebra") else "-acorn"))
            self.page.wait_for_words("The code is wrong")
            code = sender.code()
            sender.wait_for(r"The code is (?!" + re.escape(code) + ")")

    @check("a code that was used is told in words, and the first receiver goes on")
    def used_code(self):
        with self.sender("used.log", *self.everything()) as sender:
            first = self.use(Program("receive", sender.address(), "--into", self.folder("taken"), log_path=self.path("used-2.log")))
            sender.wait_for("Connected")
            self.page.open(sender.address())
            self.page.wait_for_words("used already")
            first.wait_for_exit(0)
            sender.wait_for_exit(0)

    @check("after a reload in mid-transfer everything arrives as it was")
    def reload(self):
        with self.sender("reload.log", self.path("longer.bin"), self.path("Größe.txt")) as sender:
            self.page.open(sender.address())
            self.page.accept()
            self.page.wait_for_share(0.05)
            self.page.page.reload()
            self.page.wait_for_state("offered")
            self.page.accept()
            self.page.wait_for_state("finished", seconds=120)
            sender.wait_for_exit(0)
        self.page.save_all()
        self.compare_downloads(["longer.bin", "Größe.txt"], 60)

    @check("after the sender was stopped and resumed, the page goes on where it was")
    def sender_resumes(self):
        with self.sender("stopped.log", self.path("longer.bin"), self.path("Größe.txt")) as sender:
            self.page.open(sender.address())
            self.page.accept()
            self.page.wait_for_share(0.05)
            code = sender.code()
            sender.process.send_signal(2)
            sender.wait_for_exit(130)
            self.page.wait_for_words("trying again")
        with self.sender("resumed.log", "--resume", code) as sender:
            self.page.wait_for_state("finished", seconds=120)
            sender.wait_for_exit(0)
            sender.wait_for("Going on with longer.bin")
        self.page.save_all()
        self.compare_downloads(["longer.bin", "Größe.txt"], 60)


class ChromiumReceives(BrowserReceives):
    name = "chromium receives"
    browser_class = Chromium


class FirefoxReceives(BrowserReceives):
    name = "firefox receives"
    browser_class = Firefox


SCENARIOS = [ChromiumReceives, FirefoxReceives]
