import os
import re
import subprocess
import sys

import pytest

import main
from tf_study import curriculum, doctor, notebooks

ROOT = curriculum.ROOT


def run_main(*arguments, **variables):
    return subprocess.run(
        [sys.executable, "main.py", *arguments],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )


def test_check_prints_the_tensorflow_version_first_and_succeeds():
    result = run_main()
    lines = result.stdout.splitlines()
    assert result.returncode == 0, result.stdout
    assert re.fullmatch(r"tensorflow_version : 2\.\d+\.\d+", lines[0])
    assert all(line.startswith(("[OK]", "[없음]")) for line in lines[1:-1])
    assert "프로필: small" in result.stdout and "Java" in result.stdout and "글꼴" in result.stdout
    assert result.stderr == ""


def test_wrong_profile_is_one_line():
    result = run_main("list", TF_STUDY_PROFILE="tiny")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1 and "small 또는 full" in result.stderr


def test_list_shows_every_built_notebook_and_the_progress(capsys, monkeypatch):
    monkeypatch.setattr(notebooks, "marks", lambda notebook: ["✅", "⬜"])
    assert main.main(["list"]) == 0
    out = capsys.readouterr().out
    for item in curriculum.notebooks():
        assert str(item.path) in out
    assert "✅⬜" in out and "17장" in out


def test_a_missing_required_package_fails_the_check(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "scipy" else "1.0")
    assert doctor.run() == 1
    out = capsys.readouterr().out
    assert "[없음] scipy → make study를 실행하세요." in out


def test_a_missing_advanced_package_does_not_fail_the_check(monkeypatch, capsys):
    present = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "torch" else present(name))
    assert doctor.run() == 0
    assert (
        "[없음] torch → 7장부터 참조 구현과 비교하는 데 필요하니 make advanced를 실행하세요."
        in capsys.readouterr().out
    )


def test_packages_of_other_platforms_are_not_asked_for():
    names = [finding.text for finding in doctor.packages("base")]
    assert any(name.startswith("tensorflow-metal") for name in names) == (sys.platform == "darwin")


def test_a_kernel_that_is_not_registered(monkeypatch, tmp_path):
    from jupyter_client import kernelspec

    monkeypatch.setattr(kernelspec.KernelSpecManager, "kernel_dirs", [str(tmp_path)])
    finding = doctor.kernel()
    assert not finding.good and "ipykernel install" in finding.remedy


def test_no_java(monkeypatch):
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert not doctor.java().good


def test_the_device_comparison_agrees_with_itself():
    errors = doctor.gpu_errors("/CPU:0")
    assert set(errors) == {"Dense-relu", "Conv2D", "LSTM"} and max(errors.values()) == 0.0


@pytest.mark.parametrize(("error", "good"), [(1e-6, True), (0.5, False), (float("nan"), False)])
def test_a_gpu_that_computes_differently_is_reported(monkeypatch, error, good):
    import tensorflow as tf

    device = type("Device", (), {"name": "/physical_device:GPU:0"})
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [device])
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [device])
    monkeypatch.setattr(doctor, "gpu_errors", lambda name: {"Dense-relu": error, "LSTM": 0.0})
    finding = list(doctor.gpu())[-1]
    assert finding.good == good
    assert good or ("Dense-relu" in finding.text and "TF_STUDY_DEVICE=cpu" in finding.remedy)


def test_full_disk(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1e9}))
    assert not doctor.disk().good


@pytest.mark.parametrize(
    ("variables", "platform", "screen"),
    [
        ({"CI": "true", "DISPLAY": ":0"}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({}, "linux", False),
        ({}, "darwin", True),
    ],
)
def test_screen(monkeypatch, variables, platform, screen):
    for name in ("CI", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert main._has_screen() == screen
