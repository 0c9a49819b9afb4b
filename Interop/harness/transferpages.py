"""The pages that a code's address opens, and what the scenarios with a browser on one side have in common."""
import contextlib
import subprocess

from .browsers import Chromium
from .processes import Failed, wait_until
from .scenarios import Scenario
from .transfers import Program

MEGABYTE = 1_000_000


class TransferPage:
    """A page that receives or sends files."""

    # What it says of itself once it is there.
    first_state = "offered"

    def __init__(self, page):
        self.page = page

    def open(self, url):
        # The same page with other words after the # would not be loaded again.
        self.page.open("about:blank")
        self.page.open(url)
        self.wait_for_state(self.first_state, "failed")

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
            [...document.querySelectorAll('#entries li:not(.more)')].map(line => [line.querySelector('.name').textContent,
                                                                       line.querySelector('.size').textContent])""")}


class BrowserTransfers(Scenario):
    """A browser on one side, rtc-peer on the other; also by HTTP from an address that is not this machine's own."""

    browser_class = Chromium
    page_class = TransferPage
    # Of the documentation's block (RFC 5737): by HTTP such a page has neither WebCrypto nor a file system.
    address = "192.0.2.1"
    link = ("dev", "lo")

    def set_up(self):
        subprocess.run(["ip", "address", "add", self.address + "/32", *self.link], check=True)
        self.browser = self.use(self.make_browser())
        self.page = self.page_class(self.browser.page)

    def make_browser(self):
        return self.browser_class(self.path("browser.log"))

    def tear_down(self):
        super().tear_down()
        subprocess.run(["ip", "address", "delete", self.address + "/32", *self.link], check=True)

    def screenshot(self, path):
        self.browser.page.save_screenshot(path)

    @contextlib.contextmanager
    def program(self, log_name, command, *arguments, host, **options):
        with contextlib.ExitStack() as stack:
            program = Program(command, "--listen", host + ":0", *arguments, log_path=self.path(log_name), **options)
            stack.callback(program.__exit__)
            self.logs.append(program.log_path)
            yield program
