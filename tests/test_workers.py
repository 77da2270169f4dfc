"""Workers: what they return, what is counted, and that none outlives its cell, whatever happens.

And lecture 9.1, which builds what the package has: the two agree, and its two TensorFlow workers, which the
small profile does not start, learn what one device learns.
"""

import ast
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import types
from pathlib import Path

import cloudpickle
import nbformat
import numpy as np
import pytest

from tf_study import curriculum, notebooks, workers
from tf_study.errors import StudyError

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # As what is defined in a cell.


def alive(pid: int) -> bool:
    """Whether the process is there and not a zombie (an adopted one, which nobody may have waited for)."""
    status = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
    return status.strip()[:1] not in ("", "Z")


def gone(pids: list[int], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(alive, pids))


def collectives(comm, group):
    rng = np.random.default_rng(comm.rank)
    own = rng.normal(size=(5, 3))
    parts = list(np.arange(4.0)[:, None] + comm.rank)[: comm.size if group is None else len(group)]
    if group is not None and comm.rank not in group:
        return None
    results = (
        own,
        comm.all_reduce(own, group),
        comm.all_gather(own[: comm.rank + 1], group),
        comm.reduce_scatter(parts, group),
        comm.all_to_all(parts, group),
        comm.broadcast(own, 2, group),
    )
    comm.barrier(group)
    return results, dict(comm.sent)


@pytest.mark.parametrize("group", [None, (3, 1, 2)])
def test_collectives_agree_with_numpy(group):
    ranks = list(range(4) if group is None else group)
    everything = workers.run(collectives, 4, group=group)
    results = {rank: everything[rank][0] for rank in ranks}
    own = {rank: results[rank][0] for rank in ranks}
    for place, rank in enumerate(ranks):
        _, summed, gathered, scattered, exchanged, broadcast = results[rank]
        np.testing.assert_allclose(summed, sum(own.values()), atol=1e-12)
        np.testing.assert_array_equal(summed, results[ranks[0]][1])
        for other, array in zip(ranks, gathered, strict=True):
            np.testing.assert_array_equal(array, own[other][: other + 1])
        np.testing.assert_array_equal(scattered, [len(ranks) * place + sum(ranks)])
        np.testing.assert_array_equal(np.concatenate(exchanged), [place + other for other in ranks])
        np.testing.assert_array_equal(broadcast, own[2])


def test_shapes_arrive_as_they_are():
    def work(comm):
        return [
            comm.all_gather(array) for array in (np.float64(comm.rank), np.ones((3, 2)).T, np.ones((0, 4)))
        ]

    for gathered in workers.run(work, 2):
        assert [[part.shape for part in parts] for parts in gathered] == [
            [()] * 2,
            [(2, 3)] * 2,
            [(0, 4)] * 2,
        ]


