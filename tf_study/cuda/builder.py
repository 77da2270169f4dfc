"""From a CUDA C++ source to a shared library, for the emulator or with nvcc, kept by content.

What has been built once is found again in ``build/cuda`` of the repository, or in the folder that
``TF_STUDY_CUDA_CACHE`` names. The file's name is a hash of everything that decides its content, so there is no
stale library, and a finished file is moved into place in one step, so two processes may build the same source.
"""

import contextlib
import functools
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tf_study import curriculum, environment
from tf_study.cuda import gpu, sites, translate
from tf_study.errors import StudyError

CACHE_VARIABLE = "TF_STUDY_CUDA_CACHE"
BACKENDS = ("emulator", "nvcc")
HERE = Path(__file__).parent
SOURCE = "kernel.cu"  # how the compiler's messages name the learner's source

# The same numbers on every machine: no instructions of this processor only, no fused multiply-add.
_FLAGS = (
    "-std=c++17",
    "-fPIC",
    "-ffp-contract=off",
    "-fno-semantic-interposition",
    "-fno-threadsafe-statics",
    "-U_FORTIFY_SOURCE",
    "-w",
)
_TRACED = ("-O1", "-fsanitize=thread", "-g1", "-DCUDA_EMULATOR_TRACE=1")
# Reading the symbols of the C++ library takes the linker longer than everything else; few sources need it. What gcc
# traces names the library's handler of exceptions in every function; where none is thrown nobody calls it.
_QUICK = ("-nodefaultlibs", "-Wl,-z,defs,--defsym=__gxx_personality_v0=0", "-lm", "-lc", "-lgcc_s")
_LINKS = ((),) if sys.platform == "darwin" else (_QUICK, ())
REMEDY = {
    "darwin": "터미널에서 xcode-select --install을 실행하세요",
    "win32": "WSL 안에서 이 과정을 실행하세요",
}.get(sys.platform, "apt install g++(다른 배포판에서는 gcc-c++)를 실행하세요")


class Compiler(NamedTuple):
    """A C++ compiler that runs: its command, what ``--version`` says, and whether it is a clang."""

    command: tuple[str, ...]
    version: str
    clang: bool


def compiler() -> Compiler | None:
    """Return ``$CXX``, g++, clang++ or c++, whichever runs first; ``None`` without any."""
    return _compiler(os.environ.get("CXX", ""), os.environ.get("PATH", ""))


@functools.cache
def _compiler(chosen: str, path: str) -> Compiler | None:
    """The variables are arguments so that a change of theirs is noticed."""
    for command in (tuple(shlex.split(chosen)), ("g++",), ("clang++",), ("c++",)):
        if not command or shutil.which(command[0], path=path) is None:
            continue
        try:
            done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            continue  # macOS has a g++ that only says what to install
        return Compiler(command, done.stdout, "clang" in done.stdout)
    return None


def available() -> bool:
    """Return whether CUDA sources can be built here; if not, print what is skipped and the remedy."""
    if gpu_chosen():
        return True
    found = compiler()
    if found is not None:
        try:
            runtime(found)
            return True
        except StudyError as error:
            print(f"[생략] C++ 컴파일러가 에뮬레이터를 만들지 못해 CUDA 소스를 실행하지 않았습니다. {error}")
            return False
    print(f"[생략] C++ 컴파일러가 없어 CUDA 소스를 실행하지 않았으니 {REMEDY}.")
    return False


def gpu_chosen() -> bool:
    """Return whether sources run on a GPU: asked for by ``TF_STUDY_DEVICE``, with a driver and nvcc there."""
    return environment.device() == "gpu" and gpu.has_gpu() and gpu.nvcc() is not None


def library(
    source: str,
    *,
    trace: bool = False,
    backend: str | None = None,
    kernels: Sequence[str] = (),
    flags: Sequence[str] = (),
    host_memory: bool = False,
) -> Path:
    """Build a shared library from a CUDA source and return its path.

    :func:`tf_study.cuda.build` is this and the calls from Python; alone it serves ``tf.load_op_library``.

    Args:
        source: CUDA C++.
        trace: make the accesses of its kernels visible (emulator only).
        backend: ``"emulator"`` or ``"nvcc"``; ``None`` is the former, the latter where a GPU was chosen.
        kernels: instances of template kernels to launch by name, such as ``"tiled<16>"``.
        flags: more for the compiler and linker, such as those of ``tf.sysconfig``.
        host_memory: kernels may follow pointers to the host's memory (emulator only), as the CPU kernel of a
            TensorFlow op must.

    Raises:
        StudyError: if the source has an error (with its line), or nothing can be built here.
    """
    if backend not in (None, *BACKENDS):
        raise StudyError(f"backend={backend!r}라는 것은 없으니 emulator나 nvcc로 바꾸세요.")
    if backend == "nvcc" and trace:
        raise StudyError(
            '메모리 접근은 에뮬레이터에서만 기록하니 trace=True와 backend="nvcc" 가운데 하나를 빼세요.'
        )
    if backend == "nvcc" or (backend is None and not trace and gpu_chosen()):
        return _nvcc(source, kernels, flags)
    return _emulator(source, trace, kernels, flags, host_memory)


