"""Kernels forked from a warm process, so that the suite imports TensorFlow once and not once a notebook.

``pytest --nbval`` starts one process per entry of :data:`IMAGES` (see ``conftest.py``). At its first request
such a process imports what the entry names, runs nothing, and then forks a kernel per request. Except for
what is imported already, the kernel is a new one: its arguments, folder, environment, streams and seeds are
those of a new process, and ``import tf_study`` in it does all that it always does.

:func:`image` says which notebooks are forked, and from what; ``FRESH=1`` in the environment means none.
What is stored in a notebook is never from here: ``tf_study.notebooks`` runs it in a new process.

A warm process ends, and its kernels with it, when the standard input it was given is closed, which happens
whichever way the session ends.
"""

import contextlib
import functools
import importlib
import json
import os
import re
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from jupyter_client.provisioning import local_provisioner

from tf_study import curriculum, environment
from tf_study.errors import StudyError

IMAGES = {
    "tensorflow": ("tensorflow", "keras", "matplotlib.pyplot"),
    # No TensorFlow class of transformers: loading one turns tf.keras into Keras 2.
    "torch": (
        "tensorflow",
        "keras",
        "matplotlib.pyplot",
        "torch",
        "transformers",
        "transformers.models.llama.modeling_llama",
    ),
}
# What a kernel imports as it starts. The debugger alone is half of that time.
KERNEL = ("ipykernel.kernelapp", "ipykernel.debugger", "IPython.core.completerlib", "sqlite3")
FRESH_VARIABLE = "FRESH"
FOLDER_VARIABLE = "TF_STUDY_WARM_FOLDER"
# Variables that libraries read when they are imported. Where a kernel's differ from the warm process's, it
# must be a new process.
READ_AT_IMPORT = (
    "CUDA_",
    "KERAS_",
    "KMP_",
    "LD_",
    "MKL_",
    "OMP_",
    "ONEDNN_",
    "OPENBLAS_",
    "PYTHON",
    "TF_",
    "XLA_",
)
_TORCH = re.compile(r"\b(?:import|from) (?:torch|transformers)\b")


def usable() -> bool:
    """Return whether kernels may be forked here: on Linux, without a GPU in use, unless ``FRESH=1`` forbids it."""
    return sys.platform == "linux" and environment.device() == "cpu" and not os.environ.get(FRESH_VARIABLE)


@functools.cache
def new() -> frozenset[Path]:
    """Return the notebooks whose kernels are new processes, as a learner's are: one lecture or solution a chapter.

    It is the first that does without torch, whose import takes as long as TensorFlow's; else the first.
    """
    found = []
    for chapter in curriculum.chapters():
        items = [item for item in (*chapter.lectures, *chapter.practices) if item.exists]
        paths = [curriculum.ROOT / (item.solution or item.path) for item in items]
        light = (path for path in paths if not _TORCH.search(path.read_text(encoding="utf-8")))
        found.append(next(light, paths[0]))
    return frozenset(found)


def image(path: Path) -> str | None:
    """Return the name of the image that a notebook's kernel is forked from, ``None`` for a :func:`new` process."""
    if path.resolve() in new():
        return None
    text = path.read_text(encoding="utf-8")
    if "TRITON_INTERPRET" in text:  # It must be set before triton is imported, as it is with torch's image.
        return "tensorflow"
    return "torch" if _TORCH.search(text) else "tensorflow"


def start(images: dict[str, tuple[str, ...]] = IMAGES) -> Callable[[], None]:
    """Start the warm processes, which import at their first request; return the function that ends them."""
    folder = Path(tempfile.mkdtemp(prefix="tf_study-"))
    os.environ[FOLDER_VARIABLE] = str(folder)
    processes = []
    for name, modules in images.items():
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / name))
            listener.listen()
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "tf_study.warm", str(listener.fileno()), *modules],
                    stdin=subprocess.PIPE,
                    pass_fds=[listener.fileno()],
                    start_new_session=True,  # Ctrl-C is for pytest, which then ends them.
                )
            )

    def stop() -> None:
        os.environ.pop(FOLDER_VARIABLE, None)
        for process in processes:
            process.stdin.close()
        for process in processes:
            process.wait()

    return stop


@contextlib.contextmanager
def kernels(path: Path) -> Iterator[None]:
    """Fork the kernels that ``jupyter_client`` starts in this block, if the notebook's :func:`image` says so.

    Raises:
        StudyError: in the block, if the warm process has ended.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    name = image(path) if folder and usable() else None
    if not name:
        yield
        return
    launch = local_provisioner.launch_kernel
    local_provisioner.launch_kernel = functools.partial(_launch, Path(folder) / name, launch)
    try:
        yield
    finally:
        local_provisioner.launch_kernel = launch


def _launch(address: Path, launch: Callable, command: list[str], *, env: dict, cwd: str, **options):
    """Stand in for ``jupyter_client.launcher.launch_kernel``: ask for a fork, else start a new process."""
    if command[:3] != [sys.executable, "-m", "ipykernel_launcher"]:
        return launch(command, env=env, cwd=cwd, **options)  # A kernel of another Python.
    env = {**env, "JPY_PARENT_PID": str(os.getpid())}
    request = {"argv": command[3:], "cwd": str(cwd), "env": env}
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(address))
        connection.sendall(json.dumps(request).encode() + b"\n")
        answer = connection.makefile("rb").readline()
    except OSError:
        answer = b""
    if not answer:
        raise StudyError("노트북 커널을 나누어 주던 프로세스가 끝났으니 FRESH=1을 앞에 붙여 다시 실행하세요.")
    pid = int(answer)
    return Kernel(pid, connection) if pid else launch(command, env=env, cwd=cwd, **options)


class Kernel:
    """What ``jupyter_client`` uses of ``subprocess.Popen``, for a kernel that the warm process waits for."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int, connection: socket.socket):
        self.pid, self.returncode = pid, None
        self._connection = connection

    def poll(self) -> int | None:
        """Return the exit status, ``None`` while the kernel runs."""
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self) -> int:
        """Wait for the kernel's end and return the exit status."""
        if self.returncode is None:
            # Nothing is said where the warm process ends: it has killed its kernels.
            self.returncode = int(self._connection.recv(16) or -signal.SIGKILL)
            self._connection.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to the kernel, not to what it has started."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the kernel at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask the kernel to end."""
        self.send_signal(signal.SIGTERM)


