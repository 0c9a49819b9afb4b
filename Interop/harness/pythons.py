"""Pythons with what other stacks' packages need, made once in .build."""
import glob
import os
import shutil
import subprocess
import sys

INTEROP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(INTEROP)


def newer_python():
    """A Python of at least 3.12, which libdatachannel's package needs; None if there is none."""
    if sys.version_info >= (3, 12):
        return sys.executable
    candidates = [shutil.which(name) for name in ("python3.13", "python3.12")]
    candidates += sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/3.1[23]*/bin/python")))
    for candidate in filter(None, candidates):
        test = "import sys; sys.exit(sys.version_info < (3, 12))"
        if subprocess.run([candidate, "-c", test], stderr=subprocess.DEVNULL).returncode == 0:
            return candidate
    return None


def python_with(requirements, base, name):
    """A Python of its own with the packages of a list, made once."""
    home = os.path.join(ROOT, ".build", name)
    python, done = os.path.join(home, "bin", "python"), os.path.join(home, "requirements.txt")
    with open(os.path.join(INTEROP, requirements)) as file:
        wanted = file.read()
    if not os.path.exists(done) or open(done).read() != wanted:
        print(f"Installing the packages of {requirements} into .build/{name}", flush=True)
        subprocess.run([base, "-m", "venv", "--clear", home], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r",
                        os.path.join(INTEROP, requirements)], check=True)
        with open(done, "w") as file:
            file.write(wanted)
    return python
