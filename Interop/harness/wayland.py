"""The screen of a Wayland session as a call's picture: sway without a monitor or graphics card, PipeWire, its session manager,
xdg-desktop-portal with that for wlroots, on a D-Bus of their own; a film on the screen, and Chromium looking at it."""
import contextlib
import os
import subprocess
import sys
import tempfile
import time

from .browsers import Chromium
from .peer import PROGRAM, Peer
from .processes import Failed, find_program, start, stop, wait_until
from .recordings import BARS, COLOUR_TOLERANCE
from .scenarios import Scenario, check
from .screens import make_film
from .webpage import CallPage

SIZE = (1280, 720)
OTHER_SIZE = (960, 540)
PORTAL, WLROOTS = "/usr/libexec/xdg-desktop-portal", "/usr/libexec/xdg-desktop-portal-wlr"
PROGRAMS = ["sway", "swaymsg", "pipewire", "wireplumber", "dbus-daemon", PORTAL, WLROOTS]
CONFIGURATION = f"""xwayland disable
output HEADLESS-1 resolution {SIZE[0]}x{SIZE[1]} position 0 0 bg #ff0000 solid_color
default_border none
"""
# Nobody is there to click.
PORTAL_CONFIGURATION = "[screencast]\nchooser_type=none\noutput_name=HEADLESS-1\nmax_fps=60\n"

# Without the services that are installed.
BUS_CONFIGURATION = """<busconfig><type>session</type><listen>unix:dir=/nowhere</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy></busconfig>
"""


def not_root():
    """What makes sway, which will not be started by root, run as somebody else; its sockets are ours."""
    return [] if os.geteuid() else [find_program(["unshare"]), "--user", "--map-user=1000", "--map-group=1000"]


class Bus:
    """A session bus and a folder for sockets, and nothing that knows of any other session."""

    def __init__(self, log_path, starts_services=True):
        self.log_path, self.processes = log_path, {}
        # Short: a socket's path has 107 bytes.
        self.folder = tempfile.mkdtemp(prefix="wayland-")
        clean = {key: value for key, value in os.environ.items()
                 if not key.startswith(("XDG_", "DBUS_", "WAYLAND", "PIPEWIRE", "GDK_")) and key != "DISPLAY"}
        self.variables = dict(clean, XDG_RUNTIME_DIR=self.folder, HOME=self.folder, XDG_CURRENT_DESKTOP="sway",
                              XDG_SESSION_TYPE="wayland", DBUS_SESSION_BUS_ADDRESS=f"unix:path={self.folder}/bus")
        configuration = "--session"
        if not starts_services:
            with open(self.folder + "/bus.conf", "w") as file:
                file.write(BUS_CONFIGURATION)
            configuration = f"--config-file={self.folder}/bus.conf"
        self.run("bus", ["dbus-daemon", configuration, "--nofork", "--nopidfile",
                         "--address=" + self.variables["DBUS_SESSION_BUS_ADDRESS"]], self.folder + "/bus")

    def run(self, name, argv, path=None, **variables):
        """Starts a program, and waits for the socket that it makes."""
        process = start([find_program([argv[0]]), *argv[1:]], self.log_path, env=dict(self.variables, **variables))
        self.processes[name] = process
        if path:
            wait_until(lambda: os.path.exists(path) or process.poll() is not None, 10, f"{argv[0]} makes {path}")
            if process.poll() is not None:
                raise Failed(f"{argv[0]} ended with {process.returncode}: see {self.log_path}")
        return process

    def wait_for_name(self, name):
        def is_owned():
            done = subprocess.run(["dbus-send", "--session", "--print-reply", "--dest=org.freedesktop.DBus", "/",
                                   "org.freedesktop.DBus.NameHasOwner", "string:" + name], env=self.variables,
                                  capture_output=True, text=True, check=False)
            return "boolean true" in done.stdout
        wait_until(is_owned, 10, f"{name} is on the bus")

    @property
    def environment(self):
        return ("env", "-i", *(f"{key}={value}" for key, value in self.variables.items()))

    def kill(self, name):
        process = self.processes[name]
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()

    def __exit__(self, *_):
        for process in reversed(list(self.processes.values())):
            stop(process)
        subprocess.run(["umount", "-q", self.folder + "/doc"], check=False, stderr=subprocess.DEVNULL)
        subprocess.run(["rm", "-rf", "--one-file-system", self.folder], check=False)


