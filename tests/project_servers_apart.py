"""A project's server in a process that ``tf_study.workers`` forks from one that has imported TensorFlow only.

A new program would import it once more, which takes longer than what is asked of the server.
"""

import contextlib
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tf_study import workers

HOW = {
    "timeout": 600,
    "imports": ["tensorflow"],
}  # as in the projects' modules ``*_apart``: one process for all


def serve(comm, package, port, folder):
    """Return the status of the command ``serve``; its process and what it complains of go to files in ``folder``."""
    import tf_study  # noqa: F401  isort: skip

    import importlib

    with open(f"{folder}/complaints", "w") as file:
        os.dup2(file.fileno(), 2)
    Path(folder, "process").write_text(str(os.getpid()))
    return importlib.import_module(f"{package}.__main__").main(["serve", "--port", str(port)])


@contextlib.contextmanager
def served(package: str, folder: Path, seconds: int):
    """Start a project's command ``serve`` with the course's model; yield its port. It must end without a complaint.

    Args:
        folder: empty; seconds: for an answer.
    """
    (port,) = workers.free_ports(1)
    arguments = {"package": package, "port": port, "folder": str(folder)}
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(workers.run, serve, 1, **HOW, **arguments)
        try:
            while not call.done():
                with contextlib.suppress(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                time.sleep(0.05)
            httpx.get(f"http://127.0.0.1:{port}/health", timeout=seconds).raise_for_status()
            yield port
        finally:
            if not call.done():
                os.kill(int((folder / "process").read_text()), signal.SIGINT)
        assert call.result() == [0]
    assert (folder / "complaints").read_text(encoding="utf-8") == ""
