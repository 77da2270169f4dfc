"""NVIDIA's programs that the triton wheel carries: what a kernel needs, its machine code, and the occupancy rules."""

import bisect
import ctypes
import functools
import importlib.util
import itertools
import re
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tf_study.cuda import builder, nvrtc
from tf_study.errors import StudyError


class Resources(NamedTuple):
    """What one thread or block of a kernel occupies; ``cuobjdump -res-usage``.

    Attributes:
        registers: 32-bit registers a thread.
        shared: bytes of static shared memory a block; for sm_90, 1,024 more that the system keeps if there are any.
        stack: bytes of local memory a thread for its stack.
        constant: bytes of constant memory for the parameters.
    """

    registers: int
    shared: int
    stack: int
    constant: int


class Instruction(NamedTuple):
    """One machine instruction: the address in the kernel, the name with its suffixes, and the whole text."""

    address: int
    name: str
    text: str


class Compiled(NamedTuple):
    """The device code of a source, compiled without a GPU.

    Attributes:
        arch: such as ``"sm_90"``.
        ptx: NVIDIA's portable assembly.
        cubin: the machine code, an ELF file.
        names: of the kernels, as the source has them, and mangled.
    """

    arch: str
    ptx: str
    cubin: bytes
    names: dict[str, str]

    def resources(self) -> dict[str, Resources]:
        """Return what each kernel occupies."""
        return {self._asked(name): found for name, found in resources(self.cubin).items()}

    def sass(self) -> dict[str, str]:
        """Return the machine code of each kernel as text, one instruction a line, without the padding behind it."""
        return {
            name: "\n".join(f"/*{i.address:04x}*/ {i.text}" for i in code)
            for name, code in self.instructions().items()
        }

    def instructions(self) -> dict[str, list[Instruction]]:
        """Return the instructions of each kernel, without the padding behind them."""
        found: dict[str, list[Instruction]] = {}
        for part in re.split(r"^\s*\.section\s+\.text\.", disassembly(self.cubin), flags=re.M)[1:]:
            name = re.match(r"\w+", part)[0]
            code = instructions(part)
            while code and code[-1].name == "NOP":
                code.pop()
            if code and code[-1].text.startswith("BRA"):  # a jump to itself ends every kernel
                code.pop()
            found[self._asked(name)] = code
        return found

    def _asked(self, name: str) -> str:
        return next((asked for asked, mangled in self.names.items() if mangled == name), name)


def compile(source: str, arch: str = "sm_90", kernels: Sequence[str] = ()) -> Compiled:
    """Compile the device code of a CUDA source to PTX and machine code; no GPU is needed.

    Args:
        source: CUDA C++; its ``extern "C"`` host functions are left out.
        arch: compute capability, ``"sm_90"`` for the H100, ``"sm_80"`` for the A100.
        kernels: instances of template kernels, such as ``"tiled<16>"``.

    Raises:
        StudyError: if the source has an error (with its line), or NVRTC is missing.
    """
    ptx, cubin, names = nvrtc.compile(source, arch, kernels)
    return Compiled(arch, ptx.decode(), cubin, names)


def compile_available() -> bool:
    """Return whether NVRTC and the tools of the triton wheel are there; if not, print what is skipped."""
    missing = [] if nvrtc.path() else ["nvidia-cuda-nvrtc"]
    missing += [] if tool("cuobjdump") and tool("nvdisasm") else ["triton"]
    if missing:
        print(
            f"[생략] {', '.join(missing)} 패키지가 없어 GPU 코드를 만들지 않았으니 리눅스에서 make advanced를 실행하세요."
        )
    return not missing


@functools.cache
def _nvidia() -> Path | None:
    """Return the folder of NVIDIA's files in the triton wheel; triton is not imported."""
    spec = importlib.util.find_spec("triton")
    for root in spec.submodule_search_locations or () if spec else ():
        folder = Path(root) / "backends" / "nvidia"
        if folder.is_dir():
            return folder
    return None


def tool(name: str) -> Path | None:
    """Return the path of ``ptxas``, ``cuobjdump`` or ``nvdisasm`` in the triton wheel, or ``None``."""
    folder = _nvidia()
    path = folder / "bin" / name if folder else None
    return path if path and path.exists() else None


