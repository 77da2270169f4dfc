"""Whether this machine has an NVIDIA driver with a GPU, and the compiler for it."""

import ctypes
import functools
import shutil


@functools.cache
def has_gpu() -> bool:
    """Return whether the NVIDIA driver is there and finds a GPU; nothing is imported for it."""
    for name in ("libcuda.so.1", "libcuda.so"):
        try:
            driver = ctypes.CDLL(name)
        except OSError:
            continue
        count = ctypes.c_int()
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    return False


def nvcc() -> str | None:
    """Return the path of NVIDIA's compiler, or ``None``."""
    return shutil.which("nvcc")
