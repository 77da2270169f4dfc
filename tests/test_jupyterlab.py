"""The way a learner comes in: JupyterLab in a real browser, the course's kernel, a cell run.

Skipped where no Chromium or Chrome is installed.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from ipykernel import kernelspec

from tf_study import curriculum, notebooks


@pytest.fixture
def lab(tmp_path):
    """Start JupyterLab on one small notebook; yield the process, its address and the notebook's path."""
    pytest.importorskip("playwright", reason="playwright는 make practice가 설치합니다.")  # which page needs
    environment = dict(os.environ)
    for name in ("JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        environment[name] = str(tmp_path / name)
    environment["JUPYTER_PATH"] = str(tmp_path / "kernel" / "share" / "jupyter")
    kernelspec.install(
        prefix=str(tmp_path / "kernel"), kernel_name="tf_study", display_name="Python (tf_study)"
    )
    first = notebooks.read(curriculum.ROOT / curriculum.notebooks()[0].path)
    cell = next(cell for cell in first.cells if cell.cell_type == "code")
    cell.source = 'import tf_study\n\nprint("실행됨", tf_study.__name__)'
    cell.outputs = []
    first.cells = [cell]
    folder = tmp_path / "홍길동" / "공부 폴더"  # as in the home of many learners
    notebooks.write(first, folder / "first.ipynb")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.port={port}"]
        + ["--ServerApp.ip=127.0.0.1", "--IdentityProvider.token=", f"--ServerApp.root_dir={folder}"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield server, f"http://127.0.0.1:{port}", folder / "first.ipynb"
    finally:
        server.terminate()
        server.wait(20)


def wait(server, address):
    """Wait until JupyterLab answers."""
    for _ in range(600):
        try:
            return urllib.request.urlopen(f"{address}/api/status", timeout=1).close()
        except OSError:
            assert server.poll() is None, "JupyterLab이 시작되지 않았습니다."
            time.sleep(0.1)


def test_jupyterlab_finds_the_kernel_and_runs_a_cell(lab, page):
    from playwright.sync_api import expect

    server, address, path = lab  # It starts while the browser does.
    wait(server, address)
    with urllib.request.urlopen(f"{address}/api/kernelspecs") as reply:
        assert json.load(reply)["kernelspecs"]["tf_study"]["spec"]["display_name"] == "Python (tf_study)"
    page.goto(f"{address}/lab/tree/{path.name}?reset")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
    expect(page.locator(".jp-KernelName")).to_contain_text("Python (tf_study)", timeout=60_000)
    idle = page.get_by_role("button", name="Python (tf_study) | Idle")
    expect(idle).to_be_visible(timeout=60_000)  # a cell run before the kernel is connected is dropped
    page.locator(".jp-CodeCell .jp-Editor").first.click()
    page.keyboard.press("Shift+Enter")
    output = page.locator(".jp-OutputArea-output", has_text="실행됨 tf_study")
    expect(output).to_be_visible(timeout=90_000)
    if picture := os.environ.get("TF_STUDY_SCREENSHOT"):
        page.screenshot(path=picture)
