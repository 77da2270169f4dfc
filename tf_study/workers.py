"""Real processes for the lectures on distributed training, started from a notebook cell.

    def work(comm, scale):
        return comm.all_reduce(np.ones(3) * scale * comm.rank)

    workers.run(work, 4, scale=2.0)  # a list: what each rank returned

``multiprocessing`` cannot start a function that is defined in a cell: a spawned process does not find it, and
a process forked from one that has used TensorFlow hangs. Here a new Python receives the function, and what it
uses of the notebook, through ``cloudpickle``; that imports what the function mentions, once, and then forks the
workers. It stays for the next call. Four workers that need no more than NumPy cost about 0.2 seconds of CPU
together, 0.05 when the Python is there, with TensorFlow 5. Where a process that has imported TensorFlow must not
be forked (macOS), every worker is a new Python.

No worker outlives its cell. They end with :func:`run`, however that ends, and with the notebook's kernel.
"""

import atexit
import contextlib
import importlib
import linecache
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tf_study.comm import Comm, PeerGone, doing, mesh
from tf_study.errors import StudyError

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
_FORK = sys.platform == "linux"
_GRACE = 1.0  # Seconds in which the others may say what they were doing when one worker has failed.


def run(
    function: Callable,
    size: int,
    /,
    *,
    timeout: float = 60,
    env: Mapping[str, str] | Callable[[int], Mapping[str, str]] | None = None,
    imports: Sequence[str] = (),
    **arguments,
) -> list:
    """Run ``function(comm, **arguments)`` in ``size`` new processes and return what each rank returned.

    What the workers print appears in the cell when all have ended, in the order of the ranks.

    Args:
        function: defined in a cell or importable; its first argument is the :class:`tf_study.comm.Comm`.
            What it uses of the notebook (functions, classes, values) is copied to the workers.
        size: number of processes.
        timeout: seconds after which all are ended; the imports count.
        env: variables for the workers, or a function that returns them for a rank. The former are set before
            anything is imported. Set already are those by which ``torch.distributed`` finds the others
            (``RANK``, ``WORLD_SIZE``, ``MASTER_ADDR``, ``MASTER_PORT``, ``LOCAL_RANK``), and one thread a
            process.
        imports: modules that are imported once, before the fork, besides those the function mentions: what a
            library would otherwise import in every worker, such as ``torch._dynamo`` for ``torch``'s DDP.
        arguments: passed on; anything that can be pickled.

    Raises:
        StudyError: if a worker raises, is killed, or if they do not end in time. None is left behind.
    """
    import cloudpickle

    common = {} if callable(env) else env or {}
    own = env if callable(env) else lambda rank: common
    (port,) = free_ports(1)
    ranks = [meeting(rank, size, port) | dict(own(rank)) for rank in range(size)]
    environment = _environment(common)
    key = (os.getpid(), os.getcwd(), tuple(imports), frozenset(environment.items()))
    server = _idle.pop(key, None)  # Nobody else's while this call lasts.
    if server is None or server.ended():
        server = _Server(environment)
    with tempfile.TemporaryDirectory(prefix="tf_study-") as name:
        folder = Path(name)
        try:
            (folder / "call").write_bytes(cloudpickle.dumps((function, arguments)))
            (folder / "ranks").write_bytes(pickle.dumps((ranks, tuple(imports))))
            server.call(folder, timeout)
            for rank in range(size):
                sys.stdout.write((folder / f"out{rank}").read_text(encoding="utf-8", errors="replace"))
            values = _values(folder, pickle.loads((folder / "statuses").read_bytes()), timeout)
        except BaseException:
            server.end()
            raise
    _idle[key] = server
    while len(_idle) > _KEPT:
        _idle.pop(next(iter(_idle))).end()
    return values


