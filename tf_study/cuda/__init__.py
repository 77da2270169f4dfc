"""CUDA C++ on every machine: an emulator with the counters of a profiler, and NVIDIA's tools where they are.

program = cuda.build(source)  # with TF_STUDY_DEVICE=gpu, a driver and nvcc: on the GPU
program.vector_add(a, b, c, n, 256)  # an extern "C" function of the source
program.launch("add", grid, block, a, b, c, n)  # or a kernel alone

traced = cuda.build(source, trace=True)
with traced.tracing() as trace:
    traced.vector_add(a, b, c, n, 256)
trace.profile(), trace.races()

cuda.compile(source).sass()  # machine code for an H100, without one

cuda.tensorflow_op(source)  # an op of TensorFlow whose CPU kernel is a CUDA kernel
cuda.python_module("name", source)  # C++ with pybind11
"""

from collections.abc import Sequence

from tf_study.cuda.builder import available, library
from tf_study.cuda.gpu import has_gpu
from tf_study.cuda.ops import tensorflow_op
from tf_study.cuda.program import Program, load
from tf_study.cuda.pybind import python_module, python_module_available
from tf_study.cuda.tools import (
    GPUS,
    Compiled,
    Instruction,
    Resources,
    compile,
    compile_available,
    occupancy_available,
    occupancy_reference,
)
from tf_study.cuda.trace import Row, Trace

__all__ = [
    "GPUS",
    "Compiled",
    "Instruction",
    "Program",
    "Resources",
    "Row",
    "Trace",
    "available",
    "build",
    "compile",
    "compile_available",
    "has_gpu",
    "library",
    "occupancy_available",
    "occupancy_reference",
    "python_module",
    "python_module_available",
    "tensorflow_op",
]


def build(
    source: str, trace: bool = False, backend: str | None = None, kernels: Sequence[str] = ()
) -> Program:
    """Build a CUDA C++ source, or find it built, and load it.

    Args:
        source: CUDA C++; functions to call are ``extern "C"``, kernels ``__global__ void``.
        trace: make the accesses of its kernels visible to ``program.tracing()``; always in the emulator.
        backend: ``"emulator"`` or ``"nvcc"``; ``None`` is nvcc where ``TF_STUDY_DEVICE=gpu`` and driver and nvcc are
            there, else the emulator.
        kernels: instances of template kernels for ``program.launch``, such as ``"tiled<16>"``.

    Raises:
        StudyError: if the source has an error (with its line), or there is no compiler.
    """
    return load(source, trace, backend, kernels)