def test_what_is_sent_is_counted():
    def work(comm):
        comm.all_reduce(np.zeros(1200, np.float32))
        comm.all_gather(np.zeros(100, np.float32))
        comm.barrier()
        return dict(comm.sent)

    assert workers.run(work, 4) == [{"all_reduce": 2 * 3 * 4800 // 4, "all_gather": 3 * 400}] * 4


def test_large_messages_do_not_block_a_ring():
    def work(comm):
        comm.send((comm.rank + 1) % comm.size, np.full(2_000_000, comm.rank))
        return comm.recv((comm.rank - 1) % comm.size)[-1]

    assert workers.run(work, 3, timeout=30) == [2, 0, 1]


def test_one_process_needs_no_other():
    assert workers.run(lambda comm: (comm.size, comm.all_reduce(np.ones(2)).sum()), 1) == [(1, 2.0)]


def test_in_a_notebook(tmp_path):
    """Functions, classes and values of cells reach the workers; prints come in order; errors name the line."""
    cells = [
        "import numpy as np\nfrom tf_study import workers\nSCALE = 2.0",
        "class Doubler:\n    def __call__(self, x):\n        return SCALE * x",
        "def work(comm, x):\n    print('순위', comm.rank)\n    return float(comm.all_reduce(Doubler()(x)))",
        "print(workers.run(work, 3, x=1.5))",
        "def wrong(comm):\n    x = np.ones(3)\n    return x @ np.ones(comm.rank + 2)\n\n"
        "try:\n    workers.run(wrong, 2)\nexcept Exception as error:\n    print(error)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(notebook, tmp_path / "notebook.ipynb")
    notebooks.execute(notebook, tmp_path)
    printed = ["".join(output.get("text", "") for output in cell.outputs) for cell in notebook.cells]
    assert printed[3] == "순위 0\n순위 1\n순위 2\n[9.0, 9.0, 9.0]\n"
    assert printed[4].startswith(
        "0번 프로세스가 `return x @ np.ones(comm.rank + 2)`에서 ValueError로 끝났으니"
    )


def write_pid_and(what):
    """Return a worker that writes its number into a folder and then does ``what(comm)``."""

    def work(comm, folder):
        Path(folder, str(comm.rank)).write_text(str(os.getpid()))
        return what(comm)

    return work


def receive_from_the_next(comm):
    return comm.recv((comm.rank + 1) % comm.size)


def raise_in_one(comm):
    return receive_from_the_next(comm) if comm.rank != 1 else int("x")


def kill_one(comm):
    return receive_from_the_next(comm) if comm.rank != 1 else os.kill(os.getpid(), signal.SIGKILL)


def leave_early(comm):
    return receive_from_the_next(comm) if comm.rank == 2 else None


def ignore_the_request(comm):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        (raise_in_one, r"^1번 프로세스가 `return .*int\(\"x\"\)`에서 ValueError로 끝났으니"),
        (kill_one, r"^1번 프로세스가 결과를 남기지 못하고 신호 9로 끝났으니"),
        (leave_early, r"^0번 프로세스가 먼저 끝나 2번이 받지 못했으니"),
        (
            receive_from_the_next,
            r"^0\.8초 안에 끝나지 않아 .*\(0번은 1번을 기다림, 1번은 2번을 기다림, 2번은 0번을",
        ),
        (ignore_the_request, r"^0\.8초 안에 끝나지 않아 .*\(0번은 계산함, 1번은 계산함, 2번은 계산함\)"),
    ],
)
def test_a_failure_is_one_sentence_and_leaves_no_process(tmp_path, what, sentence):
    workers.run(write_pid_and(lambda comm: None), 1, folder=str(tmp_path))  # Starts the server.
    started = time.monotonic()
    with pytest.raises(StudyError, match=sentence):
        workers.run(write_pid_and(what), 3, timeout=0.8, folder=str(tmp_path))
    assert time.monotonic() - started < 30
    pids = [int(path.read_text()) for path in tmp_path.iterdir()]
    assert len(pids) == 3
    assert gone(pids)


def test_a_failure_is_noticed_before_the_time_is_over():
    started = time.monotonic()
    with pytest.raises(StudyError):
        workers.run(raise_in_one, 3, timeout=120)
    assert time.monotonic() - started < 60


def test_what_a_worker_has_started_ends_with_it(tmp_path):
    def work(comm, folder):
        process = subprocess.Popen(["sleep", "600"])
        Path(folder, "pid").write_text(str(process.pid))

    workers.run(work, 1, folder=str(tmp_path))
    assert gone([int((tmp_path / "pid").read_text())])


def test_workers_end_with_the_process_that_started_them(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
        import os, pathlib, time
        from tf_study import workers
        def work(comm):
            pathlib.Path({str(tmp_path)!r}, "pid%d" % comm.rank).write_text(str(os.getpid()))
            time.sleep(600)
        workers.run(work, 2, timeout=600)
        """),
        encoding="utf-8",
    )
    parent = subprocess.Popen(
        [sys.executable, script], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    try:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob("pid*"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.2)  # The second number may be on its way into its file.
        pids = [int(path.read_text()) for path in tmp_path.glob("pid*")]
    finally:
        parent.kill()
        parent.wait()
    assert len(pids) == 2
    assert gone(pids)


def server_of(comm):
    """The process that has forked the leader of this call."""
    leader = subprocess.run(["ps", "-o", "ppid=", "-p", str(os.getppid())], capture_output=True, text=True)
    return int(leader.stdout)


def test_the_server_stays_for_the_next_call(monkeypatch):
    (first,) = workers.run(server_of, 1)
    monkeypatch.setenv("PYTEST_CURRENT_TEST", "another")
    assert workers.run(server_of, 2) == [first] * 2
    assert workers.run(server_of, 1, env={"EXTRA": "1"}) != [first]
    assert workers.run(server_of, 1) == [first]
    with pytest.raises(StudyError):
        workers.run(raise_in_one, 2)
    assert gone([first])
    (second,) = workers.run(server_of, 1)
    os.kill(second, signal.SIGKILL)
    assert gone([second])
    assert workers.run(server_of, 1) != [second]


def test_an_interrupt_leaves_no_process(tmp_path):
    def interrupt():
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        workers.run(write_pid_and(ignore_the_request), 2, folder=str(tmp_path))
    thread.join()
    assert gone([int(path.read_text()) for path in tmp_path.iterdir()])


def test_variables_for_a_rank():
    def work(comm):
        return os.environ["RANK"], os.environ["WORLD_SIZE"], os.environ["EXTRA"]

    assert workers.run(work, 2, env=lambda rank: {"EXTRA": str(10 + rank)}) == [
        ("0", "2", "10"),
        ("1", "2", "11"),
    ]


def test_imports_before_the_fork():
    def work(comm):
        return "wave" in sys.modules

    assert workers.run(work, 2) == [False, False]
    if sys.platform == "linux":
        assert workers.run(work, 2, imports=["wave"]) == [True, True]
        with pytest.raises(StudyError, match=r"^프로세스를 시작하지 못했으니 .*no_such_module"):
            workers.run(work, 2, imports=["no_such_module"])


def test_free_ports_differ():
    assert len(set(workers.free_ports(20))) == 20


LECTURE = """reduce_scatter all_gather ring_all_reduce naive_all_reduce tree_all_reduce
    gradients cluster multi_worker""".split()


@pytest.fixture(scope="module")
def lecture():
    """The imports and some functions of lecture 9.1, as a module that reaches the workers by value."""
    path = curriculum.ROOT / "chapter09_distributed_systems" / "01_distributed_training_basics.ipynb"
    cells = [ast.parse(cell.source).body for cell in notebooks.read(path).cells if cell.cell_type == "code"]
    kept = [node for node in cells[0] if isinstance(node, ast.Import | ast.ImportFrom)]
    functions = [node for body in cells for node in body if isinstance(node, ast.FunctionDef)]
    kept += [node for node in functions if node.name in LECTURE]
    module = types.ModuleType("lecture")
    sys.modules["lecture"] = module
    exec(compile(ast.Module(kept, []), "lecture", "exec"), module.__dict__)
    cloudpickle.register_pickle_by_value(module)
    yield module
    cloudpickle.unregister_pickle_by_value(module)
    del sys.modules["lecture"]


def test_the_lecture_and_the_package_agree(lecture):
    def work(comm, reduce_scatter, all_gather, all_reduces):
        own = np.random.default_rng(comm.rank).normal(size=(7, 5)).astype("float32")
        totals = [all_reduce(comm, own) for all_reduce in (type(comm).all_reduce, *all_reduces)]
        scattered = comm.reduce_scatter(own[: comm.size]), reduce_scatter(comm, own[: comm.size])
        gathered = comm.all_gather(own), all_gather(comm, own)
        return totals, scattered, gathered

    collective = {name: getattr(lecture, name) for name in ("reduce_scatter", "all_gather")}
    others = [lecture.ring_all_reduce, lecture.naive_all_reduce, lecture.tree_all_reduce]
    for totals, scattered, gathered in workers.run(work, 4, **collective, all_reduces=others):
        np.testing.assert_array_equal(totals[0], totals[1])
        np.testing.assert_allclose(totals[2:], [totals[0]] * 2, atol=1e-6)
        np.testing.assert_array_equal(*scattered)
        np.testing.assert_array_equal(*gathered)


def test_two_tensorflow_workers_of_the_lecture_learn_what_one_device_learns(lecture):
    rng = np.random.default_rng(0)
    start = [rng.normal(0, 0.5, shape).astype("float32") for shape in ((12, 8), (1, 8), (8, 3), (1, 3))]
    X, Y, steps = rng.normal(size=(320, 12)).astype("float32"), rng.integers(0, 3, 320), 20
    expected = [weight.astype("float64") for weight in start]
    for x, y in zip(np.split(X, steps), np.split(Y, steps), strict=True):
        for weight, gradient in zip(expected, lecture.gradients(expected, x, y), strict=True):
            weight -= 0.5 * gradient
    addresses = [f"127.0.0.1:{port}" for port in workers.free_ports(2)]
    results = workers.run(
        lecture.multi_worker,
        2,
        timeout=180,
        env=lambda rank: lecture.cluster(addresses, rank),
        start=start,
        X=X,
        Y=Y,
        steps=steps,
        rate=0.5,
    )
    for weights in results:
        for weight, wanted in zip(weights, expected, strict=True):
            np.testing.assert_allclose(weight, wanted, atol=1e-6)
    assert max(np.abs(a - b).max() for a, b in zip(start, expected, strict=True)) > 0.1
