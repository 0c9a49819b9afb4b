"""Real, headless browsers with a fake camera and microphone, driven without a driver program.

Chromium speaks its DevTools protocol over a pipe (descriptors 3 and 4, messages ended by NUL), Firefox speaks
Marionette ("length:json" over loopback TCP). Each has a profile of its own, so several run side by side. Permissions
are granted, ICE takes the loopback address, and host candidates are plain addresses.
"""
import base64
import contextlib
import fcntl
import itertools
import json
import os
import select
import shutil
import socket
import tempfile
import time

from .loudspeaker import server
from .processes import Failed, find_program, start, stop, tail, wait_until

# What one command to a browser may take on a busy machine.
COMMAND_SECONDS = 60

CHROMIUM_FLAGS = """
--headless=new --no-sandbox --remote-debugging-pipe --no-first-run --no-default-browser-check
--use-fake-ui-for-media-stream --allow-loopback-in-peer-connection --autoplay-policy=no-user-gesture-required
--disable-gpu --mute-audio --hide-scrollbars --window-size=1280,960 --disable-dev-shm-usage
--disable-background-networking --disable-component-update --disable-sync --disable-breakpad --disable-default-apps
--disable-extensions --password-store=basic --no-proxy-server --disable-background-timer-throttling
--disable-renderer-backgrounding --disable-backgrounding-occluded-windows
""".split()
CHROMIUM_WITHOUT = ["Translate", "OptimizationHints", "MediaRouter"]
# What puts names in the place of host addresses, unless the page may use the camera or the microphone.
HIDING = "WebRtcHideLocalIpsWithMdns"

FIREFOX_PREFERENCES = {
    "media.navigator.streams.fake": True, "media.navigator.permission.disabled": True,
    "media.peerconnection.ice.loopback": True, "media.peerconnection.ice.obfuscate_host_addresses": False,
    "media.autoplay.default": 0, "media.autoplay.blocking_policy": 0, "privacy.reduceTimerPrecision": False,
    "media.devices.insecure.enabled": True, "media.getusermedia.insecure.enabled": True,
    "marionette.port": 0, "network.proxy.type": 0, "dom.security.https_first": False, "browser.startup.page": 0,
    "browser.shell.checkDefaultBrowser": False, "browser.sessionstore.resume_from_crash": False,
    "app.update.enabled": False, "extensions.update.enabled": False, "media.gmp-manager.updateEnabled": False,
    "datareporting.policy.dataSubmissionEnabled": False, "browser.safebrowsing.update.enabled": False,
    "network.captive-portal-service.enabled": False, "network.connectivity-service.enabled": False,
    "toolkit.startup.max_resumed_crashes": -1, "services.settings.server": "data:,#remote-settings-dummy/v1",
}

# Runs the body of an async function in the page and keeps its outcome where it can be polled.
RUNNER = """(() => {
  const outcomes = window.__outcomes ??= {};
  const outcome = outcomes[%(id)d] = {done: false};
  (async args => { %(body)s
  })(%(args)s).then(
    value => { outcome.value = value ?? null; outcome.done = true; },
    error => { outcome.error = `${error?.name}: ${error?.message}`; outcome.done = true; });
  return true;
})()"""


class Page:
    """One tab: open(), value(), run(), screenshot(). Subclasses speak to their browser."""

    ids = itertools.count(1)

    def run(self, body, timeout=30, **args):
        """What the async function with this body returns; `args` holds the keywords, as JSON."""
        number = next(self.ids)
        self.value(RUNNER % {"id": number, "body": body, "args": json.dumps(args)})
        outcome = wait_until(
            lambda: self.value(f"(o => o === undefined ? {{error: 'the page was reloaded'}} : o.done && o)"
                               f"(window.__outcomes?.[{number}])"),
            timeout, "a script in the page")
        if "error" in outcome:
            raise Failed(f"in the page: {outcome['error']}")
        return outcome["value"]

    def wait_for(self, expression, seconds, what):
        """The first truthy value of a JavaScript expression; until then it may also throw."""
        seen = []

        def attempt():
            try:
                return self.value(expression)
            except Failed as error:
                seen[:] = [str(error)]
                return None
        try:
            return wait_until(attempt, seconds, what)
        except Failed as error:
            raise Failed(f"{error}{'; ' + seen[0] if seen else ''}") from None

    def save_screenshot(self, path):
        with open(path, "wb") as file:
            file.write(self.screenshot())


