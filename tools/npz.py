"""npz files that are the same, bit for bit, whenever they are written."""

import io
import zipfile
from pathlib import Path

import numpy as np


def write_npz(path: Path, compression: int, **arrays: np.ndarray) -> None:
    """Write an npz file that depends on nothing but the arrays; :func:`numpy.savez` adds the time.

    Args:
        path: the file to write.
        compression: ``zipfile.ZIP_LZMA``, or ``zipfile.ZIP_STORED`` for arrays that hardly shrink.
        arrays: the arrays, by name.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0))
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue(), compression)