def free_ports(count: int) -> list[int]:
    """Return ``count`` different TCP ports of the loopback address that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in listeners]


class _Server:
    """A new Python that imports what calls need and forks their workers, see :func:`_serve`."""

    def __init__(self, environment: Mapping[str, str]):
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tf_study.workers"],
            stdin=subprocess.PIPE,  # Its end tells the server, and the leader, that this process has ended.
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=environment,
            start_new_session=True,
        )

    def ended(self) -> bool:
        return self.process.poll() is not None

    def call(self, folder: Path, timeout: float) -> None:
        """Return when the call that lies in the folder has ended, with all its processes."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(f"{timeout!r} {folder}\n".encode())
            self.process.stdin.flush()
        self.process.stdout.readline()
        if not (folder / "statuses").exists():
            self.end()
            self.errors.seek(0)
            lines = self.errors.read().decode(errors="replace").strip().splitlines()
            last = lines[-1] if lines else f"상태 {self.process.returncode}"
            raise StudyError(
                f"프로세스를 시작하지 못했으니 함수가 쓰는 모듈을 이 셀에서 가져와 보세요. ({last})"
            )

    def end(self) -> None:
        """End it and the call that goes on, if one does."""
        if not self.process.stdout.closed:
            self.process.kill()
            self.process.communicate()  # Closes the input. The leader has the output too: until it has ended.


_idle: dict[tuple, _Server] = {}  # By what they were started with.
_KEPT = 2


@atexit.register
def end_idle() -> None:
    """End what waits for the next call."""
    while _idle:
        key, server = _idle.popitem()
        if key[0] == os.getpid():  # Not in a fork of the process that started it.
            server.end()


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    here = dict(os.environ)
    here.pop("PYTEST_CURRENT_TEST", None)  # Else each test would have a server of its own.
    return {
        **here,
        **dict.fromkeys(ONE_THREAD, "1"),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),  # What can be imported here can be there.
        **given,
    }


def meeting(rank: int, size: int, port: int) -> dict[str, str]:
    """Return the variables by which the libraries of a rank find the others."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo",
    }


def _values(folder: Path, statuses: list[int | None], timeout: float) -> list:
    """Return what the workers returned, or raise the sentence about the one that failed first."""
    results = [_result(folder / f"result{rank}") for rank in range(len(statuses))]
    for rank, (what, *rest) in enumerate(results):
        if what == "raised":
            kind, text, filename, line = rest
            source = linecache.getline(filename, line).strip()
            where = f" `{source}`에서" if source else ""
            raise StudyError(
                f"{rank}번 프로세스가{where} {kind}로 끝났으니 그 줄을 고치고 다시 실행하세요. ({text})"
            )
    for rank, (status, (what, *_)) in enumerate(zip(statuses, results, strict=True)):
        if status is not None and what == "nothing":
            error = (folder / f"err{rank}").read_text(encoding="utf-8", errors="replace").strip()
            last = f" ({error.splitlines()[-1]})" if error else ""
            how = f"신호 {-status}로" if status < 0 else f"상태 {status}로"
            raise StudyError(
                f"{rank}번 프로세스가 결과를 남기지 못하고 {how} 끝났으니 메모리가 모자라지 않은지 보고 다시 실행하세요.{last}"
            )
    for what, *rest in results:
        if what == "gone":
            raise StudyError(
                f"{rest[1]}번 프로세스가 먼저 끝나 {rest[0]}번이 받지 못했으니 보내는 수와 받는 수가 같은지 보세요."
            )
    if any(what != "done" for what, *_ in results):
        parts = [
            doing(rank, rest[0] if rest else None)
            for rank, (what, *rest) in enumerate(results)
            if what != "done"
        ]
        raise StudyError(
            f"{timeout:g}초 안에 끝나지 않아 모두 멈추었으니 서로 기다리지 않는지 보거나 timeout을 늘리세요."
            f" ({', '.join(parts)})"
        )
    return [value for _, value in results]


def _result(path: Path) -> tuple:
    return pickle.loads(path.read_bytes()) if path.exists() else ("nothing",)


# -- in the new Python, and in the workers ----------------------------------------------------------------


class _Stopped(BaseException):
    """SIGTERM from :func:`_supervise`."""


def _serve() -> None:
    """Lead the calls that come in at the standard input, one after the other, each by a fork of this process.

    A call is a line, its timeout and its folder; the answer is an empty line. A call may leave nothing here but
    the modules that it mentions.
    """
    importlib.import_module("numpy.random")  # Else every worker does, at its first use.
    calls = os.fdopen(os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # What a worker reads.
    for line in calls:
        timeout, _, name = line.rstrip("\n").partition(" ")
        deadline, folder = time.monotonic() + float(timeout), Path(name)
        ranks, imports = pickle.loads((folder / "ranks").read_bytes())
        call = None
        if _FORK:
            call = pickle.loads((folder / "call").read_bytes())
            for module in imports:
                importlib.import_module(module)
        leader = os.fork()
        if not leader:
            os.setsid()
            _lead(folder, ranks, call, calls.fileno(), deadline)
        del call
        os.waitpid(leader, 0)
        with contextlib.suppress(ProcessLookupError, PermissionError):  # The latter on macOS.
            os.killpg(leader, signal.SIGKILL)  # The workers and what they have started.
        print(flush=True)


def _lead(folder: Path, ranks: list[dict], call: tuple | None, alive: int, deadline: float) -> None:
    """Start the workers and write down the exit status of each, ``None`` for one that had to be ended."""
    ends = mesh(len(ranks))
    pids = []
    for rank, env in enumerate(ranks):
        mine = {other: end.fileno() for other, end in ends[rank].items()}
        for stream in ("out", "err"):
            (folder / f"{stream}{rank}").touch()
        if not _FORK:
            command = [sys.executable, "-m", "tf_study.workers", folder, str(rank), repr(mine)]
            process = subprocess.Popen(command, pass_fds=list(mine.values()), env={**os.environ, **env})
            pids.append(process.pid)
        elif pid := os.fork():
            pids.append(pid)
        else:
            os.environ.update(env)
            for other in set(range(len(ranks))) - {rank}:
                _close(ends[other])  # Else nobody would see that its process has ended.
            _work(folder, rank, mine, lambda: call)
    for mine in ends:
        _close(mine)
    threading.Thread(target=_end_with, args=(alive,), daemon=True).start()
    (folder / "statuses").write_bytes(pickle.dumps(_supervise(pids, deadline)))
    os._exit(0)


def _close(ends: dict[int, socket.socket]) -> None:
    for end in ends.values():
        end.close()


def _end_with(alive: int) -> None:
    """End all when the notebook's process has ended."""
    os.read(alive, 1)
    os.killpg(0, signal.SIGKILL)


