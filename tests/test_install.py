"""How the environment is made, with everything real but the packages."""

import os
import shutil
import subprocess
import sys
import time

import pytest

from tf_study import curriculum, install
from tf_study.errors import StudyError

ROOT = curriculum.ROOT
# A folder without packages takes the place of the course.
EMPTY = """
import pathlib, sys
from tf_study import install
install.ROOT = pathlib.Path(sys.argv[1])
install._install_packages = lambda venv, group, run: print("packages", flush=True)
install._register_kernel = lambda venv, run: None
sys.exit(install.main([sys.argv[2]]))
"""


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder with a project definition, in the place of the repository."""
    monkeypatch.setattr(install, "ROOT", copied(ROOT, tmp_path))
    return tmp_path


def copied(root, folder):
    """Copy the project definition to a folder and return that."""
    folder.mkdir(exist_ok=True)
    for name in ("pyproject.toml", "constraints.txt", "constraints-beam.txt"):
        shutil.copy(root / name, folder)
    return folder


@pytest.fixture
def ran(monkeypatch):
    """Let every command succeed without running it; return the list of them."""
    commands = []

    def run(command, **options):
        commands.append([str(part) for part in command])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(install.subprocess, "run", run)
    return commands


def start(root, venv):
    command = [sys.executable, "-c", EMPTY, str(root), str(venv)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path):
    for _ in range(3000):
        if path.exists():
            return
        time.sleep(0.01)
    raise AssertionError(f"{path} did not appear")


def test_killed_while_it_is_made_and_then_started_twice_at_once(root, tmp_path):
    venv = tmp_path / "가상 환경"
    first = start(root, venv)
    wait_for(venv / "bin" / "python")
    first.kill()
    first.communicate()
    # What the first began goes on without it and holds the lock.
    both = [start(root, venv) for _ in range(2)]
    outs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("을(를) 만듭니다" in out for out in outs) == 1
    assert all("끝나기를 기다립니다" in out and "packages" in out for out in outs)
    subprocess.run([venv / "bin" / "python", "-m", "pip", "--version"], check=True, capture_output=True)


def test_packages_are_installed_once_and_again_after_the_pins_change(root, ran, tmp_path):
    venv = tmp_path / "venv"
    venv.mkdir()
    (venv / install.MADE).touch()

    def pip_calls(group):
        ran.clear()
        install.install(venv, group)
        return [command[-1] for command in ran if "pip" in command]

    assert pip_calls("dev") == [".[dev]"]
    config = venv / "etc" / "ipython" / "ipython_kernel_config.py"
    assert "log_level" in config.read_text(), "the kernel is not to warn in English"
    assert pip_calls("base") == pip_calls("dev") == []
    assert pip_calls("advanced") == [".[dev,advanced]"]
    with open(root / "constraints.txt", "a") as file:
        file.write("# new\n")
    assert pip_calls("base") == ["."]
    assert pip_calls("dev") == [".[dev]"]
    install.ROOT = copied(root, tmp_path / "elsewhere")
    assert pip_calls("dev") == [".[dev]"], "the course itself is installed from another folder now"
    assert any("--no-deps" in command for command in ran), "which changes nothing about what it depends on"
    with open(install.ROOT / "constraints.txt", "a") as file:
        file.write("# newer\n")
    assert pip_calls("dev") == [".[dev]"] and not any("--no-deps" in command for command in ran)


def test_beam_has_an_environment_of_its_own_with_the_course_s_other_pins(root, ran, tmp_path):
    venv = tmp_path / "venv-beam"
    venv.mkdir()
    (venv / install.MADE).touch()
    install.install(venv, "beam")
    (command,) = [command for command in ran if "pip" in command]
    assert command[-5:] == list(install.BEAM)
    pins = (root / "build" / "constraints-beam.txt").read_text("utf-8").splitlines()
    names = [line.split("==")[0] for line in pins if line and not line.startswith("#")]
    assert len(set(names)) == len(names) and "numpy" in names and "pillow==12.3.0" in pins
    ran.clear()
    install.ROOT = copied(root, tmp_path / "elsewhere")
    install.install(venv, "beam")
    assert not [command for command in ran if "pip" in command], "it does not hold the course"


def test_a_package_that_pip_was_killed_over_is_installed_again(root, ran, tmp_path):
    site = tmp_path / "venv" / "lib" / "python3.11" / "site-packages"
    for name in ("whole-1.dist-info", "half-1.dist-info", "~umpy"):
        (site / name).mkdir(parents=True)
        (site / name / "METADATA").touch()
    (site / "whole-1.dist-info" / "RECORD").touch()
    (tmp_path / "venv" / install.MADE).touch()
    install.install(tmp_path / "venv", "base")
    assert [path.name for path in site.iterdir()] == ["whole-1.dist-info"]


def test_an_environment_whose_python_is_gone_is_made_anew(root, tmp_path, monkeypatch):
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "pyvenv.cfg").touch()
    (venv / ".base").touch()
    (venv / "bin" / "python").symlink_to(sys.executable)
    assert install._is_whole(venv)
    (venv / "bin" / "python").unlink()
    (venv / "bin" / "python").symlink_to(tmp_path / "gone")
    assert not install._is_whole(venv)
    commands = []

    def run(command, **options):
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    install._make(venv, run)
    assert commands == [[sys.executable, "-m", "venv", "--clear", venv]]


def test_a_folder_of_other_files_is_not_cleared(root, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "diary.txt").touch()
    with pytest.raises(StudyError, match="다른 파일이 있으니"):
        install.install(tmp_path / "files", "base")
    assert (tmp_path / "files" / "diary.txt").exists()


@pytest.mark.parametrize("missing", ["venv", "ensurepip"])
def test_a_python_without_venv_is_one_sentence(root, tmp_path, monkeypatch, missing):
    find = install.importlib.util.find_spec
    monkeypatch.setattr(
        install.importlib.util, "find_spec", lambda name: None if name == missing else find(name)
    )
    with pytest.raises(StudyError, match="python3.11-venv 패키지를 설치하고"):
        install.install(tmp_path / "venv", "base")


def test_another_python_is_one_sentence(root, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 12, 1))
    with pytest.raises(StudyError, match="Python 3.11을 설치하고"):
        install.install(tmp_path / "venv", "base")


@pytest.mark.parametrize(
    ("step", "said"), [("pip", "패키지를 설치하지 못했으니"), ("ipykernel", "홈 폴더.*쓸 수 있는지 확인하고")]
)
def test_a_step_that_fails_is_one_sentence_and_is_taken_again(root, ran, tmp_path, monkeypatch, step, said):
    venv = tmp_path / "venv"
    venv.mkdir()
    (venv / install.MADE).touch()
    works = install.subprocess.run

    def fails(command, **options):
        done = works(command, **options)
        if step in command:
            done.returncode, done.stderr = 1, "Traceback ...\nOSError: Read-only file system"
        return done

    monkeypatch.setattr(install.subprocess, "run", fails)
    for _ in range(2):
        ran.clear()
        with pytest.raises(StudyError, match=said) as caught:
            install.install(venv, "base")
        assert "\n" not in str(caught.value) and any(step in command for command in ran)


def find_python(tmp_path, programs, **variables):
    """Run tools/python where only ``programs`` (name → script) are on the path, besides those of the shell."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "env"):
        (folder / name).symlink_to(shutil.which(name))
    for name, script in programs.items():
        (folder / name).write_text(f"#!{shutil.which('sh')}\n{script}\n")
        (folder / name).chmod(0o755)
    environment = {"PATH": str(folder), "VENV": str(tmp_path / "venv"), **variables}
    return subprocess.run([ROOT / "tools" / "python"], env=environment, capture_output=True, text=True)