class Browser:
    """A started browser and its profile directory. A context manager: leaving it ends the browser."""

    def __init__(self, log_path):
        self.log_path, self.processes = log_path, []
        self.profile = tempfile.mkdtemp(prefix="browser-")
        self.environment = dict(os.environ, HOME=self.profile, XDG_RUNTIME_DIR=self.profile, TMPDIR=self.profile,
                                DBUS_SESSION_BUS_ADDRESS="disabled:")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def spawn(self, argv, fds=()):
        self.processes.append(start(argv, self.log_path, fds, env=self.environment))

    def wait_for(self, condition, what):
        def check():
            if self.processes[-1].poll() is not None:
                raise Failed("the browser ended: " + tail(self.log_path))
            return condition()
        return wait_until(check, COMMAND_SECONDS, what, 0.01)

    def close(self):
        for process in reversed(self.processes):
            stop(process)
        shutil.rmtree(self.profile, ignore_errors=True)


class Chromium(Browser):
    """Chromium, or its smaller build for headless use; any number of pages."""

    name = "chromium"
    programs = ["chromium-headless-shell", "/usr/lib/chromium/chromium", "chromium", "google-chrome"]

    def __init__(self, log_path, camera_fps=30, flags=(), downloads=None, hides_addresses=False):
        super().__init__(log_path)
        self.hides_addresses = hides_addresses
        without = CHROMIUM_WITHOUT + ([] if hides_addresses else [HIDING])
        there, self.outgoing = os.pipe()
        self.incoming, back = os.pipe()
        # The browser wants descriptors 3 and 4, which may be taken here: a shell moves ours there.
        there, back = (self.above(fd) for fd in (there, back))
        move = f'exec 3<&{there} 4>&{back} {there}<&- {back}>&-; exec "$@"'
        self.spawn(["/bin/bash", "-c", move, "browser", find_program(self.programs), *CHROMIUM_FLAGS,
                    "--disable-features=" + ",".join(without),
                    f"--use-fake-device-for-media-stream=fps={camera_fps}", "--user-data-dir=" + self.profile,
                    *flags, "about:blank"], (there, back))
        os.close(there)
        os.close(back)
        self.buffer, self.calls = b"", 0
        self.version = self.call("Browser.getVersion")["product"]
        if downloads:
            self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=downloads)
        self.page = self.open_page()

    @staticmethod
    def above(fd):
        """The same pipe end under a number that does not collide with 3 and 4."""
        copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)
        os.close(fd)
        return copy

    def open_page(self):
        """A further tab. Each is drawn as if it were in front."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        return ChromiumPage(self, self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])

    def call(self, method, session=None, **params):
        """One command and its answer; events that arrive before it are dropped."""
        self.calls += 1
        message = {"id": self.calls, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self.outgoing, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + COMMAND_SECONDS
        while True:
            head, ended, rest = self.buffer.partition(b"\0")
            if not ended:
                self.read(method, end)
                continue
            self.buffer, answer = rest, json.loads(head)
            if answer.get("method") == "Inspector.targetCrashed" and answer.get("sessionId") == session:
                raise Failed("the page crashed")
            if answer.get("id") == self.calls:
                if "error" in answer:
                    raise Failed(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def read(self, method, end):
        if select.select([self.incoming], [], [], max(0, end - time.monotonic()))[0]:
            data = os.read(self.incoming, 1 << 20)
            if data:
                self.buffer += data
                return
            raise Failed("the browser ended: " + tail(self.log_path))
        raise Failed(f"{method}: no answer within {COMMAND_SECONDS} s")

    def close(self):
        os.close(self.outgoing)
        os.close(self.incoming)
        super().close()


class ChromiumPage(Page):
    def __init__(self, browser, session):
        self.browser, self.session = browser, session
        # Without it ICE does not see every interface (the headless build ignores --use-fake-ui-for-media-stream).
        if not browser.hides_addresses:
            browser.call("Browser.grantPermissions", permissions=["audioCapture", "videoCapture"])
        self.call("Inspector.enable")

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def open(self, url):
        failed = self.call("Page.navigate", url=url).get("errorText")
        if failed:
            raise Failed(f"{url}: {failed}")
        self.wait_for(f"document.readyState === 'complete' && location.protocol === '{url.partition(':')[0]}:'",
                      COMMAND_SECONDS, f"loading {url}")

    def reload(self):
        self.call("Page.reload")

    def value(self, expression):
        answer = self.call("Runtime.evaluate", expression=f"JSON.stringify({expression})", returnByValue=True,
                           userGesture=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise Failed(details.get("exception", {}).get("description") or details["text"])
        return json.loads(answer["result"].get("value") or "null")

    def screenshot(self):
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def choose_files(self, selector, paths):
        """What a person does in the dialogue of a file field; a folder's path for a field of folders."""
        field = self.call("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")["result"]
        self.call("DOM.setFileInputFiles", files=paths, objectId=field["objectId"])

    def drop_files(self, paths):
        """Files and folders dropped in the middle of the page."""
        for step in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=step, x=400, y=300,
                      data={"items": [], "files": paths, "dragOperationsMask": 1})


