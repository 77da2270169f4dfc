"""Forked kernels: they are what a new kernel is, they end when they should, and the rule that picks them."""

import base64
import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from nbval.kernel import CURRENT_ENV_KERNEL_NAME, RunningKernel
from PIL import Image

from tf_study import curriculum, notebooks, warm
from tf_study.errors import StudyError

ROOT = curriculum.ROOT
STARTED = warm.FOLDER_VARIABLE in os.environ  # By conftest.py.
forked = pytest.mark.skipif(not warm.usable(), reason="커널을 나누지 않는 환경입니다.")


@pytest.fixture(scope="module")
def processes():
    """The warm processes of this session, else of this module."""
    stop = None if STARTED else warm.start()
    yield
    if stop:
        stop()


@pytest.fixture
def light(monkeypatch):
    """A warm process that imports nothing but NumPy."""
    monkeypatch.setenv(warm.FOLDER_VARIABLE, "replaced by start")
    stop = warm.start({"tensorflow": ("numpy",)})
    yield Path(os.environ[warm.FOLDER_VARIABLE])
    stop()


def outputs(folder: Path, *cells: str) -> list[list]:
    """Return the outputs of each cell of a notebook, in the kernel that the suite would give it."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    path = folder / "notebook.ipynb"
    nbformat.write(notebook, path)
    with warm.kernels(path):
        notebooks.execute(notebook, folder)
    return [cell.outputs for cell in notebook.cells]


def run(folder: Path, *cells: str) -> list[str]:
    """Return what each cell of a notebook prints, in the kernel that the suite would give it."""
    return ["".join(part.get("text", "") for part in cell) for cell in outputs(folder, *cells)]


def kernel(folder: Path) -> RunningKernel:
    """Start a kernel as nbval does."""
    (folder / "notebook.ipynb").write_text("{}", encoding="utf-8")
    with warm.kernels(folder / "notebook.ipynb"):
        return RunningKernel(CURRENT_ENV_KERNEL_NAME, cwd=str(folder))


def gone(pid: int) -> bool:
    """Return whether a process ends within ten seconds (an unclaimed one has ended too)."""
    for _ in range(100):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.1)
    return False


# -- the rule ----------------------------------------------------------------------------------------------


def test_one_notebook_a_chapter_gets_a_new_process():
    names = []
    for chapter in curriculum.chapters():
        items = [item for item in (*chapter.lectures, *chapter.practices) if item.exists]
        paths = [path for item in items for path in (item.path, item.solution) if path]
        (new,) = (path for path in paths if warm.image(ROOT / path) is None)
        names.append(new.name)
    assert names[0] == "00_first_15_minutes.ipynb"
    assert names[8] == "02_tensor_parallelism.ipynb"  # 9.1 imports torch,
    assert names[15] == "01_deepseek_v3_fp8_training.ipynb"  # so does all of chapter 16,
    assert names[16] == "ex02_dit_block_with_adaln.ipynb"  # and of chapter 17 all but this practice.


def test_what_a_notebook_imports_picks_the_image(tmp_path):
    path = tmp_path / "notebook.ipynb"
    path.write_text("import tensorflow as tf, importlib", encoding="utf-8")
    assert warm.image(path) == "tensorflow"
    for line in ("import torch", "from transformers.models import llama"):
        path.write_text(line, encoding="utf-8")
        assert warm.image(path) == "torch"
    path.write_text('os.environ["TRITON_INTERPRET"] = "1"; import torch', encoding="utf-8")
    assert warm.image(path) == "tensorflow"


def test_where_kernels_are_new_processes(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("TF_STUDY_DEVICE", "cpu")
    monkeypatch.delenv(warm.FRESH_VARIABLE, raising=False)
    assert warm.usable()
    monkeypatch.setenv(warm.FRESH_VARIABLE, "1")
    assert not warm.usable()
    monkeypatch.delenv(warm.FRESH_VARIABLE)
    monkeypatch.setenv("TF_STUDY_DEVICE", "gpu")
    assert not warm.usable()
    monkeypatch.setenv("TF_STUDY_DEVICE", "cpu")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not warm.usable()


# -- a forked kernel is a new one --------------------------------------------------------------------------

STATE = """
import gc, json, logging, os, signal, sys, threading, warnings
import matplotlib
import tf_study
import tensorflow as tf
from tensorflow.python.eager import context

