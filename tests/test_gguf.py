"""The GGUF reader against a writer and a scalar decoder of the test's own, block by block."""

import struct

import numpy as np
import pytest

from tf_study.errors import StudyError
from tf_study.pretrained import gguf

RNG = np.random.default_rng(0)


def half(number):
    """The two bytes of a 16-bit float, and the number that they hold."""
    data = struct.pack("<e", number)
    return data, struct.unpack("<e", data)[0]


def block(kind):
    """The bytes of one random block and its 32 weights, by the format's definition, one at a time."""
    (scale_bytes, scale), (minimum_bytes, minimum) = half(RNG.normal()), half(RNG.normal())
    if kind == gguf.Q8_0:
        values = [int(q) for q in RNG.integers(-128, 128, 32)]
        return scale_bytes + struct.pack("<32b", *values), [scale * q for q in values]
    values = [int(q) for q in RNG.integers(0, 16, 32)]
    packed = bytes(values[j] | values[j + 16] << 4 for j in range(16))
    if kind == gguf.Q4_0:
        return scale_bytes + packed, [scale * (q - 8) for q in values]
    return scale_bytes + minimum_bytes + packed, [scale * q + minimum for q in values]


def string(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def write(path, tensors):
    """Write a file with one piece of metadata of every kind; tensors: name → (kind, shape, bytes)."""
    lists = struct.pack("<IQ", 8, 2) + string("가") + string("b"), struct.pack("<IQ3i", 5, 3, -1, 0, 7)
    pairs = {
        "name": (8, string("작은 모델")),
        "count": (4, struct.pack("<I", 7)),
        "rate": (6, struct.pack("<f", 0.5)),
        "flag": (7, b"\x01"),
        "tokens": (9, lists[0]),
        "kinds": (9, lists[1]),
        "general.alignment": (4, struct.pack("<I", 64)),
    }
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(pairs))
    for key, (kind, value) in pairs.items():
        head += string(key) + struct.pack("<I", kind) + value
    body = b""
    for name, (kind, shape, data) in tensors.items():
        body += bytes(-len(body) % 64)
        dimensions = struct.pack(f"<{len(shape)}Q", *reversed(shape))
        head += (
            string(name) + struct.pack("<I", len(shape)) + dimensions + struct.pack("<IQ", kind, len(body))
        )
        body += data
    path.write_bytes(head + bytes(-len(head) % 64) + body)


@pytest.fixture
def file(tmp_path):
    """A file with a tensor of every kind, and what they hold."""
    tensors, expected = {}, {}
    for kind in (gguf.Q4_0, gguf.Q4_1, gguf.Q8_0):
        data, weights = zip(*(block(kind) for _ in range(6)), strict=True)
        tensors[f"q{kind}"] = kind, (3, 64), b"".join(data)
        expected[f"q{kind}"] = np.array(weights, np.float32).reshape(3, 64)
    for kind, dtype in ((gguf.F32, "<f4"), (gguf.F16, "<f2")):
        expected[f"f{kind}"] = RNG.normal(size=(2, 5)).astype(dtype)
        tensors[f"f{kind}"] = kind, (2, 5), expected[f"f{kind}"].tobytes()
    write(tmp_path / "tiny.gguf", tensors)
    return tmp_path / "tiny.gguf", expected


def test_every_block_holds_the_weights_of_the_definition(file):
    path, expected = file
    _, tensors = gguf.read(path)
    assert list(tensors) == list(expected)
    for name, tensor in tensors.items():
        weights = tensor.numpy()
        assert weights.dtype == np.float32 and weights.shape == expected[name].shape
        np.testing.assert_allclose(weights, expected[name].astype(np.float32), rtol=1e-6, atol=1e-6)


def test_metadata_of_every_kind(file):
    metadata, _ = gguf.read(file[0])
    assert metadata == {
        "name": "작은 모델",
        "count": 7,
        "rate": 0.5,
        "flag": True,
        "tokens": ["가", "b"],
        "kinds": [-1, 0, 7],
        "general.alignment": 64,
    }


def test_a_file_that_is_cut_off_or_no_gguf_is_one_sentence(file):
    path, _ = file
    whole = path.read_bytes()
    for content in (b"", b"GGUF", whole[:60], whole[:400], whole[:-1], b"PK" + whole[2:]):
        path.write_bytes(content)
        with pytest.raises(StudyError, match="깨졌거나 형식이 다르니"):
            gguf.read(path)
