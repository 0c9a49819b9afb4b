"""rtc-peer send, and a browser that opens the printed address."""
import os
import re
import signal
import subprocess

from .browsers import Chromium, Firefox
from .processes import Failed, wait_until
from .scenarios import check
from .transferpages import MEGABYTE, BrowserTransfers, TransferPage
from .transfers import Program, digest


class ReceivePage(TransferPage):
    """The page that the address of rtc-peer send opens."""

    def accept(self):
        # Nobody could answer the browser's own dialogue here.
        self.page.value("(delete window.showSaveFilePicker, delete window.showDirectoryPicker, "
                        "document.querySelector('#accept').click(), true)")
        self.wait_for_state("receiving", "finished")

    def wait_for_share(self, share, seconds=20):
        self.page.wait_for(f"document.querySelector('#total').value >= {share}", seconds, f"{share:.0%} of the files")

    def save_all(self):
        self.page.value("document.querySelector('#save-all').click() ?? true")


class BrowserReceives(BrowserTransfers):
    """A browser as the receiver of rtc-peer send."""

    page_class = ReceivePage

    def make_browser(self):
        return self.browser_class(self.path("browser.log"), downloads=self.folder("downloads"))

    def set_up(self):
        super().set_up()
        os.makedirs(self.path("photos/below"))
        self.files = {"large.bin": 30 * MEGABYTE, "Größe.txt": 1000, "photos/1.jpg": 3 << 20, "photos/below/2.jpg": 5,
                      "photos/empty": 0}
        for name, size in {**self.files, "longer.bin": 200 * MEGABYTE}.items():
            with open(self.path(name), "wb") as file:
                file.write(os.urandom(size))

    def sender(self, log_name, *arguments, host="127.0.0.1"):
        return self.program(log_name, "send", *arguments, host=host)

    def in_page(self, log_name, body, timeout=30):
        """What a function returns that uses the page's modules."""
        with self.sender(log_name, self.path("Größe.txt")) as sender:
            self.page.open(sender.address())
            return self.page.page.run(body, timeout)

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

    @check("the page's key exchange gives the vector of RFC 9382, and takes no share that is no point")
    def key_exchange(self):
        wrong = self.in_page("key-exchange.log", """
            const {SPAKE2} = await import('/assets/spake2.js');
            const bytes = text => Uint8Array.from(text.match(/../g), digits => parseInt(digits, 16));
            const hex = all => [...all].map(byte => byte.toString(16).padStart(2, '0')).join('');
            const side = (isA, secret) => new SPAKE2({isA, secret: bytes(secret), names: ['server', 'client'],
              password: bytes('2ee57912099d31560b3a44b1184b9b4866e904c49d12ac5042c97dca461b1a5f')});
            const a = side(true, '43dd0fd7215bdcb482879fca3220c6a968e66d70b1356cac18bb26c84a78d729');
            const b = side(false, 'dcb60106f276b02606d8ef0a328c02e4b629f84f89786af5befb0bc75b6e66be');
            const ours = a.finish(b.share), theirs = b.finish(a.share);
            const wrong = [];
            const same = (what, got, wanted) => got === wanted || wrong.push(`${what}: ${got}`);
            same('pA', hex(a.share), '04a56fa807caaa53a4d28dbb9853b9815c61a411118a6fe516a8798434751470f9'
              + '010153ac33d0d5f2047ffdb1a3e42c9b4e6be662766e1eeb4116988ede5f912c');
            same('pB', hex(b.share), '0406557e482bd03097ad0cbaa5df82115460d951e3451962f1eaf4367a420676d0'
              + '9857ccbc522686c83d1852abfa8ed6e4a1155cf8f1543ceca528afb591a1e0b7');
            same('Ke', hex(ours.key), '0e0672dc86f8e45565d338b0540abe69');
            same('B’s Ke', hex(theirs.key), hex(ours.key));
            same('A’s confirmation', hex(ours.confirmation), '58ad4aa88e0b60d5061eb6b5dd93e80d9c4f00d127c65b3b35b1b5281fee38f0');
            same('B’s confirmation', hex(theirs.confirmation), 'd3e2e547f1ae04f2dbdbf0fc4b79f8ecff2dff314b5d32fe9fcef2fb26dc459b');
            same('A’s expectation', hex(ours.expected), hex(theirs.confirmation));
            for (const i of b.share.keys()) {
              const broken = b.share.slice();
              broken[i] ^= 1;
              same(`a share with another byte ${i}`, a.finish(broken), null);
            }
            for (const share of [a.share, b.share.subarray(1), new Uint8Array(65), new Uint8Array()]) {
              same(`a share of ${share.length} bytes`, a.finish(share), null);
            }
            return wrong;""")
        if wrong:
            raise Failed("; ".join(wrong))

    @check("what no honest sender says ends the transfer or the file, in words")
    def hostile_sender(self):
        wrong = self.in_page("hostile.log", """
            const [{FileReceiver}, {SHA256}] = await Promise.all([import('/assets/transfer.js'), import('/assets/sha256.js')]);
            const hash = text => new SHA256().update(new TextEncoder().encode(text)).hex();
            const sink = {makeDirectory: async () => {},
              create: async () => ({write: async () => {}, close: async () => null, abort() {}})};
            // Says all of `messages`, then closes; gives the error's code and what the receiver said.
            async function play(messages) {
              const said = [], channel = Object.assign(new EventTarget(), {readyState: 'open', send: text => said.push(JSON.parse(text))});
              channel.close = () => channel.dispatchEvent(new Event('close'));
              const receiver = new FileReceiver({accept: async () => sink, tell() {}});
              const end = receiver.run(channel).then(() => 'no error', error => error.code);
              for (const message of messages) {
                channel.onmessage?.({data: message instanceof Uint8Array ? message.buffer : JSON.stringify(message)});
              }
              await new Promise(done => setTimeout(done, 30));
              channel.close();
              return {code: await end, said};
            }
            const hello = {type: 'hello', protocol: 1, role: 'sender'};
            const offer = (entries, changes) => [hello,
              {type: 'offer', transfer: hash(entries.map(e => `${e.kind} ${e.path.join?.('/')}\n`).join('')), entries: entries.length,
                files: entries.filter(e => e.kind === 'file').length, bytes: entries.reduce((n, e) => n + (e.size ?? 0), 0),
                digests: false, ...changes}, {type: 'manifest', first: 0, entries}];
            const file = (path, size = 5) => ({path, kind: 'file', size}), folder = path => ({path, kind: 'directory'});
            const binary = (kind, index, offset, count) => {
              const all = new Uint8Array(16 + count), view = new DataView(all.buffer);
              view.setUint8(0, kind); view.setUint32(4, index); view.setBigUint64(8, BigInt(offset));
              return all;
            };
            const one = offer([file(['a'])]), large = offer([file(['a'], 1 << 21)]), full = 1 << 20;
            const end = (bytes, root = '0'.repeat(64)) => ({type: 'end', file: 0, bytes, root});
            const wrong = [];
            async function expect(code, what, messages) {
              const got = (await play(messages)).code;
              if (got !== code) wrong.push(`${what}: ${got}`);
            }
            for (const path of [['..'], ['.'], [''], ['a/b'], ['a\u0000'], ['\u0085'], ['\ud800'], ['x'.repeat(256)], [],
              Array(65).fill('a')]) await expect('unsafe-path', JSON.stringify(path).slice(0, 40), offer([file(path)]));
            await expect('unsafe-path', 'below a file', offer([file(['a']), file(['a', 'b'])]));
            await expect('unsafe-path', 'before its folder', offer([file(['a', 'b']), folder(['a'])]));
            await expect('unsafe-path', 'a path twice', offer([file(['a']), file(['a'])]));
            await expect('protocol-violation', 'another hash of the list', offer([file(['a'])], {transfer: hash('')}));
            await expect('protocol-violation', 'another sum', offer([file(['a'])], {bytes: 6}));
            await expect('protocol-violation', 'a negative size', offer([file(['a'], -1)]));
            await expect('protocol-violation', 'a device', offer([{path: ['a'], kind: 'device'}]));
            await expect('limit-exceeded', 'too many entries', offer([file(['a'])], {entries: 1e6}));
            await expect('protocol-violation', 'bytes before an offer', [hello, binary(1, 0, 0, 5)]);
            await expect('protocol-violation', 'a list that is none', [hello, []]);
            await expect('protocol-violation', 'null', [hello, null]);
            await expect('unsupported-version', 'version 2', [{...hello, protocol: 2}]);
            await expect('protocol-violation', 'more than the file', [...one, binary(1, 0, 0, 6)]);
            await expect('protocol-violation', 'another offset', [...one, binary(1, 0, 1, 2)]);
            await expect('protocol-violation', 'another file', [...one, binary(1, 7, 0, 2)]);
            await expect('protocol-violation', 'an offset of 2⁶³', [...one, binary(1, 0, 2n ** 63n, 2)]);
            await expect('protocol-violation', 'an empty chunk', [...one, binary(1, 0, 0, 0)]);
            await expect('protocol-violation', 'beyond a block', [...large, binary(1, 0, 0, full + 1)]);
            await expect('protocol-violation', 'no block’s hash', [...large, binary(1, 0, 0, full), binary(1, 0, full, 1)]);
            await expect('protocol-violation', 'an early end', [...one, binary(1, 0, 0, 4), end(4)]);
            await expect('protocol-violation', 'an early finish', [...one, {type: 'finish'}]);
            await expect('protocol-violation', 'a beginning in the middle', [...one, {type: 'begin', file: 0, offset: 1}]);
            await expect('protocol-violation', 'a root that is none', [...one, binary(1, 0, 0, 5), end(5, '')]);
            await expect('channel-closed', 'a silent sender', [hello]);
            // A name is for people alone, and there are not more of them than are read.
            const gone = {type: 'left-out', name: '../a\\u0000', code: 'unsupported-kind', reason: 'a pipe'}, more = {type: 'left-out', more: 7};
            const thousand = Array(1000).fill(gone), finish = [{type: 'skip', file: 0, code: 'changed', reason: 'x'}, {type: 'finish'}, {type: 'bye'}];
            await expect('no error', '1000 and more left out', [...one, ...thousand, more, ...finish]);
            await expect('protocol-violation', '1001 left out', [...one, ...thousand, gone, ...finish]);
            await expect('protocol-violation', 'more twice', [...one, more, more, ...finish]);
            await expect('protocol-violation', 'one after more', [...one, more, gone, ...finish]);
            await expect('protocol-violation', 'a name that is no text', [...one, {...gone, name: 1}, ...finish]);
            await expect('protocol-violation', 'more that is no number', [...one, {...more, more: '7'}, ...finish]);
            await expect('protocol-violation', 'left out before an offer', [hello, gone]);
            const counted = (await play([...one, gone, more, ...finish])).said.find(m => m.type === 'finished');
            if (counted?.failed !== 3) wrong.push(`left out and skipped: ${JSON.stringify(counted)}`);
            // Damage fails the file and tells the sender.
            for (const [what, messages] of [['an end', [...one, binary(1, 0, 0, 5), end(5)]],
              ['a block', [...large, binary(1, 0, 0, full), binary(2, 0, full, 32), binary(1, 0, full, full), binary(2, 0, 2 * full, 32), end(2 * full)]]]) {
              const {code, said} = await play([...messages, {type: 'finish'}, {type: 'bye'}]);
              const failed = said.filter(m => m.type === 'failed'), finished = said.find(m => m.type === 'finished');
              if (code !== 'no error' || failed.length !== 1 || failed[0].code !== 'hash-mismatch' || finished?.failed !== 1
                || said.some(m => m.type === 'done')) wrong.push(`${what} with a wrong hash: ${code} ${JSON.stringify(said)}`);
            }
            return wrong;""", 60)
        if wrong:
            raise Failed("; ".join(wrong))

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

    @check("what the sender leaves out is listed as not sent, and counted")
    def left_out(self):
        folder = self.folder("leaving")
        with open(folder + "/good", "w") as file:
            file.write("good")
        os.mkfifo(folder + "/pipe")
        os.symlink("/etc/passwd", folder + "/out")
        with self.sender("leaving.log", folder) as sender:
            self.page.open(sender.address())
            if self.page.listed() != {"leaving/good": "4 bytes"}:
                raise Failed(f"the page lists {self.page.listed()}")
            self.page.accept()
            self.page.wait_for_state("finished")
            sender.wait_for_exit(2)
            self.page.wait_for_words("1 file has come; 2 were not received")
            listed = self.page.listed()
        for name, words in (("pipe", "not sent: leaving/pipe is neither"), ("out", "not sent: the symbolic link leaving/out")):
            if not listed.get("leaving/" + name, "").startswith(words):
                raise Failed(f"the page lists {listed}")

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
            # Held, or it may be done, and the sender gone, before the page is there.
            os.killpg(first.process.pid, signal.SIGSTOP)
            try:
                self.page.open(sender.address())
                self.page.wait_for_words("used already")
            finally:
                os.killpg(first.process.pid, signal.SIGCONT)
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