class WaylandSession(Bus):
    """A desktop."""

    def __init__(self, log_path):
        super().__init__(log_path)
        for name, text in (("sway.conf", CONFIGURATION), ("portal.conf", PORTAL_CONFIGURATION)):
            with open(f"{self.folder}/{name}", "w") as file:
                file.write(text)
        compositor = self.folder + "/wayland-1"
        self.variables["SWAYSOCK"] = self.folder + "/sway"
        self.run("sway", [*not_root(), "sway", "-c", self.folder + "/sway.conf"], compositor, WLR_BACKENDS="headless",
                 WLR_RENDERER="pixman", WLR_LIBINPUT_NO_DEVICES="1")
        self.variables["WAYLAND_DISPLAY"] = "wayland-1"
        self.run("pipewire", ["pipewire"], self.folder + "/pipewire-0")
        self.run("wireplumber", ["wireplumber"])
        proxy = self.folder + "/proxy"
        self.run("proxy", [sys.executable, os.path.join(os.path.dirname(__file__), "waylandproxy.py"), proxy, compositor], proxy)
        self.start_portal()

    def start_portal(self):
        self.run("wlroots", [WLROOTS, "-c", self.folder + "/portal.conf"], WAYLAND_DISPLAY="proxy")
        self.wait_for_name("org.freedesktop.impl.portal.desktop.wlr")
        self.run("portal", [PORTAL])
        self.wait_for_name("org.freedesktop.portal.Desktop")

    def sway(self, *words):
        subprocess.run(["swaymsg", "-q", *words], env=self.variables, check=True, timeout=10)

    def play(self, film):
        """ffplay showing a film on all of the screen."""
        return self.run("film", ["ffplay", "-loglevel", "error", "-fs", film], SDL_VIDEODRIVER="wayland",
                        SDL_AUDIODRIVER="dummy")


def missing():
    """The programs that are not there."""
    found = []
    for program in PROGRAMS:
        with contextlib.suppress(Failed):
            find_program([program])
            continue
        found.append(program)
    return found


