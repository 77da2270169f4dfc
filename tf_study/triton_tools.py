"""Triton where there is no GPU: its interpreter on NumPy arrays, and its compiler down to machine code.

Kernels are plain functions that say ``tl.…``, as :mod:`tf_study.mini_triton` runs them.
Interpreter and compiler exclude each other in one process: ``TRITON_INTERPRET=1`` must be set before
``triton`` is imported, and what compiles runs in a process of its own.
"""

import inspect
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType

import numpy as np

from tf_study import verify
from tf_study.cuda import tools
from tf_study.errors import StudyError


@dataclass(frozen=True)
class Build:
    """What Triton made of a kernel.

    Attributes:
        ttir, ttgir, llir, ptx: the text of each stage.
        sass: the machine code as nvdisasm shows it; the addresses count through all kernels of a call.
        registers: of a thread.
        shared: bytes of shared memory of a program, without what the driver reserves.
    """

    ttir: str
    ttgir: str
    llir: str
    ptx: str
    sass: str
    registers: int
    shared: int

    @property
    def instructions(self) -> Counter[str]:
        """How often each machine instruction stands in the code, such as ``LDG.E.128``; no ``NOP``."""
        names = (instruction.name for instruction in tools.instructions(self.sass))
        return Counter(name for name in names if name != "NOP")


def interpret(kernel: Callable, grid: tuple[int, ...], *args, **constants) -> list:
    """Run a kernel by Triton's interpreter on copies of the arrays and return the arguments afterwards."""
    import torch
    import triton

    if not triton.knobs.runtime.interpret:
        raise StudyError("triton을 가져오기 전에 os.environ['TRITON_INTERPRET'] = '1'로 정하세요.")
    args = [value.copy() if isinstance(value, np.ndarray) else value for value in args]
    tensors = [torch.from_numpy(value) if isinstance(value, np.ndarray) else value for value in args]
    triton.jit(_with_triton(kernel))[grid](*tensors, **constants)
    return args


def _with_triton(kernel: Callable) -> Callable:
    """Return a kernel whose ``tl`` is Triton's, which it is in a cell but not in a module of the package."""
    import triton.language

    own = FunctionType(kernel.__code__, {**kernel.__globals__, "tl": triton.language}, kernel.__name__)
    own.__annotations__, own.__module__ = kernel.__annotations__, kernel.__module__
    return own


def compare(name: str, launch: Callable, *cases: tuple) -> None:
    """Check that ``launch`` leaves in all arrays what Triton's interpreter leaves, bit for bit.

    Args:
        name: what is compared, in Korean; one line is printed, or that Triton is not here.
        launch: called as ``launch(kernel, grid, *args, **constants)``; it may write into the arrays.
        cases: (kernel, grid, args, constants).
    """
    if not verify.available("torch", "triton"):
        return
    with verify.group(name, against="triton"):
        for kernel, grid, args, constants in cases:
            theirs = interpret(kernel, grid, *args, **constants)
            launch(kernel, grid, *args, **constants)
            for ours, other in zip(args, theirs, strict=True):
                if isinstance(ours, np.ndarray):
                    bits = f"u{ours.itemsize}"
                    verify.equal(kernel.__name__, ours.view(bits), other.view(bits))


def run(script: str, *arguments: str, gpu: bool = False) -> str:
    """Return what a script prints in a new process without Triton's interpreter, as if there were no GPU.

    Args:
        script: Python source.
        arguments: for the script's ``sys.argv``.
        gpu: let the script see the GPUs that are there.
    """
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    env["TRITON_DEFAULT_FP_FUSION"] = "1"  # Triton 3.9 warns where it is not set
    if not gpu:
        env["CUDA_VISIBLE_DEVICES"] = ""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "main.py").write_text(script, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "main.py", *arguments],
            cwd=folder,
            env={**env, "TRITON_CACHE_DIR": folder},
            capture_output=True,
            text=True,
        )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["이유 없이 끝남"]
        raise StudyError(f"Triton의 프로세스가 실패했으니 커널을 고치세요: {last[0]}")
    return done.stdout


_COMPILE = """
import json, sys
sys.modules["torch"] = None  # not needed, and slow to import
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

# The cache dies with this process; without this its key is a hash of Triton's 500 MB.
triton.runtime.cache.triton_key = lambda: "this process"

{kernels}

builds = []
for wanted in json.loads(sys.argv[1]):
    names = list(wanted["types"])
    attributes = {{(names.index(name),): [["tt.divisibility", 16]] for name in wanted["hints"]}}
    source = ASTSource(globals()[wanted["kernel"]], wanted["types"], wanted["constants"], attributes)
    target = GPUTarget("cuda", wanted["arch"], 32)
    built = triton.compile(source, target=target, options={{"num_warps": wanted["warps"]}})
    builds.append({{
        **{{stage: built.asm[stage] for stage in ("ttir", "ttgir", "llir", "ptx")}},
        "cubin": built.asm["cubin"].hex(),
        "shared": built.metadata.shared,
    }})
print(json.dumps(builds))
"""


@dataclass(frozen=True)
class Job:
    """A kernel to compile for an NVIDIA GPU that need not be there.

    Attributes:
        kernel: a function of its own, which calls no other kernel.
        types: argument → ``"*fp32"``, ``"i32"``, … or ``"constexpr"``, in the kernel's order.
        constants: values of the ``tl.constexpr`` arguments.
        hints: which arguments (pointers, integers) are known to be divisible by 16.
        arch: compute capability, 90 for an H100.
        warps: of a program.
    """

    kernel: Callable
    types: Mapping[str, str]
    constants: Mapping[str, object]
    hints: Sequence[str] = ()
    arch: int = 90
    warps: int = 4


def compile_all(jobs: Sequence[Job]) -> list[Build]:
    """Compile kernels, all in one new process."""
    kernels = {job.kernel.__name__: getattr(job.kernel, "fn", job.kernel) for job in jobs}
    sources = [f"@triton.jit\n{inspect.getsource(kernel)}" for kernel in kernels.values()]
    wanted = [
        {
            **vars(job),
            "kernel": job.kernel.__name__,
            "types": dict(job.types),
            "constants": dict(job.constants),
        }
        for job in jobs
    ]
    out = run(_COMPILE.format(kernels="\n".join(sources)), json.dumps(wanted))
    builds = json.loads(out)
    cubins = [bytes.fromhex(build.pop("cubin")) for build in builds]
    sass: dict[bytes, str] = {}
    for arch in {job.arch for job in jobs}:
        mine = [cubin for job, cubin in zip(jobs, cubins, strict=True) if job.arch == arch]
        sass.update(zip(mine, tools.disassemblies(mine, arch), strict=True))
    return [
        Build(**build, sass=sass[cubin], registers=_registers(cubin))
        for build, cubin in zip(builds, cubins, strict=True)
    ]


def compile(
    kernel: Callable,
    types: Mapping[str, str],
    constants: Mapping[str, object],
    hints: Sequence[Sequence[str]] = ((),),
    *,
    arch: int = 90,
    warps: int = 4,
) -> list[Build]:
    """Compile one kernel, once for each set of hints; the arguments are those of :class:`Job`.

    Example: ``compile(softmax, {"x": "*fp32", …, "BLOCK": "constexpr"}, {"BLOCK": 4096}, [(), ("x", "cols")])``
    """
    return compile_all([Job(kernel, types, constants, tuple(some), arch, warps) for some in hints])


def _registers(cubin: bytes) -> int:
    (resources,) = tools.resources(cubin).values()
    return resources.registers