def resources(cubin: bytes) -> dict[str, Resources]:
    """Return what each kernel of a cubin occupies, by its mangled name."""
    found = {}
    for name, line in re.findall(r"Function (\w+):\s*\n([^\n]+)", call("cuobjdump", cubin, "-res-usage")):
        values = dict(re.findall(r"([A-Z]+(?:\[0\])?):(\d+)", line))
        keys = ("REG", "SHARED", "STACK", "CONSTANT[0]")
        found[name] = Resources(*(int(values.get(key, 0)) for key in keys))
    return found


def instructions(sass: str) -> list[Instruction]:
    """Return what stands in nvdisasm's text, padding included."""
    found = re.finditer(r"/\*([0-9a-f]+)\*/\s+((?:@!?U?P\w+\s+)?([A-Z][\w.]*)[^;\n]*)", sass)
    return [Instruction(int(m[1], 16), m[3], m[2].strip()) for m in found]


def disassembly(cubin: bytes) -> str:
    """Return nvdisasm's text of the code of a cubin."""
    return call("nvdisasm", cubin, "-c", "-ndf")  # "-ndf": no search for the targets of indirect jumps


def disassemblies(cubins: Sequence[bytes], arch: int) -> list[str]:
    """Return nvdisasm's text of the code of several cubins, all from one call; the addresses count through."""
    codes = [_code(cubin) for cubin in cubins]
    text = call("nvdisasm", b"".join(codes), "-ndf", "--binary", f"SM{arch}{'a' if arch >= 90 else ''}")
    ends, parts = list(itertools.accumulate(map(len, codes))), [[] for _ in codes]
    for line in text.splitlines():
        if found := re.match(r"\s*/\*([0-9a-f]+)\*/", line):
            parts[bisect.bisect(ends, int(found[1], 16))].append(line)
    return ["\n".join(lines) for lines in parts]


def _code(cubin: bytes) -> bytes:
    """Return what is executable of an ELF file."""
    (table,), (count,) = struct.unpack_from("<Q", cubin, 0x28), struct.unpack_from("<H", cubin, 0x3C)
    sections = [struct.unpack_from("<8xQ8xQQ", cubin, table + 64 * i) for i in range(count)]
    return b"".join(cubin[start : start + size] for flags, start, size in sections if flags & 4)


@functools.lru_cache(maxsize=32)  # the start of nvdisasm alone takes 0.3 seconds of CPU
def call(name: str, cubin: bytes, *options: str) -> str:
    """Return what one of NVIDIA's tools prints about a cubin or its code."""
    program = tool(name)
    if program is None:
        raise StudyError(f"triton 패키지의 {name}이(가) 없으니 리눅스에서 make advanced를 실행하세요.")
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        done = subprocess.run([program, *options, file.name], capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr or done.stdout).strip()
        raise StudyError(f"{name}이(가) 실패했으니({reason}) triton을 make advanced로 다시 설치하세요.")
    return done.stdout + done.stderr


# ---- occupancy

_OCCUPANCY = r"""
#include <stdint.h>
#include <string.h>
#include "cuda_occupancy.h"
extern "C" int occupancy(int major, int minor, int max_threads, int shared_sm, int shared_block, int registers,
                         int threads, int shared) {
  cudaOccDeviceProp p;
  memset(&p, 0, sizeof p);
  p.computeMajor = major, p.computeMinor = minor, p.maxThreadsPerBlock = 1024;
  p.maxThreadsPerMultiprocessor = max_threads, p.regsPerBlock = p.regsPerMultiprocessor = 65536, p.warpSize = 32;
  p.sharedMemPerBlock = 49152, p.sharedMemPerMultiprocessor = shared_sm, p.sharedMemPerBlockOptin = shared_block;
  p.numSms = 1, p.reservedSharedMemPerBlock = major >= 8 ? 1024 : 0;
  cudaOccFuncAttributes a;
  memset(&a, 0, sizeof a);
  a.maxThreadsPerBlock = 1024, a.numRegs = registers, a.partitionedGCConfig = PARTITIONED_GC_OFF;
  a.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN, a.maxDynamicSharedSizeBytes = shared_block, a.numBlockBarriers = 1;
  cudaOccDeviceState s;
  memset(&s, 0, sizeof s);
  s.cacheConfig = CACHE_PREFER_SHARED, s.carveoutConfig = SHAREDMEM_CARVEOUT_MAX_SHARED;
  cudaOccResult r;
  cudaOccError e = cudaOccMaxActiveBlocksPerMultiprocessor(&r, &p, &a, &s, threads, shared);
  return e == CUDA_OCC_SUCCESS ? r.activeBlocksPerMultiprocessor : -int(e);
}
"""


