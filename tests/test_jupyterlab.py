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

from tf_study import curriculum, notebooks


@pytest.fixture
def lab(tmp_path):
    """Start JupyterLab on one small notebook; yield its address and the notebook's path."""
    environment = dict(os.environ)
    for name in ("JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        environment[name] = str(tmp_path / name)
    environment["JUPYTER_PATH"] = str(tmp_path / "kernel" / "share" / "jupyter")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "ipykernel",
            "install",
            "--prefix",
            str(tmp_path / "kernel"),
            "--name",
            "tf_study",
        ]
        + ["--display-name", "Python (tf_study)"],
        check=True,
        capture_output=True,
    )
    first = notebooks.read(curriculum.ROOT / curriculum.notebooks()[0].path)
    setup = next(cell for cell in first.cells if cell.cell_type == "code")
    first.cells = [setup]
    setup.source += '\nimport tensorflow as tf\nprint("실행됨", tf.reduce_sum(tf.range(5)).numpy())'
    setup.outputs = []
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
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{address}/api/status", timeout=1).close()
                break
            except OSError:
                assert server.poll() is None, "JupyterLab이 시작되지 않았습니다."
                time.sleep(0.1)
        yield address, folder / "first.ipynb"
    finally:
        server.terminate()
        server.wait(20)


def test_jupyterlab_finds_the_kernel_and_runs_a_cell(page, lab):
    from playwright.sync_api import expect

    address, path = lab
    with urllib.request.urlopen(f"{address}/api/kernelspecs") as reply:
        assert json.load(reply)["kernelspecs"]["tf_study"]["spec"]["display_name"] == "Python (tf_study)"
    page.goto(f"{address}/lab/tree/{path.name}?reset")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
    expect(page.locator(".jp-KernelName")).to_contain_text("Python (tf_study)", timeout=60_000)
    idle = page.get_by_role("button", name="Python (tf_study) | Idle")
    expect(idle).to_be_visible(timeout=60_000)  # a cell run before the kernel is connected is dropped
    page.locator(".jp-CodeCell .jp-Editor").first.click()
    page.keyboard.press("Shift+Enter")
    output = page.locator(".jp-OutputArea-output", has_text="실행됨 10")
    expect(output).to_be_visible(timeout=90_000)
    if picture := os.environ.get("TF_STUDY_SCREENSHOT"):
        page.screenshot(path=picture)
