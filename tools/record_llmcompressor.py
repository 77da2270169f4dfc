"""Records the codes that llmcompressor's GPTQ gives for the stored layer: ``python tools/record_llmcompressor.py``.

Lecture 14.5 compares its own GPTQ with them. llmcompressor 0.14 asks for a newer transformers than the course has, so
its two files with the algorithm are read out of the wheel and run beside compressed-tensors 0.19, which must be
installed. pip fetches the wheel; nothing else in it runs. With ``--check`` the codes are compared, not written.
"""

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import types
import zipfile
from pathlib import Path

import numpy as np
import torch
from npz import write_npz

from tf_study.data import store

FILE = "quantization/llmcompressor.npz"
PACKAGE = "llmcompressor.modifiers.gptq"
OUTPUTS = 48
# Name → bits, size of a group, order of the inputs.
SETTINGS = {"w4": (4, 64, None), "w3": (3, 64, None), "w4_order": (4, 64, "weight")}


def fetch(folder: Path):
    """Return llmcompressor's ``quantize_weight``."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "llmcompressor==0.14.0.1"]
    subprocess.run(command, cwd=folder, check=True)
    with zipfile.ZipFile(next(folder.glob("llmcompressor-*.whl"))) as archive:
        archive.extractall(folder)
    for depth in range(1, 4):
        name = ".".join(PACKAGE.split(".")[:depth])
        sys.modules[name] = types.ModuleType(name)  # Without what their __init__ imports.
    for name in ("helpers", "gptq_quantize"):
        path = folder / PACKAGE.replace(".", "/") / f"{name}.py"
        spec = importlib.util.spec_from_file_location(f"{PACKAGE}.{name}", path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    return module.quantize_weight


def codes(quantize, kernel, inputs, bits, group, order) -> np.ndarray:
    """kernel (in, out), inputs (n, in) → codes (in, out) from 0 on."""
    from compressed_tensors.quantization import QuantizationArgs

    groups = kernel.reshape(-1, group, kernel.shape[1]).astype(np.float64)
    high, low = np.maximum(groups.max(1), 0), np.minimum(groups.min(1), 0)  # (in / group, out)
    scale = (high - low) / (2**bits - 1)
    zero = np.round(-low / scale)
    hessian = 2 * inputs.T @ inputs / len(inputs)
    tensor = lambda a: torch.tensor(np.ascontiguousarray(a), dtype=torch.float32)[None]  # noqa: E731
    settings = QuantizationArgs(
        num_bits=bits, type="int", symmetric=False, strategy="group", group_size=group, actorder=order
    )
    # llmcompressor counts codes from -2^(bits - 1) on.
    points = tensor(scale.T), tensor(zero.T - 2 ** (bits - 1))
    weight, _, _ = quantize(tensor(kernel.T), tensor(hessian), *points, None, settings)
    found = weight[0].numpy().T.reshape(groups.shape) / scale[:, None] + zero[:, None]
    if np.abs(found - np.round(found)).max() > 0.01:
        raise ValueError("the weights do not lie on the grid")
    return np.round(found).astype(np.uint8).reshape(kernel.shape)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--check", action="store_true", help="compare with the stored codes, write nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with np.load(store.path("quantization/layer.npz")) as layer:
        kernel, inputs = layer["kernel"][:, :OUTPUTS], layer["calibration"].astype(np.float64)
    with tempfile.TemporaryDirectory() as work:
        quantize = fetch(Path(work))
        found = {name: codes(quantize, kernel, inputs, *setting) for name, setting in SETTINGS.items()}
    if arguments.check:
        with np.load(store.path(FILE)) as stored:
            different = {name: int(np.sum(stored[name] != value)) for name, value in found.items()}
        print(f"different codes: {different}")
        return int(any(different.values()))
    write_npz(store.FOLDER / FILE, zipfile.ZIP_LZMA, **found)
    store.write_manifest()
    return 0


if __name__ == "__main__":
    sys.exit(main())
