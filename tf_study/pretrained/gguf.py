"""GGUF, the file format of llama.cpp, read with NumPy: metadata, and tensors in blocks of few bits.

A block is 32 weights that share a scale d (and a minimum m), 16-bit floats:

- Q8_0: 32 bytes q; ``w = d q``
- Q4_0: 16 bytes, each two numbers of 4 bits; ``w = d (q - 8)``
- Q4_1: likewise; ``w = d q + m``

Byte j holds weight j in its low half and weight j + 16 in its high half.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tf_study.data.fetch import damaged

F32, F16, Q4_0, Q4_1, Q8_0 = 0, 1, 2, 3, 8
BLOCKS = {
    F32: np.dtype("<f4"),
    F16: np.dtype("<f2"),
    Q4_0: np.dtype([("scale", "<f2"), ("packed", "u1", 16)]),
    Q4_1: np.dtype([("scale", "<f2"), ("minimum", "<f2"), ("packed", "u1", 16)]),
    Q8_0: np.dtype([("scale", "<f2"), ("values", "i1", 32)]),
}
BLOCK = 32  # weights in a block of Q4_0, Q4_1 and Q8_0
STRING, ARRAY = 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


@dataclass(frozen=True)
class Tensor:
    """A tensor as it lies in the file: its kind, a key of :data:`BLOCKS`, its shape and its blocks."""

    kind: int
    shape: tuple[int, ...]
    blocks: np.ndarray

    def numpy(self) -> np.ndarray:
        """Return the weights, float32."""
        return dequantize(self.kind, self.blocks).reshape(self.shape)


def read(path: Path) -> tuple[dict, dict[str, Tensor]]:
    """Return the metadata and the tensors by name; the blocks stay in the file until they are used.

    Raises:
        StudyError: if the file is cut off or of another format.
    """
    return parse(path, _read)


def parse(path: Path, function: Callable):
    """Return ``function`` of the file's bytes, an uint8 array that stays in the file until it is used.

    Raises:
        StudyError: if ``function`` finds that the file is cut off or of another format.
    """
    try:
        return function(np.memmap(path, np.uint8, "r"))
    except (struct.error, ValueError, KeyError) as error:
        raise damaged(path) from error


def dequantize(kind: int, blocks: np.ndarray) -> np.ndarray:
    """Return the weights in blocks of a kind, float32, in a row."""
    if kind in (F32, F16):
        return blocks.astype(np.float32)
    weights = np.empty((len(blocks), BLOCK), np.float32)
    if kind == Q8_0:
        weights[:] = blocks["values"]
    else:
        weights[:, : BLOCK // 2] = blocks["packed"] & 15
        weights[:, BLOCK // 2 :] = blocks["packed"] >> 4
    if kind == Q4_0:
        weights -= 8
    weights *= blocks["scale"].astype(np.float32)[:, None]
    if kind == Q4_1:
        weights += blocks["minimum"].astype(np.float32)[:, None]
    return weights.ravel()


class Reader:
    """Takes numbers and strings off the front of an array of bytes, little-endian."""

    def __init__(self, raw: np.ndarray, at: int = 0):
        self.raw, self.at = memoryview(raw), at  # An array's slice takes ten times as long.

    def take(self, form: str):
        """Return the value of a :mod:`struct` format, or a tuple of its several values."""
        values = struct.unpack(f"<{form}", self.bytes(struct.calcsize(f"<{form}")))
        return values if len(values) > 1 else values[0]

    def bytes(self, count: int) -> bytes:
        """Return the next bytes."""
        self.skip(count)
        return self.raw[self.at - count : self.at].tobytes()

    def skip(self, count: int) -> None:
        """Go on behind the next bytes."""
        self.at += count

    def strings(self, count: int) -> list[str]:
        """Return the next strings, each behind its length in 8 bytes."""
        found = []
        for _ in range(count):
            start = self.at + 8
            self.at = start + int.from_bytes(self.raw[self.at : start], "little")
            if self.at > len(self.raw):
                raise ValueError("a string goes on behind the end")
            found.append(str(self.raw[start : self.at], "utf-8"))
        return found


def _read(raw: np.ndarray) -> tuple[dict, dict[str, Tensor]]:
    reader = Reader(raw)
    magic, version, tensor_count, pair_count = reader.take("4sIQQ")
    if magic != b"GGUF" or version not in (2, 3):
        raise ValueError("not a GGUF file of version 2 or 3")
    metadata = {}
    for _ in range(pair_count):
        key = _string(reader)
        metadata[key] = _value(reader, reader.take("I"))
    places = {}
    for _ in range(tensor_count):
        name, dimensions = _string(reader), reader.take("I")
        shape = tuple(reader.take("Q") for _ in range(dimensions))[::-1]
        places[name] = (shape, *reader.take("IQ"))
    alignment = metadata.get("general.alignment", 32)
    start = -(-reader.at // alignment) * alignment
    return metadata, {
        name: _tensor(raw[start + at :], kind, shape) for name, (shape, kind, at) in places.items()
    }


def _tensor(raw: np.ndarray, kind: int, shape: tuple[int, ...]) -> Tensor:
    block = BLOCKS[kind]
    count = int(np.prod(shape)) // (1 if kind in (F32, F16) else BLOCK)
    return Tensor(kind, shape, np.frombuffer(raw[: count * block.itemsize], block, count))


def _string(reader: Reader) -> str:
    return reader.strings(1)[0]


def _value(reader: Reader, kind: int):
    if kind == STRING:
        return _string(reader)
    if kind != ARRAY:
        return reader.take(SCALARS[kind])
    inner, count = reader.take("IQ")
    if inner == STRING:
        return reader.strings(count)
    if inner == ARRAY:
        return [_value(reader, inner) for _ in range(count)]
    return np.frombuffer(reader.bytes(count * struct.calcsize(SCALARS[inner])), f"<{SCALARS[inner]}").tolist()