# -- in the warm process -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Request:
    argv: list[str]
    cwd: str
    env: dict[str, str]


class _Stream:
    """Stands for ``sys.stdout`` or ``sys.stderr`` during imports: a log handler made there keeps it, and so
    writes to the kernel's stream later, as if it had been made in the kernel."""

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, attribute: str):
        stream = getattr(sys, self._name)
        return getattr(getattr(sys, f"__{self._name}__") if stream is self else stream, attribute)

    def close(self) -> None:
        """Leave the stream open: ipykernel sets logging up anew, which closes the handlers there are."""


def _import(names: list[str]) -> None:
    """Import what is installed of ``names`` as a kernel would."""
    sys.ps1 = "In : "  # IPython sets it, and TensorFlow's logger looks for it.
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")  # ipykernel sets it.
    os.environ["JPY_PARENT_PID"] = str(os.getpid())  # A kernel ends when its parent, this process, does.
    sys.stdout, sys.stderr = _Stream("stdout"), _Stream("stderr")
    # The device is selected in the kernels: nothing may be asked of the driver before the fork.
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != environment.__name__]
    with environment.uncollected(), environment.quiet_stderr():
        for name in (*KERNEL, *names):
            with contextlib.suppress(ModuleNotFoundError):  # A notebook says itself what it does without.
                importlib.import_module(name)
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__


def _at_import(variables: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name.startswith(READ_AT_IMPORT)}


def _serve(names: list[str], listener: socket.socket) -> _Request:
    """Fork a kernel for every request that comes over ``listener``. Returns only in the kernels."""
    given, imported = dict(os.environ), None
    running: dict[int, tuple[int, socket.socket]] = {}  # Descriptor of the process: its number, who asked.
    while True:
        asking = {connection: process for process, (_, connection) in running.items()}
        ready = select.select([sys.stdin, listener, *running, *asking], [], [])[0]
        # A kernel ends by itself, with the session, or with the connection to the one that asked for it.
        over = running if sys.stdin in ready else {asking.get(item, item) for item in ready} & set(running)
        for process in list(over):
            pid, connection = running.pop(process)
            os.killpg(pid, signal.SIGKILL)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            os.close(process)
            with connection, contextlib.suppress(ConnectionError):
                connection.sendall(str(status).encode())
        if sys.stdin in ready:
            shutil.rmtree(Path(listener.getsockname()).parent, ignore_errors=True)
            os._exit(0)  # To take the libraries apart takes seconds.
        if listener not in ready:
            continue
        connection, _ = listener.accept()
        line = connection.makefile("rb").readline()
        if not line:
            continue
        request = _Request(**json.loads(line))
        if imported is None:
            _import(names)
            imported = {name: value for name, value in os.environ.items() if given.get(name) != value}
        if _at_import({**imported, **request.env}) != _at_import({**given, **imported}):
            with connection:
                connection.sendall(b"0\n")
            continue
        pid = os.fork()
        if not pid:
            os.setpgid(0, 0)
            for item in (listener, connection, *asking):
                item.close()
            for process in running:
                os.close(process)
            return _Request(request.argv, request.cwd, {**imported, **request.env})
        os.setpgid(pid, pid)  # Here too: whoever asked may send a signal to the group at once.
        running[os.pidfd_open(pid)] = pid, connection
        with contextlib.suppress(ConnectionError):
            connection.sendall(f"{pid}\n".encode())


def _become_kernel(request: _Request) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    os.chdir(request.cwd)
    os.environ.clear()
    os.environ.update(request.env)
    # After a fork Python draws new random numbers by itself; these two would repeat the parent's.
    sys.modules["numpy"].random.seed()
    if "torch" in sys.modules:
        sys.modules["torch"].seed()
    # The notebook imports this package anew, and with it what is prepared around TensorFlow.
    for name in [name for name in sys.modules if name.partition(".")[0] == "tf_study"]:
        del sys.modules[name]
    if "tensorflow" in sys.modules:
        # TensorFlow does this where it is imported inside IPython: tf.print then writes to the notebook.
        importlib.import_module("tensorflow.python.ops.logging_ops").enable_interactive_logging()
    # A notebook trims its figures, for which each is laid out once more. Nothing here looks at their margins.
    application = importlib.import_module("ipykernel.kernelapp").IPKernelApp.instance()
    application.config.InlineBackend.print_figure_kwargs = {"bbox_inches": None}
    sys.path[0] = request.cwd
    sys.argv = ["ipykernel_launcher", *request.argv]
    runpy.run_module("ipykernel_launcher", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _become_kernel(_serve(sys.argv[2:], socket.socket(fileno=int(sys.argv[1]))))
