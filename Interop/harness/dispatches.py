"""rtc-peer receive, and a browser that opens the printed address and sends files."""
import os
import re
import signal
import subprocess

from .browsers import Chromium, Firefox
from .peer import Peer
from .processes import Failed, wait_until
from .scenarios import check
from .transferpages import MEGABYTE, BrowserTransfers, TransferPage
from .transfers import CODE, digest, part_size


class SendPage(TransferPage):
    """The page that the address of rtc-peer receive opens."""

    first_state = "choosing"

    def choose(self, *paths):
        before = len(self.listed())
        self.page.choose_files("#choose-files", list(paths))
        wait_until(lambda: len(self.listed()) > before, 10, "the chosen files in the list")

    def send(self):
        self.page.value("document.querySelector('#send-all').click() ?? true")
        self.wait_for_state("sending", "finished", "failed")

    def wait_until_sent(self, seconds=60):
        if self.wait_for_state("finished", "failed", seconds=seconds) != "finished":
            raise Failed(f"the page says: {self.words()!r}")


class BrowserSends(BrowserTransfers):
    """A browser as the sender to rtc-peer receive."""

    page_class = SendPage

    def set_up(self):
        super().set_up()
        self.files = {"large.bin": 30 * MEGABYTE, "Größe.txt": 1000, "block": 1 << 20, "empty": 0}
        for name, size in {**self.files, "longer.bin": 200 * MEGABYTE}.items():
            self.write(name, size)

    def write(self, name, size):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "wb") as file:
            for offset in range(0, size, 1 << 24):
                file.write(os.urandom(min(1 << 24, size - offset)))

    def receiver(self, log_name, *arguments, into, host="127.0.0.1"):
        return self.program(log_name, "receive", "--into", self.path(into), *arguments, host=host,
                            env=dict(os.environ, XDG_STATE_HOME=self.folder("state")))

    def all(self):
        return [self.path(name) for name in self.files]

    def compare(self, into, names):
        """The folder holds these files, as they were sent, and nothing else; `names` may map them to what was sent."""
        sources = names if isinstance(names, dict) else {name: name for name in names}
        found = sorted(os.path.relpath(os.path.join(place, name), self.path(into))
                       for place, _, files in os.walk(self.path(into)) for name in files)
        if found != sorted(sources):
            raise Failed(f"{into} holds {len(found)} files, as {found[:5]}")
        for name, source in sources.items():
            if digest(os.path.join(self.path(into), name)) != digest(self.path(source)):
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
        self.compare("several", [*self.files])

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
        self.compare("insecure", [*self.files])

    @check("a thousand small files arrive")
    def many_files(self):
        names = [f"many/{number:04}.txt" for number in range(1000)]
        for number, name in enumerate(names):
            self.write(name, number % 700)
        with self.receiver("many.log", into="many-into") as receiver:
            self.page.open(receiver.address())
            self.page.choose(*map(self.path, names))
            self.page.wait_for_words("1000 files")
            shown, more = len(self.page.listed()), self.page.page.value("document.querySelector('.more')?.textContent")
            if (shown, more) != (500, "and 500 more"):
                raise Failed(f"the page lists {shown} and {more!r}")
            self.page.send()
            self.page.wait_until_sent()
            self.page.wait_for_words("1000 files have arrived")
            receiver.wait_for_exit(0)
        self.compare("many-into", {os.path.basename(name): name for name in names})

    @check("what is chosen twice is there once, another file of the same name gets a number, and what is removed does not go")
    def choosing(self):
        self.write("other/Größe.txt", 2000)
        with self.receiver("choosing.log", into="choosing") as receiver:
            self.page.open(receiver.address())
            if not self.page.page.value("document.querySelector('#send-all').disabled"):
                raise Failed("nothing could be sent")
            self.page.choose(self.path("Größe.txt"), self.path("block"))
            self.page.choose(self.path("other/Größe.txt"), self.path("block"))
            wanted = {"Größe.txt": "1 kB", "block": "1.05 MB", "Größe (1).txt": "2 kB"}
            if self.page.listed() != wanted:
                raise Failed(f"the page lists {self.page.listed()}")
            self.page.page.value("document.querySelector('[aria-label=\"Remove block\"]').click() ?? true")
            self.page.wait_for_words("2 files, 3 kB")
            self.page.send()
            self.page.wait_until_sent()
            receiver.wait_for_exit(0)
        self.compare("choosing", {"Größe.txt": "Größe.txt", "Größe (1).txt": "other/Größe.txt"})

    @check("a wrong code is told in words, and the receiver prints another code, by which a file arrives")
    def wrong_code(self):
        with self.receiver("wrong.log", into="wrong") as receiver:
            right = receiver.address()
            self.page.open(right.rsplit("-", 1)[0] + ("-zebra" if not right.endswith("zebra") else "-acorn"))
            self.page.wait_for_words("The code is wrong")
            code = receiver.code()
            receiver.wait_for(r"The code is (?!" + re.escape(code) + ")")
            address = wait_until(lambda: [a for a in re.findall(r"'(http[^']*#[^']*)'", receiver.words()) if a != right], 5,
                                 "another address")[-1]
            self.page.open(address)
            self.page.choose(self.path("block"))
            self.page.send()
            self.page.wait_until_sent()
            receiver.wait_for_exit(0)
        self.compare("wrong", ["block"])

    @check("a file that is there already is not touched, and the page says why; the others arrive")
    def taken_name(self):
        with open(self.folder("taken") + "/block", "w") as file:
            file.write("mine")
        with self.receiver("taken.log", into="taken") as receiver:
            self.page.open(receiver.address())
            self.page.choose(self.path("block"), self.path("Größe.txt"), self.path("empty"))
            self.page.send()
            self.page.wait_until_sent()
            self.page.wait_for_words("not sent: block exists already")
            self.page.wait_for_words("2 files have arrived and been checked; 1 was not sent")
            receiver.wait_for_exit(2)
        if open(self.path("taken/block")).read() != "mine":
            raise Failed("it was overwritten")

    @check("a file that got shorter, and one that is gone, are told in words; the others arrive")
    def changed(self):
        self.write("shrinking", 3 << 20)
        self.write("vanishing", 3 << 20)
        with self.receiver("changed.log", into="changed") as receiver:
            self.page.open(receiver.address())
            self.page.choose(self.path("shrinking"), self.path("vanishing"), self.path("block"))
            os.truncate(self.path("shrinking"), 1 << 20)
            os.remove(self.path("vanishing"))
            self.page.send()
            self.page.wait_until_sent()
            self.page.wait_for_words("shrinking has changed since it was chosen")
            self.page.wait_for_words("not sent: vanishing ")
            receiver.wait_for_exit(2)
        # What came of a file before it changed may stay, under another name.
        arrived = [name for name in os.listdir(self.path("changed")) if not name.endswith((".part", ".journal"))]
        if arrived != ["block"] or digest(self.path("changed/block")) != digest(self.path("block")):
            raise Failed(f"there is {arrived}")

    @check("what was chosen and cannot go is told on both sides; the others arrive")
    def left_out(self):
        self.write("bad\x7fname", 5)
        with self.receiver("leaving.log", into="leaving") as receiver:
            self.page.open(receiver.address())
            self.page.choose(self.path("bad\x7fname"), self.path("block"))
            self.page.wait_for_words("Left out: bad\ufffdname has a name that not every system takes")
            self.page.send()
            self.page.wait_until_sent()
            self.page.wait_for_words("1 file has arrived and been checked; 1 was not sent")
            self.page.wait_for_words("not sent: bad\ufffdname has a name")
            receiver.wait_for_exit(2)
            receiver.wait_for("bad\ufffdname has a name that not every system takes")
        self.compare("leaving", ["block"])

    @check("what no honest receiver says ends the transfer, in words")
    def hostile_receiver(self):
        with self.receiver("hostile.log", into="hostile") as receiver:
            self.page.open(receiver.address())
            wrong = self.page.page.run("""
                const {FileSender} = await import('/assets/sender.js');
                const file = (name, size) => ({path: [name], name, kind: 'file', size, file: new File([new Uint8Array(size)], name)});
                // Answers the sender's hello with `before`, its list with `answers`, and each `end` with `after`.
                async function play(before, answers = [], after = []) {
                  const said = [], channel = Object.assign(new EventTarget(), {readyState: 'open', bufferedAmount: 0});
                  channel.close = () => { channel.readyState = 'closed'; channel.dispatchEvent(new Event('close')); };
                  const hear = messages => { for (const one of messages) channel.onmessage({data: typeof one === 'string' || one instanceof ArrayBuffer ? one : JSON.stringify(one)}); };
                  channel.send = data => {
                    said.push(data);
                    const type = typeof data === 'string' && JSON.parse(data).type;
                    if (type === 'hello') hear(before);
                    if (type === 'manifest') hear(answers);
                    if (type === 'end') hear(after);
                  };
                  const sender = new FileSender({choose: async () => [file('a', 3 << 20), file('b', 5)], tell() {}});
                  const end = sender.run(channel).then(() => 'no error', error => error.code);
                  const code = await Promise.race([end, new Promise(done => setTimeout(done, 1000, 'nothing'))]);
                  channel.close();
                  return {code, said};
                }
                const wrong = [], hello = {type: 'hello', protocol: 1, role: 'receiver'}, accept = {type: 'accept'};
                async function expect(code, what, ...messages) {
                  const got = (await play(...messages)).code;
                  if (got !== code) wrong.push(`${what}: ${got}`);
                }
                const violation = 'protocol-violation', root = '0'.repeat(64), have = (done, partial) => ({type: 'have', done, partial});
                await expect('unsupported-version', 'version 2', [{...hello, protocol: 2}]);
                await expect(violation, 'two senders', [{...hello, role: 'sender'}]);
                await expect(violation, 'bytes', [new ArrayBuffer(20)]);
                await expect(violation, 'no JSON', ['x']);
                await expect(violation, 'null', [null]);
                await expect(violation, 'an early accept', [hello, accept]);
                await expect(violation, 'a long text', [' '.repeat(2 << 20)]);
                for (const [what, said] of Object.entries({
                  'an entry that was not offered': have([[0, 2]]), 'a range that is none': have([1]), 'a range backwards': have([[1, 0]]),
                  'entries twice': have([[0, 0], [0, 0]]), 'half a block': have([], [{file: 0, bytes: 5, root}]),
                  'more than the file': have([], [{file: 0, bytes: 4 << 20, root}]), 'a root that is none': have([], [{file: 0, bytes: 1 << 20, root: ''}]),
                  'a part of what is no entry': have([], [{file: 'length', bytes: 1 << 20, root}]), 'parts that are no list': have([], 7),
                  'a failure at no entry': {type: 'failed', file: 'length', code: 'x', reason: 'y'}, 'done before the start': {type: 'done', files: [0]},
                  'a receipt before the start': {type: 'ack', file: 0, bytes: 1}, 'an early finish': {type: 'finished'}})) {
                  await expect(violation, what, [hello], [said]);
                }
                await expect(violation, 'a receipt for too much', [hello], [accept], [{type: 'ack', file: 0, bytes: 9 << 20}]);
                await expect(violation, 'done too early', [hello], [accept], [{type: 'done', files: [1]}]);
                await expect('no-space', 'an error', [hello], [accept], [{type: 'error', code: 'no-space', reason: 'full'}]);
                await expect('refused', 'a refusal', [hello], [{type: 'refuse', code: 'refused', reason: 'no'}]);
                await expect('nothing', 'a silent receiver', [hello]);
                // A part that is not what the file has goes again from its start.
                const {said} = await play([hello], [have([], [{file: 0, bytes: 1 << 20, root}]), accept]);
                if (!said.some(text => typeof text === 'string' && /"begin","file":0,"offset":0/.test(text))) wrong.push('another beginning: no “begin” at 0');
                return wrong;""", 60)
            if wrong:
                raise Failed("; ".join(wrong))

    @check("when the network was gone in mid-transfer, it goes on where it was")
    def network_gone(self):
        with self.receiver("network.log", into="network") as receiver:
            self.page.open(receiver.address())
            self.page.choose(self.path("longer.bin"), self.path("Größe.txt"))
            self.page.send()
            self.wait_for_part("network")
            subprocess.run(["ip", "link", "set", "lo", "down"], check=True)
            try:
                receiver.wait_for("The connection broke", 60)
            finally:
                subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            self.page.wait_until_sent(180)
            receiver.wait_for("Going on with longer.bin")
            receiver.wait_for_exit(0)
        self.compare("network", ["longer.bin", "Größe.txt"])

    @check("after the receiver was stopped and resumed, the page goes on by itself where it was")
    def receiver_resumes(self):
        with self.receiver("stopped.log", into="stopped") as receiver:
            self.page.open(receiver.address())
            self.page.choose(self.path("longer.bin"), self.path("Größe.txt"))
            self.page.send()
            self.wait_for_part("stopped")
            code = receiver.code()
            receiver.process.send_signal(signal.SIGINT)
            receiver.wait_for_exit(130)
            receiver.wait_for(f"to go on: rtc-peer receive --resume {code}")
            self.page.wait_for_words("trying again")
        with self.receiver("resumed.log", "--resume", code, into="stopped") as receiver:
            self.page.wait_until_sent(180)
            receiver.wait_for("Going on with longer.bin")
            receiver.wait_for_exit(0)
        self.compare("stopped", ["longer.bin", "Größe.txt"])

    @check("after a reload in mid-transfer the same files are chosen again, and go on where they were")
    def reload(self):
        with self.receiver("reload.log", into="reload") as receiver:
            self.page.open(receiver.address())
            self.page.choose(self.path("longer.bin"), self.path("Größe.txt"))
            self.page.send()
            self.wait_for_part("reload")
            self.page.page.reload()
            self.page.wait_for_state("choosing")
            self.page.choose(self.path("longer.bin"), self.path("Größe.txt"))
            self.page.send()
            self.page.wait_until_sent(180)
            receiver.wait_for("Going on with longer.bin")
            receiver.wait_for_exit(0)
        self.compare("reload", ["longer.bin", "Größe.txt"])

    @check("when the page itself fails, what it says of that stays")
    def page_fails(self):
        with self.receiver("page-fails.log", into="page-fails") as receiver:
            self.page.open(receiver.address())
            self.page.choose(self.path("Größe.txt"))
            self.page.page.value("(Blob.prototype.slice = () => { throw new Error('no memory'); }, "
                                 "RTCDataChannel.prototype.send = new Proxy(RTCDataChannel.prototype.send, {apply(send, channel, [data]) {"
                                 " if (/\"end\"|\"skip\"/.test(data)) throw new Error('no memory'); return send.call(channel, data); }}), true)")
            self.page.send()
            self.page.wait_for_state("failed")
            receiver.wait_for("The other side has stopped: The browser could not send it: no memory")
            # Longer than a new connection takes.
            try:
                wait_until(lambda: "Nothing more is sent" not in self.page.words(), 3, "other words")
            except Failed:
                return
            raise Failed(f"the page says: {self.page.words()!r}")

    def wait_for_part(self, into, bytes=80_000_000):
        wait_until(lambda: part_size(self.path(into)) > bytes, 120, f"{bytes} bytes of the file", interval=0.01)