def _supervise(pids: list[int], deadline: float) -> list[int | None]:
    """Wait until all workers have ended; when one has failed or the time is over, the others a little longer."""
    statuses: dict[int, int] = {}

    def wait(until: float, failed: bool) -> None:
        while len(statuses) < len(pids) and time.monotonic() < until:
            for pid in set(pids) - set(statuses):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    statuses[pid] = os.waitstatus_to_exitcode(status)
            if failed and any(statuses.values()):
                return
            time.sleep(0.002)

    wait(deadline, failed=True)
    wait(min(deadline, time.monotonic() + _GRACE), failed=False)
    found = [statuses.get(pid) for pid in pids]
    for pid in set(pids) - set(statuses):
        os.kill(pid, signal.SIGTERM)  # So that it can write down what it waited for.
    wait(time.monotonic() + _GRACE, failed=False)
    return found


def _work(folder: Path, rank: int, descriptors: dict[int, int], call: Callable) -> None:
    """Be worker ``rank``: write the result of ``call()`` into the folder, and exit."""

    def stop(*_):
        raise _Stopped

    signal.signal(signal.SIGTERM, stop)
    for descriptor, name in ((1, f"out{rank}"), (2, f"err{rank}")):  # Files: nobody has to read meanwhile.
        file = os.open(folder / name, os.O_WRONLY)
        os.dup2(file, descriptor)
        os.close(file)
    comm, status = None, 0
    try:
        comm = Comm(rank, {peer: socket.socket(fileno=number) for peer, number in descriptors.items()})
        function, arguments = call()
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed()  # A fork would repeat the numbers of the others.
        result = pickle.dumps(("done", function(comm, **arguments)))
        comm.close()
    except _Stopped:
        status, result = 1, pickle.dumps(("waited", comm and comm.waiting_for))
    except PeerGone as error:
        status, result = 1, pickle.dumps(("gone", *error.args))
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        cell = next(
            (frame for frame in reversed(frames) if "site-packages" not in frame.filename), frames[-1]
        )
        text = str(error).strip().partition("\n")[0]
        status, result = 1, pickle.dumps(("raised", type(error).__name__, text, cell.filename, cell.lineno))
        traceback.print_exc()
    part = folder / f"part{rank}"
    part.write_bytes(result)
    part.rename(folder / f"result{rank}")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # Libraries with threads of their own (gloo, TensorFlow) must not hold the end up.


if __name__ == "__main__":
    import ast

    if len(sys.argv) == 1:
        _serve()
    else:
        place, number, sockets = Path(sys.argv[1]), int(sys.argv[2]), ast.literal_eval(sys.argv[3])
        _work(place, number, sockets, lambda: pickle.loads((place / "call").read_bytes()))