REAL = f'exec "{sys.executable}" "$@"'


def test_the_right_python_is_found(tmp_path):
    done = find_python(tmp_path, {"python3.11": "exit 127", "python3": REAL})
    assert (done.returncode, done.stdout, done.stderr) == (0, "python3\n", "")


def test_uv_gets_a_python_where_there_is_none(tmp_path):
    install_it = f'cp \'{tmp_path}/python\' "$0.python"; : > "$0.done"'
    (tmp_path / "python").write_text(f"#!{shutil.which('sh')}\n{REAL}\n")
    (tmp_path / "python").chmod(0o755)
    uv = f"""
case "$1 $2" in
"python find") test -e "$0.done" && echo "$0.python" ;;
"python install") PATH={os.environ["PATH"]}; {install_it} ;;
esac"""
    done = find_python(tmp_path, {"uv": uv, "python3": "exit 1"})
    assert done.returncode == 0 and done.stdout == f"{tmp_path}/bin/uv.python\n"
    assert done.stderr == "Python 3.11이 없어 uv로 내려받습니다.\n"


@pytest.mark.parametrize(
    ("programs", "variables", "said"),
    [
        ({"python3": "exit 1"}, {}, "Python 3.11이 없으니 설치하거나, uv를 설치하고 다시 실행하세요"),
        ({"uv": "exit 1"}, {}, "uv로 Python 3.11을 받지 못했으니 인터넷 연결을 확인하거나"),
        ({"python3.11": REAL, "new": "exit 1"}, {"PYTHON": "new"}, "PYTHON=new 은 Python 3.11이 아니니"),
    ],
)
def test_no_right_python_is_one_sentence(tmp_path, programs, variables, said):
    done = find_python(tmp_path, programs, **variables)
    assert done.returncode == 1 and done.stdout == "" and said in done.stderr.splitlines()[-1]