class Firefox(Browser):
    """Firefox with one page and, for WebAudio, a PulseAudio of its own that plays into nothing."""

    name = "firefox"
    programs = ["firefox-esr", "firefox"]

    def __init__(self, log_path, camera_fps=30, downloads=None):
        super().__init__(log_path)
        self.start_sound()
        preferences = dict(FIREFOX_PREFERENCES, **{
            "media.navigator.video.default_width": 640, "media.navigator.video.default_height": 360,
            "media.navigator.video.default_fps": camera_fps})
        if downloads:
            preferences.update({"browser.download.folderList": 2, "browser.download.dir": downloads,
                                "browser.download.alwaysOpenPanel": False})
        with open(self.profile + "/user.js", "w") as file:
            for key, value in preferences.items():
                file.write(f"user_pref({json.dumps(key)}, {json.dumps(value)});\n")
        self.environment.update(MOZ_HEADLESS_WIDTH="1280", MOZ_HEADLESS_HEIGHT="960", MOZ_CRASHREPORTER_DISABLE="1")
        self.spawn([find_program(self.programs), "--headless", "--marionette", "--no-remote",
                    "--remote-allow-system-access", "--profile", self.profile, "about:blank"])
        port = self.profile + "/MarionetteActivePort"
        self.wait_for(lambda: os.path.exists(port) and os.path.getsize(port), "Firefox's start")
        with open(port) as file:
            self.socket = socket.create_connection(("127.0.0.1", int(file.read())), COMMAND_SECONDS)
        self.buffer, self.calls = b"", 0
        self.message()  # the greeting
        session = self.call("WebDriver:NewSession", capabilities={"alwaysMatch": {"acceptInsecureCerts": True}})
        self.version = "Firefox/" + session["capabilities"]["browserVersion"]
        self.page = FirefoxPage(self)

    def start_sound(self):
        path = self.profile + "/pulse.sock"
        self.spawn(server(path))
        self.wait_for(lambda: os.path.exists(path), "PulseAudio's start")
        self.environment["PULSE_SERVER"] = "unix:" + path

    def message(self):
        while True:
            size, colon, rest = self.buffer.partition(b":")
            if colon and len(rest) >= int(size):
                self.buffer = rest[int(size):]
                return json.loads(rest[:int(size)])
            try:
                data = self.socket.recv(1 << 20)
            except TimeoutError:
                raise Failed(f"Firefox did not answer within {COMMAND_SECONDS} s") from None
            if not data:
                raise Failed("the browser ended: " + tail(self.log_path))
            self.buffer += data

    def call(self, command, **params):
        self.calls += 1
        data = json.dumps([0, self.calls, command, params]).encode()
        self.socket.sendall(b"%d:%s" % (len(data), data))
        while True:
            kind, ident, error, result = self.message()
            if kind == 1 and ident == self.calls:
                if error:
                    raise Failed(f"{command}: {error.get('message', error)}")
                return result

    def close(self):
        with contextlib.suppress(OSError, AttributeError):
            self.socket.close()
        super().close()


class FirefoxPage(Page):
    def __init__(self, browser):
        self.browser = browser

    def open(self, url):
        # A page that neither captures (a fake device does not count) nor has a standing permission gathers the
        # default route's address only; without such a route it gathers nothing and says nothing.
        self.browser.call("Marionette:SetContext", value="chrome")
        self.browser.call("WebDriver:ExecuteScript", args=[url], script="""
            const uri = Services.io.newURI(arguments[0]);
            Services.perms.addFromPrincipal(Services.scriptSecurityManager.createContentPrincipal(uri, {}), "camera",
                                            Services.perms.ALLOW_ACTION);""")
        self.browser.call("Marionette:SetContext", value="content")
        self.browser.call("WebDriver:Navigate", url=url)

    def reload(self):
        self.browser.call("WebDriver:Refresh")

    def value(self, expression):
        # Marionette's mutable sandbox sees the page's own objects; the page's CSP forbids eval.
        answer = self.browser.call("WebDriver:ExecuteScript", sandbox=None, args=[],
                                   script=f"return JSON.stringify({expression})")
        return json.loads(answer["value"] or "null")

    def choose_files(self, selector, paths):
        """What a person does in the dialogue of a file field."""
        field = self.browser.call("WebDriver:FindElement", using="css selector", value=selector)["value"]
        self.browser.call("WebDriver:ElementSendKeys", id=next(iter(field.values())), text="\n".join(paths))

    def screenshot(self):
        return base64.b64decode(self.browser.call("WebDriver:TakeScreenshot", full=False)["value"])


BROWSERS = {browser.name: browser for browser in (Chromium, Firefox)}