class LargeFile(BrowserReceives):
    """A file that no memory holds, of INTEROP_LARGE bytes."""

    def set_up(self):
        super().set_up()
        with open(self.path("huge.bin"), "wb") as file:
            for _ in range(int(os.environ["INTEROP_LARGE"]) // MEGABYTE):
                file.write(os.urandom(MEGABYTE))

    @classmethod
    def checks(cls):
        return [(name, method) for name, method in super().checks() if "INTEROP_LARGE" in name]

    @check("a file of INTEROP_LARGE bytes is received and saved as it was")
    def receives_large(self):
        with self.sender("large.log", self.path("huge.bin"), self.path("Größe.txt")) as sender:
            self.page.open(sender.address())
            self.page.accept()
            self.page.wait_for_state("finished", seconds=1200)
            sender.wait_for_exit(0)
        self.page.save_all()
        self.compare_downloads(["huge.bin", "Größe.txt"], 300)


SCENARIOS = [ChromiumReceives, FirefoxReceives]
# Takes minutes and three times its room on the disk.
if "INTEROP_LARGE" in os.environ:
    SCENARIOS += [type(f"Large{browser.__name__}", (LargeFile,), {"name": f"{browser.__name__.lower()} receives a large file",
                                                                "browser_class": browser})
                  for browser in (Chromium, Firefox)]
