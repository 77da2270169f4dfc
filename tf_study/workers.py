"""Real processes for the lectures on distributed training, started from a notebook cell.

    def work(comm, scale):
        return comm.all_reduce(np.ones(3) * scale * comm.rank)

    workers.run(work, 4, scale=2.0)  # a list: what each rank returned

``multiprocessing`` cannot start a function that is defined in a cell: a spawned process does not find it, and
a process forked from one that has used TensorFlow hangs. Here every worker is a new Python; the function, and
what it uses of the notebook, reaches it through ``cloudpickle``. A worker imports only what its function
mentions, so one that needs no more than NumPy costs about 0.2 seconds of CPU, one with TensorFlow 5.

No worker outlives its cell. They end with :func:`run`, however that ends, and with the notebook's kernel.
"""

import contextlib
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
from collections.abc import Callable, Mapping
from pathlib import Path

from tf_study.errors import StudyError

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
_GRACE = 1.0  # Seconds in which the others may say what they were doing when one worker has failed.


def run(
    function: Callable,
    size: int,
    /,
    *,
    timeout: float = 60,
    env: Mapping[str, str] | Callable[[int], Mapping[str, str]] | None = None,
    **arguments,
) -> list:
    """Run ``function(comm, **arguments)`` in ``size`` new processes and return what each rank returned.

    What the workers print appears in the cell when all have ended, in the order of the ranks.

    Args:
        function: defined in a cell or importable; its first argument is the :class:`tf_study.comm.Comm`.
            What it uses of the notebook (functions, classes, values) is copied to the workers.
        size: number of processes.
        timeout: seconds after which all are ended.
        env: variables for the workers, or a function that returns them for a rank. Set already are those by
            which ``torch.distributed`` finds the others (``RANK``, ``WORLD_SIZE``, ``MASTER_ADDR``,
            ``MASTER_PORT``, ``LOCAL_RANK``), and one thread a process.
        arguments: passed on; anything that can be pickled.

    Raises:
        StudyError: if a worker raises, is killed, or if they do not end in time. None is left behind.
    """
    import cloudpickle

    pairs = {}
    for low in range(size):
        for high in range(low + 1, size):
            pairs[low, high], pairs[high, low] = socket.socketpair()
    (port,) = free_ports(1)
    alive, stop = os.pipe()  # Nothing is ever written: the reading ends see the end of this process.
    with tempfile.TemporaryDirectory(prefix="tf_study-") as name:
        folder = Path(name)
        (folder / "call").write_bytes(cloudpickle.dumps((function, arguments)))
        processes = []
        try:
            for rank in range(size):
                mine = {other: pairs[rank, other].fileno() for other in range(size) if other != rank}
                # Each process writes into files of its own, so none waits for a reader.
                with open(folder / f"out{rank}", "wb") as out, open(folder / f"err{rank}", "wb") as err:
                    processes.append(
                        subprocess.Popen(
                            [
                                sys.executable,
                                "-m",
                                "tf_study.workers",
                                name,
                                str(rank),
                                str(alive),
                                repr(mine),
                            ],
                            stdin=subprocess.DEVNULL,
                            stdout=out,
                            stderr=err,
                            pass_fds=[alive, *mine.values()],
                            env=_environment(rank, size, port, env),
                            start_new_session=True,
                        )
                    )
            for end in pairs.values():
                end.close()
            ended = _wait(processes, timeout)
        finally:
            _end(processes)
            for end in pairs.values():
                end.close()
            os.close(alive)
            os.close(stop)
        for rank in range(size):
            sys.stdout.write((folder / f"out{rank}").read_text(encoding="utf-8", errors="replace"))
        return _results(folder, ended, timeout)


def free_ports(count: int) -> list[int]:
    """Return ``count`` different TCP ports of the loopback address that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in listeners]


def _environment(rank: int, size: int, port: int, extra) -> dict[str, str]:
    given = extra(rank) if callable(extra) else extra or {}
    return {
        **os.environ,
        **dict.fromkeys(_ONE_THREAD, "1"),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),  # What can be imported here can be there.
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo",
        **given,
    }


def _wait(processes: list[subprocess.Popen], timeout: float) -> list[int | None]:
    """Return the exit statuses when all have ended, the time is over, or shortly after one has failed."""
    deadline = time.monotonic() + timeout
    while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
        if any(process.returncode for process in processes):
            deadline = min(deadline, time.monotonic() + _GRACE)
        time.sleep(0.005)
    return [process.poll() for process in processes]


def _end(processes: list[subprocess.Popen]) -> None:
    """End what still runs: asked first, so that it can write down what it waited for, then by force."""
    running = [process for process in processes if process.poll() is None]
    for process in running:
        process.terminate()
    deadline = time.monotonic() + _GRACE
    while any(process.poll() is None for process in running) and time.monotonic() < deadline:
        time.sleep(0.005)
    for process in processes:
        with contextlib.suppress(
            ProcessLookupError, PermissionError
        ):  # macOS: not permitted for a dead group.
            os.killpg(process.pid, signal.SIGKILL)  # With what the worker itself has started.
        process.wait()


def _results(folder: Path, statuses: list[int | None], timeout: float) -> list:
    """Return the values, or raise the sentence about the worker that failed first."""
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
            f"{rank}번은 {rest[0]}번을 기다림" if rest and rest[0] is not None else f"{rank}번은 계산함"
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


# -- in the worker --------------------------------------------------------------------------------------


class _Stopped(BaseException):
    """SIGTERM from :func:`_end`."""


def _work(folder: Path, rank: int, alive: int, descriptors: dict[int, int]) -> None:
    def stop(*_):
        raise _Stopped

    def watch() -> None:
        os.read(alive, 1)  # Returns when the notebook's process has ended.
        os._exit(1)

    signal.signal(signal.SIGTERM, stop)
    threading.Thread(target=watch, daemon=True).start()
    comm, status = None, 0
    try:
        from tf_study.comm import Comm, PeerGone

        comm = Comm(rank, {peer: socket.socket(fileno=number) for peer, number in descriptors.items()})
        function, arguments = pickle.loads((folder / "call").read_bytes())
        result = pickle.dumps(("done", function(comm, **arguments)))
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
    partial = folder / f"part{rank}"
    partial.write_bytes(result)
    partial.rename(folder / f"result{rank}")
    if not status:
        comm.close()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # Libraries with threads of their own (gloo, TensorFlow) must not hold the end up.


if __name__ == "__main__":
    import ast

    _work(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), ast.literal_eval(sys.argv[4]))
