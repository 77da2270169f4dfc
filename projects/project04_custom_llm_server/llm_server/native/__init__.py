"""Two TensorFlow ops of our own, built from :file:`op.cpp` where there is a C++ compiler.

They are an addition: :mod:`llm_server.model` computes the same without them, slower. XLA cannot look into them, so
they stand between the parts that it compiles.
"""

import functools
import platform
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_study.cuda import builder
from tf_study.errors import StudyError

SOURCE = Path(__file__).with_name("op.cpp")
COLUMNS = 64  # the product is computed by so many columns at a time
LANES = 16  # the size of a head is a multiple of it
ROWS = 8  # inputs whose codes share a word


@functools.cache
def library():
    """Return the loaded ops, or ``None`` where they cannot be built, which is told in one line."""
    found = builder.compiler()
    if found is None:
        print(f"C++ 컴파일러가 없어 TensorFlow의 연산으로 계산합니다. 더 빨리 하려면 {builder.REMEDY}.")
        return None
    text = SOURCE.read_text(encoding="utf-8")
    flags = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-shared", "-fPIC", "-w")
    if platform.machine() == "x86_64":
        flags += ("-mprefer-vector-width=512",)
    link = (*tf.sysconfig.get_compile_flags(), *tf.sysconfig.get_link_flags())

    def make(folder: Path) -> Path:
        out = folder / "op.so"
        builder.run([*found.command, *flags, str(SOURCE), *link, "-o", str(out)], folder)
        return out

    try:
        # What is built for this processor may not run on another one that shares the folder.
        path = builder.cached(
            "op.so", (found.version, *found.command, *flags, *link, text, _processor()), make
        )
        return tf.load_op_library(str(path))
    except (StudyError, tf.errors.NotFoundError) as error:
        print(f"C++ 연산을 쓸 수 없어 TensorFlow의 연산으로 계산합니다. {error}")
        return None


def pack(codes: np.ndarray) -> np.ndarray:
    """Pack codes (n, o) of 0-15 into (n / 8, o) int32: eight consecutive inputs a word, the first lowest."""
    words = codes.astype(np.uint32).reshape(-1, ROWS, codes.shape[1])
    return np.bitwise_or.reduce(words << (4 * np.arange(ROWS, dtype=np.uint32))[:, None], axis=1).view(
        np.int32
    )


def _processor() -> str:
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next((line for line in lines if line.startswith(("flags", "Features"))), platform.machine())
    return platform.processor()
