"""Scenarios: a call that is set up once, and the named checks that look at it in turn."""
import os
import re
import shutil
import time
import traceback

from .processes import Failed, tail


def check(name, essential=False):
    """Marks a method of a Scenario as a test. After a failed essential one, the rest of the scenario fails too."""
    def mark(method):
        method.check_name, method.is_essential = name, essential
        return method
    return mark


class Scenario:
    """Subclasses have a name, set_up(), and methods marked by @check, which run in the order they are written."""

    name = ""

    def __init__(self, directory):
        self.directory, self.open_resources, self.logs = directory, [], []

    def set_up(self):
        """Brings about what the checks look at."""

    def screenshot(self, path):
        """Saves what there is to see now; called after each check."""

    def use(self, resource):
        """Ends a Peer or Browser when the scenario is over."""
        self.open_resources.append(resource)
        self.logs.append(resource.log_path)
        return resource

    def tear_down(self):
        while self.open_resources:
            self.open_resources.pop().__exit__(None, None, None)

    def path(self, name):
        return os.path.join(self.directory, name)

    def folder(self, name):
        os.makedirs(self.path(name), exist_ok=True)
        return self.path(name)

    @classmethod
    def checks(cls):
        return [(f"{cls.name}: {method.check_name}", method) for base in reversed(cls.__mro__)
                for method in vars(base).values() if hasattr(method, "check_name")]


class Results:
    """Runs scenarios, prints a line for each check and counts."""

    def __init__(self, artifacts):
        self.artifacts, self.passed, self.failed = artifacts, 0, []

    def run(self, scenario_class, pattern=None):
        wanted = scenario_class.checks()
        # A check may need what an earlier one did, so a pattern chooses whole scenarios.
        if pattern and not any(re.search(pattern, name) for name, _ in wanted):
            return
        directory = os.path.join(self.artifacts, slug(scenario_class.name))
        shutil.rmtree(directory, ignore_errors=True)
        os.makedirs(directory)
        scenario, obstacle = scenario_class(directory), None
        started = time.monotonic()
        try:
            obstacle = self.attempt(scenario.set_up)
            for number, (name, method) in enumerate(wanted, 1):
                if obstacle:
                    self.report(name, started, obstacle)
                    continue
                started = time.monotonic()
                reason = self.attempt(lambda: method(scenario))
                self.report(name, started, reason)
                self.attempt(lambda: scenario.screenshot(
                    os.path.join(directory, f"{number:02}-{slug(method.check_name)}.png")))
                if reason:
                    for log in scenario.logs:
                        print(indented(f"the end of {os.path.relpath(log)}:\n" + tail(log, 8)), flush=True)
                    if method.is_essential:
                        obstacle = "not tried, since an earlier step failed"
        finally:
            self.attempt(scenario.tear_down)

    @staticmethod
    def attempt(action):
        """What went wrong, in words, or None."""
        try:
            action()
        except Failed as error:
            return str(error)
        except Exception as error:  # a mistake in the harness is a failure as well, not the end of the run
            frames = traceback.extract_tb(error.__traceback__)
            return f"{type(error).__name__}: {error} ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})"
        return None

    def report(self, name, started, reason):
        seconds = time.monotonic() - started
        if reason:
            self.failed.append((name, shortened(reason)))
            print(f"✘ {name} ({seconds:.1f} s)\n{indented(reason)}", flush=True)
        else:
            self.passed += 1
            print(f"✔ {name} ({seconds:.1f} s)", flush=True)


def shortened(reason, lines=12):
    """Enough of it for a summary, indented behind its name."""
    first, *others = reason.splitlines()
    return "\n".join([first, *("    " + line for line in others[:lines])])


def slug(text):
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def indented(text):
    return "\n".join("    " + line for line in text.splitlines())