logger = tf.get_logger()
own = {"JPY_PARENT_PID", "PYTEST_CURRENT_TEST", "TF_STUDY_WARM_FOLDER"}
print(json.dumps({
    "argv": [os.path.basename(sys.argv[0]), sys.argv[1], len(sys.argv)],
    "path": sys.path,
    "folder": os.getcwd(),
    "environment": {name: value for name, value in sorted(os.environ.items()) if name not in own},
    "names": sorted(name for name in globals() if not name.startswith("_")),
    "main": sys.modules["__main__"].__dict__ is globals(),
    "prompt": sys.ps1,
    "interrupt": str(signal.getsignal(signal.SIGINT)),
    "threads": sorted(thread.name.rstrip("0123456789 ()") for thread in threading.enumerate()),
    "native stderr": os.readlink("/proc/self/fd/2"),
    "group": os.getpgid(0) == os.getpid(),
    "gc": [gc.isenabled(), gc.get_threshold()],
    "backend": matplotlib.get_backend(),
    "log": [logger.level, [handler.stream.name for handler in logger.handlers]],
    "root log": [logging.root.level, len(logging.root.handlers)],
    "quiet": [item[2].__name__ for item in warnings.filters if item[1] and item[1].pattern == "IProgress"],
    "finders": [type(finder).__name__ for finder in sys.meta_path],
    "devices": [device.name for device in tf.config.get_visible_devices()],
    "started": context.context()._initialized,
    "keras": tf.keras.__version__,
}))
"""


@forked
def test_a_forked_kernel_is_in_the_state_of_a_new_one(processes, tmp_path, monkeypatch):
    before = (
        "import os, sys\nprint(os.getppid() == int(os.environ['JPY_PARENT_PID']), 'tf_study' in sys.modules)"
    )
    start, state = run(tmp_path, before, STATE)
    monkeypatch.setenv(warm.FRESH_VARIABLE, "1")
    new_start, new_state = run(tmp_path, before, STATE)
    assert (start, new_start) == ("False False\n", "True False\n"), "the first was forked, the second not"
    state, new_state = json.loads(state), json.loads(new_state)
    del new_state["environment"][warm.FRESH_VARIABLE]
    assert state == new_state


@forked
def test_nothing_random_repeats(processes, tmp_path):
    draws = """
        import random, numpy as np, tensorflow as tf, tempfile, os
        import torch
        print(random.random())
        print(np.random.rand())
        print(tf.random.uniform([]).numpy())
        print(torch.rand(()).item())
        print(tempfile.mktemp())
    """
    pytest.importorskip("torch", reason="torch는 make advanced가 설치합니다.")
    first, second = (run(tmp_path, textwrap.dedent(draws))[0].splitlines() for _ in range(2))
    assert len(first) == 5 and not set(first) & set(second)


@forked
def test_a_figure_is_drawn_as_large_as_it_was_asked_for(processes, tmp_path):
    code = "import matplotlib.pyplot as plt\nplt.figure(figsize=(4, 2), dpi=50)\nplt.plot([1, 2])\nplt.show()"
    ((figure,),) = outputs(tmp_path, code)
    with Image.open(io.BytesIO(base64.b64decode(figure.data["image/png"]))) as picture:
        assert picture.size == (200, 100)


@forked
def test_torch_comes_without_the_tensorflow_classes_of_transformers(processes, tmp_path):
    pytest.importorskip("transformers")
    code = (
        "import sys\nimport torch\nprint({'tf_keras', 'transformers.modeling_tf_utils'} & set(sys.modules))"
    )
    assert run(tmp_path, code) == ["set()\n"]


@forked
def test_cpu_time_is_the_kernels_own(light, tmp_path):
    assert float(run(tmp_path, "import os\nprint(sum(os.times()[:4]))")[0]) < 1


@forked
def test_a_kernel_that_libraries_would_see_differently_is_new(light, tmp_path, monkeypatch):
    parent = "import os\nprint(os.getppid() == int(os.environ['JPY_PARENT_PID']))"
    assert run(tmp_path, parent) == ["False\n"]
    other = {"0": "1"}.get(os.environ.get("TF_ENABLE_ONEDNN_OPTS"), "0")
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", other)
    assert run(tmp_path, parent) == ["True\n"]


# -- how it ends -------------------------------------------------------------------------------------------


@forked
def test_an_interrupt_reaches_the_cell(light, tmp_path):
    running = kernel(tmp_path)
    message = running.execute_cell_input("import time\nfor _ in range(600): time.sleep(0.1)")
    time.sleep(1)
    running.interrupt()
    running.await_reply(message, timeout=20)
    assert running.is_alive()
    running.stop()


@forked
def test_the_end_of_a_kernel_is_seen_with_its_status(light, tmp_path):
    running = kernel(tmp_path)
    process = running.km.provisioner.process
    assert isinstance(process, warm.Kernel) and process.poll() is None
    running.execute_cell_input("import os\nos._exit(7)")
    assert process.wait() == process.poll() == 7
    assert not running.is_alive()
    running.stop()


@forked
def test_stopping_a_kernel_ends_what_it_started(light, tmp_path):
    running = kernel(tmp_path)
    code = "import subprocess\nopen('child', 'w').write(str(subprocess.Popen(['sleep', '600']).pid))"
    running.await_reply(running.execute_cell_input(code), timeout=20)
    child, own = int((tmp_path / "child").read_text()), running.km.provisioner.pid
    running.stop()
    assert gone(own) and gone(child)


SESSION = """
import os, sys
from pathlib import Path
from PIL import Image
from nbval.kernel import CURRENT_ENV_KERNEL_NAME, RunningKernel
from tf_study import warm

