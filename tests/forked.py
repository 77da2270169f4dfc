"""A project's programs, forked from one process that has imported what they need, see :mod:`tf_study.workers`."""

import concurrent.futures
import contextlib
import importlib
import os
import re
import signal
import sys
import time
from pathlib import Path

from tf_study import workers

# For workers.run: who says the same is forked from the same process.
HOW = {"timeout": 600, "imports": ["tensorflow"]}


class Program:
    """A program that runs. What it says goes to the files ``out`` and ``err`` of its folder."""

    def __init__(self, folder: Path, waited: concurrent.futures.Future):
        self.out, self.err, self.pid = folder / "out", folder / "err", folder / "pid"
        self._waited = waited

    def find(self, pattern: str, seconds: float = 120) -> re.Match:
        """Wait until a pattern is in what it has printed."""
        end = time.monotonic() + seconds
        while not (self.out.exists() and (found := re.search(pattern, self.out.read_text("utf-8")))):
            running = time.monotonic() < end and not self._waited.done()
            assert running, [path.read_text("utf-8") for path in (self.out, self.err) if path.exists()]
            time.sleep(0.02)
        return found

    def send(self, number: int) -> None:
        """Send it a signal."""
        os.kill(int(self.pid.read_text()), number)

    def ended(self, seconds: float = 30) -> int:
        """Wait for its end and return its status."""
        end = time.monotonic() + seconds
        status = self.pid.with_name("status")
        while not status.exists():
            assert time.monotonic() < end
            time.sleep(0.02)
        return int(status.read_text())


@contextlib.contextmanager
def started(folder: Path, package: str, *commands: list[str], **how):
    """Run a package's command line once for each of ``commands``; yield the :class:`Program` of each.

    Args:
        folder: for what they say.
        package: whose ``__main__`` has the function ``main``.
        commands: what a shell would give each.
        how: for :func:`tf_study.workers.run`. What is named in ``imports`` is there before the fork.
    """
    folders = [folder / str(number) for number in range(len(commands))]
    for one in folders:
        one.mkdir()
    arguments = dict(folders=folders, package=package, commands=commands)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waited = pool.submit(workers.run, _start, len(commands), **arguments, **how)
        programs = [Program(one, waited) for one in folders]
        try:
            yield programs
        finally:
            for program in programs:
                if program.pid.exists() and not program.pid.with_name("status").exists():
                    program.send(signal.SIGKILL)
    waited.result()


@contextlib.contextmanager
def served(folder: Path, package: str, *arguments: str, end: int, status: int, **how):
    """Run a project's command ``serve``; yield its port. It must end without a word of complaint.

    Args:
        folder, package, how: as in :func:`started`.
        end: the signal that ends it; status: with which it then exits.
    """
    with started(folder, package, ["serve", *arguments, "--port", "0"], **how) as (program,):
        line = program.find(r"브라우저에서 127.0.0.1:([0-9]+).*\n")
        yield int(line[1])
        program.send(end)
        assert program.ended() == status
        assert (program.out.read_text("utf-8"), program.err.read_text("utf-8")) == (line[0], "")


def train_until_killed(comm, package: str, method: str, last, arguments: list[str]):
    """Run a package's command line without graphs, until it has saved a run for which ``last`` is true; then SIGKILL.

    For :func:`tf_study.workers.run`.

    Args:
        method: of the package's ``training`` that saves a run, ``"Class.name"``.
    """
    from tf_study.checks.eager import eagerly

    os.environ.pop("USE_TORCH", None)  # Set for the tests of project 2.
    owner, name = method.split(".")
    owner = getattr(importlib.import_module(f"{package}.training"), owner)
    save = getattr(owner, name)

    def save_and_die(run):
        save(run)
        if last(run):
            os.kill(os.getpid(), signal.SIGKILL)  # no chance to tidy up

    setattr(owner, name, save_and_die)
    with eagerly():
        return importlib.import_module(f"{package}.__main__").main(arguments)


def _start(comm, folders, package, commands):
    """Be the parent of one program."""
    folder = folders[comm.rank]
    if child := os.fork():
        _write(folder / "pid", child)
        _write(folder / "status", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        return
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for name in workers.meeting(0, 1, 0):  # It works with no other process.
        os.environ.pop(name, None)
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), descriptor)
    status = importlib.import_module(f"{package}.__main__").main(commands[comm.rank])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _write(path: Path, number: int) -> None:
    part = path.with_suffix(".part")
    part.write_text(str(number))
    part.rename(path)