class WaylandCall(Scenario):
    """`rtc-peer call --video screen` on Wayland, and Chromium."""

    name = "the screen of a Wayland session to Chromium"

    def set_up(self):
        film = self.path("film.y4m")
        make_film(film)
        self.session = self.use(WaylandSession(self.path("session.log")))
        self.session.play(film)
        self.browser = self.use(Chromium(self.path("browser.log")))
        self.page = CallPage(self.browser.page)

    def call(self, log_name):
        peer = self.use(Peer("call", "--listen", "127.0.0.1:0", "--video", "screen", "--audio", "tone", "--no-speaker",
                             within=self.session.environment, log_path=self.path(log_name)))
        self.page.open(peer.wait_for("ready")["url"])
        self.page.wait_until_connected(seconds=10)
        return peer

    def shown_size(self):
        size = self.page.probe("return probe.pattern(probe.connections()[0]);")
        return size["width"], size["height"]

    def screenshot(self, path):
        self.browser.page.save_screenshot(path)

    @check("`rtc-peer devices` says that the desktop's portal gives the screen", essential=True)
    def listed(self):
        peer = self.use(Peer("devices", within=self.session.environment, log_path=self.path("devices.log")))
        screen = peer.wait_for("screen")
        if (screen["kind"], screen["id"], screen["display"]) != ("portal", "portal", "wayland"):
            raise Failed(f"listed as {screen}")

    @check("the page shows the film's colours and its counter, 30 pictures a second", essential=True)
    def pattern(self):
        self.peer = self.call("rtc-peer.log")
        self.page.check_pattern()
        if self.shown_size() != SIZE:
            raise Failed(f"the page shows {self.shown_size()}, not {SIZE}")

    @check("a monitor that changes its mode is followed")
    def resized(self):
        self.session.sway("output", "HEADLESS-1", "resolution", f"{OTHER_SIZE[0]}x{OTHER_SIZE[1]}")
        wait_until(lambda: self.shown_size() == OTHER_SIZE, 10, f"the page shows {OTHER_SIZE}")
        self.page.check_pattern()

    @check("a snapshot of the screen is what is on it, beside the call")
    def snapshot(self):
        picture = self.path("screen.png")
        done = subprocess.run([*self.session.environment, PROGRAM, "snapshot", "--video", "screen", picture],
                              capture_output=True, text=True, timeout=20, check=False)
        if done.returncode:
            raise Failed(done.stderr)
        raw = subprocess.run([find_program(["ffmpeg"]), "-v", "error", "-i", picture, "-f", "rawvideo", "-pix_fmt", "rgb24",
                              "-"], capture_output=True, timeout=20, check=True).stdout
        width, height = OTHER_SIZE
        if len(raw) != width * height * 3:
            raise Failed(f"{len(raw)} bytes")
        for index, wanted in enumerate(BARS):
            at = (height * 3 // 8 * width + (2 * index + 1) * width // 8) * 3
            if any(abs(a - b) > COLOUR_TOLERANCE for a, b in zip(raw[at:at + 3], wanted)):
                raise Failed(f"bar {index} is {tuple(raw[at:at + 3])}, not {wanted}")

    @check("a screen that stands still goes on being shown, and moves again")
    def still(self):
        stop(self.session.processes.pop("film"))
        before = len(self.peer.events)
        time.sleep(3)
        if self.peer.find("error", since=before):
            raise Failed("the still screen counts as an end")
        self.session.play(self.path("film.y4m"))
        time.sleep(1)
        self.page.check_pattern()

    @check("a portal that ends is told, and the call goes on")
    def portal_ends(self):
        self.session.kill("portal")
        reason = self.peer.wait_for("error", 10)
        if "portal" not in reason["message"]:
            raise Failed(f"told as {reason}")
        self.page.say("still there?")
        self.peer.wait_for("chat")
        self.peer.send(hangup=True)
        self.peer.wait_for("ended", 5)

    @check("a compositor that ends is told, and the call goes on")
    def compositor_ends(self):
        stop(self.session.processes.pop("wlroots"))
        self.session.start_portal()
        self.peer = self.call("rtc-peer-2.log")
        self.page.check_pattern()
        self.session.kill("sway")
        self.peer.wait_for("error", 10)
        self.page.say("and now?")
        self.peer.wait_for("chat")


class WaylandRefusals(Scenario):
    """What users are told when the portal or PipeWire does not give what it should."""

    name = "a Wayland session that gives no screen"
    # How the portal answers, and words of what is told.
    ANSWERS = {
        "refuse": "user refused", "fail": "ended without a choice", "closed": "session was closed",
        "code": "not of the expected form", "session": "not of the expected form", "streams": "not of the expected form",
        "descriptor": "not of the expected form", "version": "not of the expected form",
        "remote": "PipeWire has ended the stream",
    }

    def set_up(self):
        self.bus = self.use(Bus(self.path("session.log"), starts_services=False))
        self.bus.variables["WAYLAND_DISPLAY"] = "wayland-7"

    def fake(self, how):
        """Another portal in the place of the one before."""
        if "portal" in self.bus.processes:
            stop(self.bus.processes.pop("portal"))
        script = os.path.join(os.path.dirname(os.path.dirname(__file__)), "wayland", "fake_portal.py")
        self.bus.run("portal", ["/usr/bin/python3", script, how])
        self.bus.wait_for_name("org.freedesktop.portal.Desktop")

    def expect(self, words, *before, **variables):
        """What `rtc-peer snapshot` says has these words; it must end by itself, and not by a signal. None unsets a variable."""
        wanted = {key: value for key, value in dict(self.bus.variables, **variables).items() if value is not None}
        done = subprocess.run([*before, PROGRAM, "snapshot", "--video", "screen", self.path("none.png")], env=wanted,
                              capture_output=True, text=True, timeout=30, check=False)
        if done.returncode != 1 or os.path.exists(self.path("none.png")):
            raise Failed(f"it ended with {done.returncode}: {done.stderr}")
        if words not in done.stderr:
            raise Failed(f"it said {done.stderr}, and not: {words}")

    @check("without a portal it is said which packages to install")
    def no_portal(self):
        self.expect("install xdg-desktop-portal")

    @check("without a session bus it is said where to start the program")
    def no_bus(self):
        self.expect("start the program in the desktop session", DBUS_SESSION_BUS_ADDRESS=None, XDG_RUNTIME_DIR=None)
        self.expect("unix:path=/nowhere/bus", DBUS_SESSION_BUS_ADDRESS="unix:path=/nowhere/bus")

    @check("without libpipewire or libdbus it is said which package to install")
    def no_libraries(self):
        for library, package in (("libpipewire-0.3.so.0", "libpipewire-0.3-0"), ("libdbus-1.so.3", "libdbus-1-3")):
            cache = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
            path = next(line.split()[-1] for line in cache.splitlines() if line.split()[:1] == [library])
            self.expect(package, "unshare", "--mount", "sh", "-c", 'mount --bind /dev/null "$0" && exec "$@"',
                        os.path.realpath(path))

    @check("a portal that refuses, fails or answers in another form is told, each in words of its own")
    def answers(self):
        for how, words in self.ANSWERS.items():
            self.fake(how)
            self.expect(words)

    @check("a node that is not there, and one whose pixels cannot be read, are told")
    def nodes(self):
        self.bus.run("pipewire", ["pipewire"], self.bus.folder + "/pipewire-0")
        self.bus.run("wireplumber", ["wireplumber"])
        self.fake("node:nobody")
        self.expect("PipeWire")
        for number, form in enumerate(("format=I420,width=320,height=240", "format=BGRx,width=1,height=1",
                                       "format=RGBA,width=333,height=77")):
            name = f"bars{number}"
            self.bus.run(name, ["gst-launch-1.0", "-q", "videotestsrc", "is-live=true", "pattern=red", "!",
                                f"video/x-raw,{form},framerate=30/1", "!", "pipewiresink", "mode=provide",
                                f"stream-properties=p,node.name={name},media.class=Video/Source"])
            time.sleep(2)
            self.fake("node:" + name)
            if "I420" in form:
                self.expect("PipeWire")
                continue
            done = subprocess.run([*self.bus.environment, PROGRAM, "snapshot", "--video", "screen",
                                   self.path(name + ".png")], capture_output=True, text=True, timeout=20, check=False)
            if done.returncode:
                raise Failed(f"{form}: {done.stderr}")
            raw = subprocess.run([find_program(["ffmpeg"]), "-v", "error", "-i", self.path(name + ".png"), "-f", "rawvideo",
                                  "-pix_fmt", "rgb24", "-"], capture_output=True, timeout=20, check=True).stdout
            wanted = [int(part.split("=")[1]) for part in form.split(",")[1:]]
            if len(raw) != wanted[0] * wanted[1] * 3 or any(abs(a - b) > COLOUR_TOLERANCE for a, b in zip(raw, BARS[0])):
                raise Failed(f"{form}: {len(raw)} bytes that begin with {tuple(raw[:3])}")

    @check("what this project declares of libpipewire and libdbus is what their headers say")
    def declarations(self):
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        flags = subprocess.run(["pkg-config", "--cflags", "libpipewire-0.3", "dbus-1"], capture_output=True, text=True,
                               check=True).stdout.split()
        done = subprocess.run(["cc", "-w", "-fsyntax-only", "-ISources/CPipeWire", "-ISources/CDBus/include", *flags,
                               "Interop/wayland/abi.c"], cwd=root, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(done.stderr)


SCENARIOS = [] if missing() else [WaylandCall, WaylandRefusals]