def exports(source: str, kernels: Sequence[str] = ()) -> translate.Names:
    """Return what Python can call, in the order of the numbers that the built library gives them."""
    found = translate.names(source)
    return translate.Names(found.hosts, (*found.kernels, *kernels))


def cached(name: str, key: Sequence[str], make: Callable[[Path], Path]) -> Path:
    """Return the file or folder of this name and content, which ``make(folder)`` builds if it is not there.

    Raises:
        StudyError: if the folder cannot be written, or from ``make``.
    """
    stem, suffix = os.path.splitext(name)
    digest = hashlib.sha256("\0".join(key).encode()).hexdigest()[:24]
    folder = Path(os.environ.get(CACHE_VARIABLE) or curriculum.ROOT / "build" / "cuda")
    path = folder / f"{stem}-{digest}{suffix}"
    if path.exists():
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix="tmp-") as temporary:
            os.replace(make(Path(temporary)), path)
    except OSError as error:
        if path.is_dir():  # Another process was faster; only files replace one another.
            return path
        raise _cannot_write(folder, error.strerror or str(error)) from error
    return path


def runtime(found: Compiler) -> Path:
    """Return the compiled :file:`emulator.cpp`; 0.3 seconds of CPU, once."""

    def make(folder: Path) -> Path:
        out = folder / "emulator.o"
        command = [
            *found.command,
            *_FLAGS,
            *_own(found),
            "-O1",
            "-fno-exceptions",
            "-c",
            str(HERE / "emulator.cpp"),
            "-o",
            str(out),
        ]
        run(command, folder)
        return out

    return cached("emulator.o", (found.version, *found.command, *_FLAGS, *_runtime_texts()), make)


def _headers(found: Compiler, options: Sequence[str]) -> tuple[str, ...]:
    """Return the options that find :file:`emulator.h` read already: half of a build; once, 0.2 seconds of CPU.

    gcc only. It reads the header itself where it cannot use what it has written.
    """
    if found.clang:
        return ()

    def make(folder: Path) -> Path:
        out = folder / "headers"
        out.mkdir()
        header = ["-x", "c++-header", str(HERE / "emulator.h"), "-o", str(out / "emulator.h.gch")]
        run([*found.command, *options, *header], folder)
        return out

    key = (found.version, *found.command, *options, (HERE / "emulator.h").read_text("utf-8"))
    return "-I", str(cached("headers", key, make))


def run(command: Sequence[str], folder: Path) -> str:
    """Run a compiler and return what it prints.

    Raises:
        StudyError: with its first error and the line in the learner's source.
    """
    environment_ = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", cwd=folder, env=environment_
        )
    except OSError as error:
        raise StudyError(
            f"컴파일러 {command[0]}을(를) 실행하지 못했으니({error.strerror}) {REMEDY}."
        ) from error
    if done.returncode:
        raise _error(done.stderr + done.stdout, folder)
    return done.stdout


def _own(found: Compiler) -> tuple[str, ...]:
    """Options of one family: libraries share nothing (gcc), endless loops stay in the program (clang)."""
    return ("-fno-finite-loops",) if found.clang else ("-fno-gnu-unique",)


def _emulator(
    source: str, trace: bool, kernels: Sequence[str], flags: Sequence[str], host_memory: bool
) -> Path:
    found = compiler()
    if found is None:
        raise StudyError(f"C++ 컴파일러가 없어 CUDA 소스를 실행할 수 없으니 {REMEDY}.")
    translated = translate.emulated(source)
    tail = _calls(exports(source, kernels))
    if trace:
        tail.append(sites.DECLARATION)
    if host_memory:
        tail.append(
            'extern "C" void tf_study_host_memory(int); static int host_memory = (tf_study_host_memory(1), 0);'
        )
    unit = "\n".join(
        ['#include "emulator.h"', f'#line 1 "{SOURCE}"', translated]
        + ['#line 1 "exports"', '#include "exports.h"', *tail, ""]
    )
    options = [*_FLAGS, *_own(found), *(_TRACED if trace else ("-O2",))]
    if trace and found.clang:  # else clang leaves out the load of x += 1, and needs the C++ library
        options += ["-mllvm", "-tsan-instrument-read-before-write=1", "-fno-vectorize", "-fno-slp-vectorize"]
        options += ["-mllvm", "-tsan-handle-cxx-exceptions=0"]

    def make(folder: Path) -> Path:
        (folder / "unit.cpp").write_text(unit, encoding="utf-8")
        assembly, out = folder / "unit.s", folder / "program.so"
        headers = [*(() if flags else _headers(found, options)), "-I", str(HERE)]
        unit_options = [*options, *headers, *flags]
        run([*found.command, *unit_options, "-S", str(folder / "unit.cpp"), "-o", str(assembly)], folder)
        if trace:
            text = assembly.read_text(encoding="utf-8")
            text = sites.with_table(sites.hooked(text) if found.clang else text, SOURCE)
            assembly.write_text(text, encoding="utf-8")
        _link(found, [str(assembly), str(runtime(found))], flags, out)
        return out

    key = (found.version, *found.command, *options, *flags, unit, *_runtime_texts())
    return cached("program.so", key, make)