class ChromiumSends(BrowserSends):
    name = "chromium sends"
    browser_class = Chromium

    def make_tree(self):
        """A folder; the names of its files, and those of its folders."""
        files = {"tree/1.jpg": 3 << 20, "tree/below/2.jpg": 5, "tree/below/deeper/empty": 0}
        for name, size in files.items():
            self.write(name, size)
        os.makedirs(self.path("tree/nothing in it"), exist_ok=True)
        return files

    @check("a folder that is dropped arrives with all that is in it, and empty folders")
    def dropped_folder(self):
        files = self.make_tree()
        with self.receiver("dropped.log", into="dropped") as receiver:
            self.page.open(receiver.address())
            self.browser.page.drop_files([self.path("tree"), self.path("block")])
            self.page.wait_for_words("4 files, 4.19 MB")
            self.page.send()
            self.page.wait_until_sent()
            receiver.wait_for_exit(0)
        self.compare("dropped", [*files, "block"])
        if not os.path.isdir(self.path("dropped/tree/nothing in it")):
            raise Failed("the empty folder is missing")

    @check("a folder that is chosen arrives with its files")
    def chosen_folder(self):
        files = self.make_tree()
        with self.receiver("folder.log", into="folder") as receiver:
            self.page.open(receiver.address())
            self.browser.page.choose_files("#choose-folder", [self.path("tree")])
            self.page.wait_for_words("3 files, 3.15 MB")
            self.page.send()
            self.page.wait_until_sent()
            receiver.wait_for_exit(0)
        self.compare("folder", [*files])