warm.start({"tensorflow": ("numpy",)})
notebook = Path(sys.argv[1])
with warm.kernels(notebook):
    running = RunningKernel(CURRENT_ENV_KERNEL_NAME, cwd=str(notebook.parent))
pid = running.km.provisioner.pid
parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
print(pid, parent, os.environ[warm.FOLDER_VARIABLE], flush=True)
code = "import subprocess\\nopen('child', 'w').write(str(subprocess.Popen(['sleep', '600']).pid))"
running.await_reply(running.execute_cell_input(code), timeout=20)
running.execute_cell_input("while True: pass")
print("busy", flush=True)
sys.stdin.read()
"""


@forked
@pytest.mark.parametrize("victim", ["session", "warm process"])
def test_nothing_is_left_when_something_is_killed(tmp_path, victim):
    (tmp_path / "notebook.ipynb").write_text("{}", encoding="utf-8")
    session = subprocess.Popen(
        [sys.executable, "-c", SESSION, str(tmp_path / "notebook.ipynb")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    pid, parent, folder = session.stdout.readline().split()
    assert session.stdout.readline() == "busy\n"
    child = int((tmp_path / "child").read_text())
    try:
        os.kill(session.pid if victim == "session" else int(parent), signal.SIGKILL)
        assert gone(int(pid)) and gone(int(parent))
        if victim == "session":
            assert gone(child) and not Path(folder).exists()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)  # A kernel that ends itself leaves it, a new one too.
        session.kill()
        session.communicate()
        shutil.rmtree(folder, ignore_errors=True)  # A warm process that is killed leaves it.


@forked
def test_a_warm_process_that_has_ended_is_one_korean_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv(warm.FOLDER_VARIABLE, str(tmp_path / "ended"))
    with pytest.raises(StudyError, match="FRESH=1"):
        run(tmp_path, "1")


# -- pytest ------------------------------------------------------------------------------------------------


@forked
def test_pytest_forks_and_keeps_a_notebook_together(tmp_path):
    pytest.importorskip("xdist", reason="pytest-xdist는 make practice가 설치합니다.")
    first = "import os\nassert os.getppid() != int(os.environ['JPY_PARENT_PID'])\ncount = 0"
    cells = [first] + [f"count += 1\nassert count == {number}" for number in range(1, 9)]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    for name in ("a", "b", "c"):
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    light = "from tf_study import warm\nwarm.IMAGES['tensorflow'] = ('numpy',)"
    (tmp_path / "light.py").write_text(light, encoding="utf-8")
    options = [
        "--nbval",
        "--nbval-current-env",
        "-q",
        "-n",
        "2",
        "-p",
        "tf_study.environment",
        "-p",
        "light",
        "-p",
        "conftest",
        "--rootdir",
        str(tmp_path),
    ]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", os.devnull, *options, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [ROOT, ROOT / "tests", tmp_path]))},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "27 passed" in result.stdout


def test_the_units_of_work(request):
    work_unit = request.config.pluginmanager.get_plugin(str(ROOT / "conftest.py")).work_unit
    grader = "tests/test_checks.py::test_wrong_answers_are_rejected[chapter05/ex01-convolution]"
    assert work_unit(grader) == "chapter05/ex01"
    assert work_unit("chapter01_basics/01_tensorflow_intro.ipynb::Cell 3").endswith("intro.ipynb")
    assert work_unit("tests/test_plots.py::test_hangul[chapter05/x]") == "tests/test_plots.py"
    assert work_unit("projects/project01_a/tests/test_b.py::test_c") == "projects/project01_a"
    assert (
        work_unit("projects/project01_a/walkthrough.ipynb::Cell 1")
        == "projects/project01_a/walkthrough.ipynb"
    )


def test_the_session_forks_where_it_can(request):
    assert STARTED == (request.config.option.nbval and warm.usable())
