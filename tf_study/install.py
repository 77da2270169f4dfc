"""Makes the virtual environment and installs the course in it. Needs nothing but Python.

python -m tf_study.install VENV [base|dev|advanced|beam]

It may be killed at any moment and started again, twice at a time too: a step counts as done only when a file
written after it says so.
"""

import argparse
import functools
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tf_study import cli, curriculum
from tf_study.errors import StudyError

ROOT = curriculum.ROOT
KERNEL = "tf_study"
GROUPS = {"base": ".", "dev": ".[dev]", "advanced": ".[dev,advanced]"}  # each with those before it
# Apache Beam needs other versions of three packages, so it has an environment of its own, without the course.
BEAM = ("apache-beam", "google-crc32c", "kiwipiepy", "datasketch", "tqdm")
MADE = ".made"  # The environment itself is whole.
# The kernel's only warning says in English that others on this machine could listen.
KERNEL_CONFIG = "c.IPKernelApp.log_level = 40\n"

Run = Callable[..., subprocess.CompletedProcess]


def install(venv: Path, group: str) -> None:
    """Bring the environment up to date.

    Args:
        venv: its folder.
        group: a key of :data:`GROUPS`, or "beam", in an environment of its own.

    Raises:
        StudyError: if this Python will not do, or a step fails; what was done stays.
    """
    if sys.version_info[:2] != (3, 11):
        raise StudyError(
            f"Python {sys.version.split()[0]}으로는 만들 수 없으니 Python 3.11을 설치하고 다시 실행하세요."
        )
    with cli.locked(
        ROOT / "build" / "install.lock", "다른 창에서 환경을 만들고 있어 끝나기를 기다립니다."
    ) as lock:
        # A child that outlives this process goes on holding the lock.
        run = functools.partial(subprocess.run, cwd=ROOT, pass_fds=(lock,))
        venv = venv.absolute()
        if not _is_whole(venv):
            _make(venv, run)
        if not _has(venv, group, _key(group)):
            _install_packages(venv, group, run)
        if group in GROUPS:
            _register_kernel(venv, run)


def _is_whole(venv: Path) -> bool:
    """Return whether the environment was made to its end and its Python still starts."""
    if not any((venv / name).exists() for name in (MADE, *(f".{group}" for group in (*GROUPS, "beam")))):
        return False
    try:
        return subprocess.run([venv / "bin" / "python", "-c", ""], stderr=subprocess.DEVNULL).returncode == 0
    except OSError:  # The Python that it points to is gone.
        return False


def _make(venv: Path, run: Run) -> None:
    if not (venv / "pyvenv.cfg").exists() and any(path.is_file() for path in venv.rglob("*")):
        raise StudyError(f"{venv}에 다른 파일이 있으니 옮기거나 VENV=새폴더를 덧붙여 다시 실행하세요.")
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        raise StudyError(
            "이 Python에는 가상 환경을 만드는 venv가 없으니 python3.11-venv 패키지를 설치하고 다시 실행하세요."
        )
    print(f"가상 환경 {venv.name}을(를) 만듭니다.", flush=True)
    done = run([sys.executable, "-m", "venv", "--clear", venv], capture_output=True, text=True)
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
        raise StudyError(
            f"{venv}에 가상 환경을 만들지 못했으니 위의 오류와 남은 공간을 확인하고 다시 실행하세요."
        )
    (venv / MADE).touch()


def _pins() -> str:
    """Return what the installed packages depend on."""
    names = ("pyproject.toml", "constraints.txt", "constraints-beam.txt")
    return hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in names)).hexdigest()


def _key(group: str) -> str:
    """Return what a group depends on: the pins, and this folder, which is installed too, except with Beam."""
    return f"{_pins()} {ROOT}\n" if group in GROUPS else _pins()


def _has(venv: Path, group: str, key: str) -> bool:
    """Return whether what was installed of a group, and from where, begins with ``key``."""
    stamp = venv / f".{group}"
    return stamp.exists() and stamp.read_text("utf-8").startswith(key)


def _install_packages(venv: Path, group: str, run: Run) -> None:
    _forget_halves(venv)
    size = "몇 GB를 내려받아 몇 분" if group in GROUPS else "몇백 MB를 내려받아 1분쯤"
    print(
        f"패키지를 설치합니다. 처음에는 {size} 걸리고, 마지막에는 한동안 아무것도 보이지 않습니다.",
        flush=True,
    )
    pip = [venv / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install"]
    environment = {**os.environ, "DS_BUILD_OPS": "0"}  # DeepSpeed's kernels are not compiled beforehand.
    what = ["-e", GROUPS[group]] if group in GROUPS else BEAM
    if group in GROUPS and _has(venv, group, _pins()):  # Only the folder is another.
        what = ["--no-deps", *what]
    pins = "constraints.txt" if group in GROUPS else _beam_constraints()
    if run([*pip, "-c", pins, *what], env=environment).returncode:
        raise StudyError(
            "패키지를 설치하지 못했으니 위의 오류와 인터넷 연결, 남은 공간을 확인하고 다시 실행하세요."
        )
    if group in GROUPS:
        config = venv / "etc" / "ipython" / "ipython_kernel_config.py"
        cli.write(config, lambda part: part.write_text(KERNEL_CONFIG))
    done = list(GROUPS)[: list(GROUPS).index(group) + 1] if group in GROUPS else [group]
    for name in done:
        cli.write_text(venv / f".{name}", _key(name))


def _beam_constraints() -> Path:
    """Write the pins of Beam's environment, the course's except where ``constraints-beam.txt`` differs."""
    own = (ROOT / "constraints-beam.txt").read_text("utf-8").splitlines()
    names = {line.split("==")[0] for line in own}
    rest = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    path = ROOT / "build" / "constraints-beam.txt"
    lines = own + [line for line in rest if line.split("==")[0] not in names]
    cli.write_text(path, "\n".join(lines) + "\n")
    return path


def _forget_halves(venv: Path) -> None:
    """Remove the records of packages that pip was killed over: it would take them for whole."""
    for site in venv.glob("lib/python*/site-packages"):
        for record in site.glob("*.dist-info"):
            if not (record / "RECORD").exists():  # Written last.
                shutil.rmtree(record)
        for rest in site.glob("~*"):
            shutil.rmtree(rest) if rest.is_dir() else rest.unlink()


def _register_kernel(venv: Path, run: Run) -> None:
    command = [venv / "bin" / "python", "-m", "ipykernel", "install", "--user", "--name", KERNEL]
    done = run([*command, "--display-name", f"Python ({KERNEL})"], capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip() or "알 수 없는 오류").splitlines()[-1]
        raise StudyError(
            f"Jupyter 커널을 등록하지 못했으니 홈 폴더({Path.home()})에 쓸 수 있는지 확인하고 "
            f"다시 실행하세요 ({reason})."
        )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = cli.Parser(prog="python -m tf_study.install", description="가상 환경에 과정을 설치합니다.")
    parser.add_argument("venv", type=Path, metavar="폴더", help="가상 환경의 폴더")
    parser.add_argument(
        "group",
        nargs="?",
        choices=[*GROUPS, "beam"],
        default="base",
        metavar="묶음",
        help="base, dev, advanced, beam",
    )
    options: argparse.Namespace = parser.parse_args(arguments)
    return cli.run(
        lambda: install(options.venv, options.group), "중단했으니 다시 실행하면 이어서 설치합니다."
    )


if __name__ == "__main__":
    sys.exit(main())
