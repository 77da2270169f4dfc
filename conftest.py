"""pytest configuration that cannot be said in pyproject.toml: how notebooks are compared, a browser, eager steps."""

import math
import os
import re
import shutil
import signal
from pathlib import Path

import pytest
from nbval.plugin import IPyNbCell, IPyNbFile

import nbval_approx
import nbval_kernel
import nbval_needs
from tf_study import environment, notebooks, warm, workers

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
)


def pytest_configure(config):
    # A shell starts what runs in the background (`nohup`, `&`) deaf to it; tests of interrupted commands send it.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    nbval_approx.install()
    nbval_kernel.install()
    # Set here because a path in addopts would be relative to the folder pytest is started in.
    if config.option.nbval_sanitize_with is None:
        config.option.nbval_sanitize_with = str(Path(__file__).parent / "tests" / "nbval_sanitize.cfg")
    # Units are dealt out as pytest_collection_modifyitems orders them, not by their number of tests.
    config.option.loadscopereorder = False
    # A worker has one core. The libraries' threads, one for each core there is, would wait for each other.
    if (getattr(config.option, "numprocesses", None) or 1) > 1:
        os.environ |= dict.fromkeys(workers.ONE_THREAD, "1") | dict(os.environ)
    if config.option.nbval and warm.usable() and not hasattr(config, "workerinput"):
        config.add_cleanup(warm.start())  # pytest-xdist's workers use what this one starts.


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Let a worker run in order what :func:`work_unit` puts together, whatever ``--dist`` says."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        _split_scope = staticmethod(work_unit)

    return Scheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Keep the libraries that the tests import, and the tests, out of the garbage collector's way."""
    with environment.uncollected():
        return (yield)


def pytest_collection_modifyitems(config, items):
    """With several workers, deal out the longest notebooks first, so that none is left alone with one at the end.

    What has no stored seconds, the package's tests and the graders', comes before them all.
    """
    if hasattr(config, "workerinput"):
        stored = {path.as_posix(): cost for path, cost in notebooks.seconds().items()}
        items.sort(key=lambda item: -stored.get(work_unit(item.nodeid), math.inf))


def work_unit(nodeid):
    """The practice whose graders a test is about, the project whose tests share models, else the test's file.

    A notebook is a file too.
    """
    shared = re.search(r"\[(chapter\d\d/ex\d\d)", nodeid) or re.match(r"(projects/\w+)/tests/", nodeid)
    return shared[1] if shared else nodeid.partition("::")[0]


def pytest_collectstart(collector):
    # What C++ libraries print on stderr differs between machines; a Python warning there is
    # caught when outputs are stored (rule clean_run in tests/notebook_rules).
    if isinstance(collector, IPyNbFile):
        collector.skip_compare += ("stderr",)
        collector.setup = warm.kernels(collector.path)(collector.setup)


def pytest_runtest_setup():
    # transformers sets it once a TensorFlow class of it is imported: tf.keras is Keras 2 in kernels started later.
    os.environ.pop("TF_USE_LEGACY_KERAS", None)


def pytest_itemcollected(item):
    if isinstance(item, IPyNbCell) and not nbval_needs.compared(item.cell.metadata.get("tags", [])):
        item.options["check"] = False


def pytest_terminal_summary(terminalreporter):
    # Quiet runs say nothing of what was skipped.
    for sentence in nbval_needs.sentences():
        terminalreporter.write_line(sentence)


@pytest.fixture
def eager():
    """No graphs: to build one takes seconds, a few steps without take none."""
    from tf_study.checks.eager import eagerly

    with eagerly():
        yield


@pytest.fixture
def page():
    """An empty page of a headless Chromium or Chrome (playwright's ``Page``); skips where there is none."""
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip("Chromium이 없습니다.")
    reason = "브라우저를 움직이는 playwright는 make practice가 설치합니다."
    sync_playwright = pytest.importorskip("playwright.sync_api", reason=reason).sync_playwright
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=BROWSER_FLAGS)
        yield browser.new_page()
        browser.close()
