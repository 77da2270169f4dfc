"""NVIDIA's compiler for device code as a library (NVRTC), which needs neither a GPU nor a CUDA installation.

The optional wheel ``nvidia-cuda-nvrtc`` carries it for Linux on x86-64; here it is called through ctypes.
"""

import ctypes
import functools
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path

from tf_study.cuda import translate
from tf_study.errors import StudyError


def path() -> Path | None:
    """Return the newest NVRTC that a wheel has installed, or ``None``."""
    spec = importlib.util.find_spec("nvidia")
    roots = list(spec.submodule_search_locations or ()) if spec else []
    found = [p for root in roots for p in Path(root).rglob("libnvrtc.so.*") if "alt" not in p.name]
    return max(found, key=lambda p: [int(n) for n in re.findall(r"\d+", p.name)], default=None)


@functools.cache
def _library() -> ctypes.CDLL:
    found = path()
    if found is None:
        raise StudyError("NVRTC가 없어 장치 코드를 컴파일하지 못하니 make advanced를 실행하세요.")
    library = ctypes.CDLL(str(found))
    library.nvrtcGetErrorString.restype = ctypes.c_char_p
    return library


def compile(source: str, arch: str, kernels: Sequence[str] = ()) -> tuple[bytes, bytes, dict[str, str]]:
    """Compile the device code of a CUDA source.

    Args:
        source: CUDA C++; its ``extern "C"`` host functions are left out.
        arch: such as ``"sm_90"``.
        kernels: instances of template kernels, such as ``"tiled<16>"``, that would otherwise not be compiled.

    Returns:
        PTX, the machine code (cubin), and for each kernel its mangled name.

    Raises:
        StudyError: if the source has an error (with its line), or without NVRTC.
    """
    library = _library()
    program = ctypes.c_void_p()
    text = translate.device_only(source).encode()
    kernels = (*translate.names(source).kernels, *kernels)
    _must(library.nvrtcCreateProgram(ctypes.byref(program), text, b"kernel.cu", 0, None, None))
    try:
        for name in kernels:
            _must(library.nvrtcAddNameExpression(program, name.encode()))
        options = (f"--gpu-architecture={arch}".encode(), b"--std=c++17")
        code = library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
        if code:
            raise _error(_take(program, "ProgramLog").decode("utf-8", "replace"), arch)
        lowered = {}
        for name in kernels:
            mangled = ctypes.c_char_p()
            _must(library.nvrtcGetLoweredName(program, name.encode(), ctypes.byref(mangled)))
            lowered[name] = mangled.value.decode()
        return _take(program, "PTX").rstrip(b"\0"), _take(program, "CUBIN"), lowered
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _take(program: ctypes.c_void_p, what: str) -> bytes:
    library, size = _library(), ctypes.c_size_t()
    _must(getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _must(getattr(library, f"nvrtcGet{what}")(program, buffer))
    return buffer.raw


def _must(code: int) -> None:
    if code:
        reason = _library().nvrtcGetErrorString(code).decode()
        raise StudyError(f"NVRTC가 실패했으니({reason}) make advanced로 다시 설치하세요.")


def _error(log: str, arch: str) -> StudyError:
    found = re.search(r"kernel\.cu\((\d+)\): (?:catastrophic )?error: ([^\n]+)", log)
    if found:
        return StudyError(
            f"CUDA 소스의 {found[1]}번째 줄에서 컴파일이 멈췄으니({found[2]}) 그 줄과 바로 위의 줄을 고치세요."
        )
    said = re.search(r"error: ([^\n]+)", log)
    reason = said[1] if said else log.strip()
    return StudyError(f"장치 코드를 {arch}로 컴파일하지 못했으니({reason}) 구조 이름과 소스를 확인하세요.")