def _link(found: Compiler, parts: Sequence[str], flags: Sequence[str], out: Path) -> None:
    """Make a shared library, with the C++ library where it does not go without."""
    bind = () if sys.platform == "darwin" else ("-Wl,-Bsymbolic",)
    *quick, whole = [
        [*found.command, "-shared", "-fPIC", *bind, *parts, *flags, *libraries, "-o", str(out)]
        for libraries in _LINKS
    ]
    for command in quick:
        with contextlib.suppress(StudyError):
            run(command, out.parent)
            return
    run(whole, out.parent)


def _nvcc(source: str, kernels: Sequence[str], flags: Sequence[str]) -> Path:
    command = gpu.nvcc()
    if command is None:
        raise StudyError("nvcc가 없으니 CUDA 도구를 설치하거나 backend를 빼고 에뮬레이터로 실행하세요.")
    version = _nvcc_version(command)
    unit = "\n".join(
        ['#include "exports.h"', f'#line 1 "{SOURCE}"', source]
        + ['#line 1 "exports"', *_calls(exports(source, kernels)), ""]
    )
    target = ("-arch=native",) if gpu.has_gpu() else ()
    options = (
        "-std=c++17",
        "-O2",
        *target,
        "-cudart",
        "static",
        "-shared",
        "-Xcompiler",
        "-fPIC",
        "-w",
        *flags,
    )

    def make(folder: Path) -> Path:
        (folder / "unit.cu").write_text(unit, encoding="utf-8")
        out = folder / "program.so"
        run([command, *options, "-I", str(HERE), "unit.cu", "-o", str(out)], folder)
        return out

    return cached(
        "program.so", (version, command, *options, unit, (HERE / "exports.h").read_text("utf-8")), make
    )


@functools.cache
def _nvcc_version(command: str) -> str:
    return run([command, "--version"], Path.cwd())


def _calls(found: translate.Names) -> list[str]:
    return [
        *(f"TF_STUDY_HOST({number}, {name})" for number, name in enumerate(found.hosts)),
        *(f"TF_STUDY_KERNEL({number}, {name})" for number, name in enumerate(found.kernels)),
    ]


def _runtime_texts() -> list[str]:
    return [
        (HERE / name).read_text("utf-8") for name in ("emulator.h", "emulator.cpp", "exports.h", "sites.py")
    ]


def _error(text: str, folder: Path) -> StudyError:
    """Turn a compiler's output into one sentence."""
    if "No space left on device" in text:
        return _cannot_write(folder.parent, "No space left on device")
    name = re.escape(SOURCE)
    found = re.search(rf"{name}[:(](\d+)(?:[:)]\d*)*:?\s*(?:fatal )?error\s*:\s*([^\n]+)", text)
    if found:
        return StudyError(
            f"CUDA 소스의 {found[1]}번째 줄에서 컴파일이 멈췄으니({found[2].strip()}) 그 줄과 바로 위의 줄을 고치세요."
        )
    said = re.search(r"error\s*:\s*([^\n]+)|undefined (?:reference|symbol)[^\n]*", text)
    reason = said[0].strip() if said else (text.strip().splitlines() or ["이유를 말하지 않음"])[-1]
    line = re.search(rf"{name}[:(](\d+)", text)
    where = f"의 {line[1]}번째 줄" if line else ""
    return StudyError(f"CUDA 소스{where}에서 라이브러리를 만들지 못했으니({reason}) 그 부분을 고치세요.")


def _cannot_write(folder: Path, reason: str) -> StudyError:
    return StudyError(
        f"빌드한 파일을 {folder}에 쓰지 못했으니({reason}) 권한과 빈 공간을 확인하거나 {CACHE_VARIABLE}에 다른 폴더를"
        " 적으세요."
    )