class FirefoxSends(BrowserSends):
    name = "firefox sends"
    browser_class = Firefox

    @check("a folder that is dropped arrives with all that is in it, and empty folders")
    def dropped_folder(self):
        with self.receiver("dropped.log", into="dropped") as receiver:
            self.page.open(receiver.address())
            # Firefox lets nobody but a person drop or choose a folder: the objects that it would give, made here.
            self.page.page.value("""(() => {
                const file = name => ({name, isFile: true, file: done => done(new File([name], name))});
                const folder = (name, ...entries) => ({name, isFile: false, createReader: () => ({
                  readEntries(done) { done(entries.splice(0, 1)); }})});
                const entry = folder('tree', file('1'), folder('below', file('2'), folder('deeper')), folder('nothing in it'));
                const items = [{kind: 'file', webkitGetAsEntry: () => entry, getAsFile: () => null}];
                dispatchEvent(Object.assign(new Event('drop', {cancelable: true}), {dataTransfer: {items}}));
                return true;
            })()""")
            self.page.wait_for_words("2 files, 2 bytes")
            self.page.send()
            self.page.wait_until_sent()
            receiver.wait_for_exit(0)
        found = {os.path.relpath(place, self.path("dropped")): files for place, _, files in os.walk(self.path("dropped"))}
        if found != {".": [], "tree": ["1"], "tree/below": ["2"], "tree/below/deeper": [], "tree/nothing in it": []}:
            raise Failed(f"there is {found}")


SCENARIOS = [ChromiumSends, FirefoxSends]
