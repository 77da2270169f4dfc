"""The tag ``approx:<tol>``, alone and through ``pytest --nbval`` as it is typed."""

import os
import re
import subprocess
import sys

import nbformat
import pytest

import nbval_needs
from nbval_approx import reconcile, tolerance
from tf_study import curriculum, notebooks
from tf_study.pretrained import catalog


@pytest.mark.parametrize(
    ("computed", "stored"),
    [
        ("정확도 0.93", "정확도 0.91"),
        ("손실 1,210.0, 3개", "손실 1,234.5, 3개"),
        ("[ 1.00 -0.01]", "[1.02  0.02]"),
        ("모양 (2, 3), 오차 3e-07", "모양 (2, 3), 오차 1e-9"),
        ("12.4% 1.", "12.1% 1."),
    ],
)
def test_close_numbers_become_those_stored(computed, stored):
    assert reconcile(computed, stored, 0.05) == (stored, [])


@pytest.mark.parametrize(
    ("computed", "stored"),
    [
        ("정확도 0.85", "정확도 0.91"),
        ("손실 1,100", "손실 1,234"),
        ("모양 (2, 3)", "모양 (2, 4)"),
        ("5", "-5"),
    ],
)
def test_numbers_apart_are_both_named(computed, stored):
    text, wrong = reconcile(computed, stored, 0.05)
    assert text == computed and len(wrong) == 1
    assert computed.split()[-1].strip("()") in wrong[0] and stored.split()[-1].strip("()") in wrong[0]


@pytest.mark.parametrize(
    ("computed", "stored"),
    [("정확도 0.91", "정밀도 0.91"), ("0.91", "0.91 0.92"), ("nan", "0.91"), ("float16 1", "float32 1")],
)
def test_other_text_is_left_to_the_exact_comparison(computed, stored):
    assert reconcile(computed, stored, 0.05) == (computed, [])


def test_tolerance():
    assert tolerance(["formula:x", "approx:0.05"]) == 0.05
    assert tolerance(["formula:x"]) is None
    for tag in ("approx:0", "approx:2", "approx:"):
        with pytest.raises(ValueError):
            tolerance([tag])


def run_cells(tmp_path, cells, **variables):
    """Run ``pytest --nbval`` on cells (source, stored text, tags, ...); return its output and each cell's mark."""
    notebook = nbformat.v4.new_notebook()
    for count, (source, stored, tags, *_) in enumerate(cells, start=1):
        cell = nbformat.v4.new_code_cell(source, execution_count=count, metadata={"tags": tags})
        if stored:
            cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=stored + "\n")]
        notebook.cells.append(cell)
    notebooks.write(notebook, tmp_path / "cells.ipynb")
    root = str(curriculum.ROOT)
    command = [sys.executable, "-m", "pytest", "--nbval", "-q", "-rA", "--color=no"]
    command += ["-p", "no:cacheprovider", "-p", "conftest"]
    command += ["--rootdir", root, "-c", f"{root}/pyproject.toml", str(tmp_path / "cells.ipynb")]
    environment = {**os.environ, "PYTHONPATH": root, "FRESH": "1", **variables}
    run = subprocess.run(command, capture_output=True, text=True, cwd=root, env=environment)
    marks = re.findall(r"^(PASSED|FAILED) .*Cell (\d+)", run.stdout, re.M)
    return run.stdout + run.stderr, {int(number): mark for mark, number in marks}


MODEL = "if pretrained.available('efficientnet_lite0'):\n    print('파라미터 4,652,008개')"
BUILT = "if cuda.available():\n    print('섹터 4개')"


def test_pytest_nbval_compares_what_can_be_compared_within_the_tolerance(tmp_path):
    """One notebook, one run without models and a compiler: which cells fail, and what is said of them."""
    measure = "print('정확도 0.91')"
    check = "verify.close('이름', 1 + 1e-9, 1.0)"
    cells = (
        ("from tf_study import cuda, pretrained, verify", "", [], True),
        (measure, "정확도 0.93", ["approx:0.05"], True),
        (measure, "정확도 0.99", ["approx:0.05"], False),
        (measure, "정확도 0.93", [], False),
        (check, "[검증] 이름: 최대 오차 3e-08 (허용 1e-06)", [], True),
        (check, "[검증] 이름: 최대 오차 3e-08 (허용 1e-05)", [], False),
        (MODEL, "파라미터 4,652,008개", ["model:efficientnet_lite0"], True),
        (MODEL, "파라미터 4,652,008개", [], False),
        ("raise ValueError", "", ["model:efficientnet_lite0"], False),
        (BUILT, "섹터 4개", ["compiler"], True),
        (BUILT, "섹터 4개", [], False),
        ("raise ValueError", "", ["compiler"], False),
    )
    nothing = {
        "TF_STUDY_CACHE": str(tmp_path / "cache"),
        "TF_STUDY_DATA": "",
        "PATH": str(tmp_path),
        "CXX": "",
    }
    out, marks = run_cells(tmp_path, cells, **nothing)
    assert marks == {number: "PASSED" if cell[3] else "FAILED" for number, cell in enumerate(cells)}, out
    assert "저장된 수 0.99, 나온 수 0.91" in out
    assert re.search("efficientnet_lite0.* 모델이 없어 그 모델의 시험과 셀을 비교하지 않았으니", out)
    assert "C++ 컴파일러가 없어 그것이 필요한 셀을 비교하지 않았으니" in out


def test_a_cell_of_a_model_that_is_here_is_compared(tmp_path, monkeypatch):
    monkeypatch.setenv("TF_STUDY_CACHE", str(tmp_path))
    monkeypatch.setenv("TF_STUDY_DATA", "")
    tags = ["approx:0.05", "model:efficientnet_lite0"]
    assert nbval_needs.compared(["approx:0.05"]) and not nbval_needs.compared(tags)
    (model,) = (model for model in catalog.CATALOG if model.name == "efficientnet_lite0")
    (tmp_path / "models").mkdir()
    for file in model.files:  # Of the right size: enough to be here.
        with open(tmp_path / "models" / file.name, "wb") as content:
            content.truncate(file.size)
    assert nbval_needs.compared(tags)
    assert not nbval_needs.compared([*tags, "model:e5_small"])


def test_a_cell_that_needs_onednn_is_compared_where_tensorflow_uses_it(monkeypatch):
    monkeypatch.setattr(nbval_needs.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(nbval_needs.sys, "platform", "linux")
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    assert nbval_needs.compared(["onednn"])
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert not nbval_needs.compared(["onednn"]) and nbval_needs.compared([])
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    monkeypatch.setattr(nbval_needs.sys, "platform", "darwin")
    assert not nbval_needs.compared(["onednn"])


def test_a_cell_that_needs_a_compiler_is_compared_where_there_is_one(monkeypatch):
    assert nbval_needs.compared(["compiler"]) == (nbval_needs.builder.compiler() is not None)
    monkeypatch.setattr(nbval_needs.builder, "compiler", lambda: "c++")
    assert nbval_needs.compared(["compiler"])
    monkeypatch.setattr(nbval_needs.builder, "compiler", lambda: None)
    assert not nbval_needs.compared(["compiler"]) and nbval_needs.compared([])