class Gpu(NamedTuple):
    """Limits of one streaming multiprocessor (CUDA C++ Programming Guide, 'Technical Specifications').

    Attributes:
        major: of the compute capability.
        minor: of the compute capability.
        threads: most resident threads.
        shared: bytes of shared memory.
        shared_block: most bytes of shared memory a block.
        blocks: most resident blocks.
    """

    major: int
    minor: int
    threads: int
    shared: int
    shared_block: int
    blocks: int


GPUS = {
    "T4": Gpu(7, 5, 1024, 64 << 10, 64 << 10, 16),
    "A100": Gpu(8, 0, 2048, 164 << 10, 163 << 10, 32),
    "RTX 3090": Gpu(8, 6, 1536, 100 << 10, 99 << 10, 16),
    "RTX 4090": Gpu(8, 9, 1536, 100 << 10, 99 << 10, 24),
    "H100": Gpu(9, 0, 2048, 228 << 10, 227 << 10, 32),
}


def occupancy_available() -> bool:
    """Return whether NVIDIA's header and a C++ compiler are there; if not, print what is skipped."""
    if _header() is None:
        print(
            "[생략] triton 패키지가 없어 NVIDIA의 점유율 계산과 비교하지 않았으니 리눅스에서 make advanced를 실행하세요."
        )
        return False
    return builder.available()


def occupancy_reference(gpu: str, registers: int, threads: int, shared: int = 0) -> int:
    """Return how many blocks reside on a multiprocessor, by NVIDIA's own ``cuda_occupancy.h``.

    Args:
        gpu: a name of :data:`GPUS`.
        registers: a thread.
        threads: a block.
        shared: bytes of shared memory a block.

    Raises:
        StudyError: if the GPU is unknown, the configuration impossible, or header or compiler are missing.
    """
    if gpu not in GPUS:
        raise StudyError(f"{gpu!r}라는 GPU는 표에 없으니 {', '.join(GPUS)} 가운데에서 고르세요.")
    limits = GPUS[gpu]
    blocks = _occupancy()(*limits[:5], registers, threads, shared)
    if blocks < 0:
        raise StudyError(
            f"레지스터 {registers}개, 스레드 {threads}개, 공유 메모리 {shared}바이트라는 설정은 {gpu}에 없으니 고치세요."
        )
    return blocks


def _header() -> Path | None:
    folder = _nvidia()
    path = folder / "include" / "cuda_occupancy.h" if folder else None
    return path if path and path.exists() else None


@functools.cache
def _occupancy():
    header, found = _header(), builder.compiler()
    if header is None:
        raise StudyError("triton 패키지의 cuda_occupancy.h가 없으니 리눅스에서 make advanced를 실행하세요.")
    if found is None:
        raise StudyError(f"C++ 컴파일러가 없으니 {builder.REMEDY}.")

    def make(folder: Path) -> Path:
        (folder / "occupancy.cpp").write_text(_OCCUPANCY, encoding="utf-8")
        out = folder / "occupancy.so"
        options = ("-std=c++17", "-O1", "-fPIC", "-shared", "-w", "-I", str(header.parent))
        builder.run([*found.command, *options, "occupancy.cpp", "-o", str(out)], folder)
        return out

    key = (found.version, *found.command, _OCCUPANCY, header.read_text("utf-8", "replace"))
    return ctypes.CDLL(str(builder.cached("occupancy.so", key, make))).occupancy
