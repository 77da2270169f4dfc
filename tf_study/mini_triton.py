"""Triton's block semantics in NumPy: the same kernel source runs without a GPU, and every byte is counted.

A kernel is a plain function that says ``tl.…``, as one for Triton does; :func:`launch` runs it with this
module's :data:`language` as its ``tl``, so that it need not be decorated and Triton need not be installed::

    from tf_study import mini_triton
    tl = mini_triton.language

    def add(x, y, out, n, BLOCK: tl.constexpr):
        offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        mask = offs < n
        tl.store(out + offs, tl.load(x + offs, mask) + tl.load(y + offs, mask), mask)

    mini_triton.launch(add, (4,), x, y, out, 1000, BLOCK=256)   # → {"load": 8000, "store": 4000}

Lecture 11.3 builds it; where Triton is installed, ``tests/test_mini_triton.py`` holds it equal to Triton's own
interpreter, bit for bit.
"""

from types import FunctionType, SimpleNamespace

import numpy as np

from tf_study.errors import StudyError

LOW = np.uint64(0xFFFFFFFF)
PHILOX_ROUND = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
PHILOX_KEY = 0x9E3779B9, 0xBB67AE85

traffic = {"load": 0, "store": 0}  # bytes since the last launch began


class Pointer:
    """An address for every lane: a flat array and an offset into it, counted in elements."""

    __array_ufunc__ = None  # ``array + pointer`` comes here too

    def __init__(self, memory: np.ndarray, offset=0):
        self.memory, self.offset = memory, np.asarray(offset)

    def __add__(self, other):
        return Pointer(self.memory, self.offset + other)

    __radd__ = __add__


def _access(kind: str, pointer: Pointer, mask) -> tuple[np.ndarray, np.ndarray]:
    """Return which lanes are active and where they point; count their bytes, refuse what lies outside."""
    offset = pointer.offset
    active = np.broadcast_to(True if mask is None else mask, offset.shape)
    where = offset[active]
    outside = where[(where < 0) | (where >= pointer.memory.size)]
    if outside.size:
        raise IndexError(f"{kind} at {outside[0]} of an array of {pointer.memory.size}")
    traffic[kind] += where.size * pointer.memory.itemsize
    return active, where


def load(pointer: Pointer, mask=None, other=0) -> np.ndarray:
    """Return what the lanes point at; ``other`` where the mask is off."""
    active, where = _access("load", pointer, mask)
    value = np.full(active.shape, other, pointer.memory.dtype)
    value[active] = pointer.memory[where]
    return value


def store(pointer: Pointer, value, mask=None) -> None:
    active, where = _access("store", pointer, mask)
    pointer.memory[where] = np.broadcast_to(value, active.shape)[active]


class TensorDescriptor:
    """A tensor in memory, loaded and stored a block at a time; what lies outside is 0, or not written."""

    def __init__(self, base: Pointer, shape, strides, block_shape):
        size = base.memory.itemsize
        assert base.offset * size % 16 == 0, "base must be 16-byte aligned"
        assert all(stride * size % 16 == 0 for stride in strides[:-1]), "stride must be 16-byte aligned"
        assert strides[-1] == 1, "last dim must be contiguous"
        self.base, self.shape, self.strides, self.block_shape = base, shape, strides, block_shape

    def _place(self, start) -> tuple[Pointer, np.ndarray]:
        mesh = np.ix_(*(first + np.arange(size) for first, size in zip(start, self.block_shape, strict=True)))
        pointer, inside = self.base, np.True_
        for index, size, stride in zip(mesh, self.shape, self.strides, strict=True):
            pointer, inside = pointer + index * stride, inside & (0 <= index) & (index < size)
        return pointer, inside

    def load(self, start) -> np.ndarray:
        return load(*self._place(start))

    def store(self, start, value) -> None:
        pointer, inside = self._place(start)
        store(pointer, value, inside)


def philox(counter, key, rounds: int = 10) -> list[np.ndarray]:
    """Return the four 32-bit words that Philox4x32 makes of each counter (Salmon et al., 2011).

    Args:
        counter: four arrays of words that broadcast together.
        key: two words.
    """
    c0, c1, c2, c3 = np.broadcast_arrays(*(np.asarray(word).astype(np.uint64) & LOW for word in counter))
    k0, k1 = key
    for _ in range(rounds):
        a, b = PHILOX_ROUND[0] * c0, PHILOX_ROUND[1] * c2  # 64 bits each
        c0, c1 = (b >> np.uint64(32)) ^ c1 ^ np.uint64(k0), b & LOW
        c2, c3 = (a >> np.uint64(32)) ^ c3 ^ np.uint64(k1), a & LOW
        k0, k1 = (k0 + PHILOX_KEY[0]) & 0xFFFFFFFF, (k1 + PHILOX_KEY[1]) & 0xFFFFFFFF
    return [word.astype(np.uint32) for word in (c0, c1, c2, c3)]


def randint4x(seed: int, offset, n_rounds: int = 10) -> list[np.ndarray]:
    return philox((offset, 0, 0, 0), (seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF), n_rounds)


def rand4x(seed: int, offset, n_rounds: int = 10) -> list[np.ndarray]:
    """Return four blocks of floats in [0, 1), from 31 bits of each word."""
    words = [word.view(np.int32) for word in randint4x(seed, offset, n_rounds)]
    return [np.where(w < 0, ~w, w).astype(np.float32) * np.float32(4.6566127342e-10) for w in words]


def arange(start: int, end: int) -> np.ndarray:
    if (end - start) & (end - start - 1):
        raise ValueError("arange's range must be a power of 2")
    return np.arange(start, end)


def dot(a, b, acc=0, input_precision=None) -> np.ndarray:
    return np.matmul(a, b, dtype=np.float32) + acc


def cast(value, dtype, bitcast: bool = False) -> np.ndarray:
    return np.asarray(value).view(dtype) if bitcast else np.asarray(value).astype(dtype)


def swizzle2d(i, j, size_i: int, size_j: int, size_g: int) -> tuple:
    """Return where the block that comes at (i, j) row by row comes if groups of size_g rows go column by column."""
    place = i * size_j + j
    first = place // (size_g * size_j) * size_g
    inside, height = place % (size_g * size_j), np.minimum(size_i - first, size_g)
    return first + inside % height, inside // height


language = SimpleNamespace(
    ids=(0, 0, 0),  # of the program that runs
    constexpr=int,
    load=load,
    store=store,
    make_tensor_descriptor=TensorDescriptor,
    program_id=lambda axis: language.ids[axis],
    arange=arange,
    zeros=np.zeros,
    full=np.full,
    reshape=np.reshape,
    trans=np.transpose,
    join=lambda a, b: np.stack([a, b], -1),
    cast=cast,
    where=np.where,
    maximum=np.maximum,
    minimum=np.minimum,
    max=np.max,
    min=np.min,
    sum=lambda x, axis=None: np.sum(x, axis, dtype=x.dtype),
    abs=np.abs,
    exp=np.exp,
    exp2=np.exp2,
    log=np.log,
    log2=np.log2,
    sqrt=np.sqrt,
    dot=dot,
    swizzle2d=swizzle2d,
    cdiv=lambda a, b: -(-a // b),
    randint4x=randint4x,
    randint=lambda *a, **k: randint4x(*a, **k)[0],
    rand4x=rand4x,
    rand=lambda *a, **k: rand4x(*a, **k)[0],
    **{
        name: getattr(np, name)
        for name in ("float16", "float32", "int8", "int32", "int64", "uint8", "uint32")
    },
)


def launch(kernel, grid: tuple[int, ...], *args, **constants) -> dict[str, int]:
    """Run a kernel once for every program of the grid and return the bytes that it loaded and stored.

    Args:
        kernel: a function that says ``tl.…``, or one that ``triton.jit`` has decorated.
        grid: one to three sizes.
        args: NumPy arrays, which the kernel gets as pointers and may write; numbers, which stay Python's as in
            Triton's interpreter (a compiled kernel gets a float as float32, so its ``1 - p`` may round apart).
        constants: the ``tl.constexpr`` arguments.

    Raises:
        StudyError: if an array is none of NumPy's, or is a view that does not lie in memory in one piece.
        IndexError: if an active lane points outside of its array.
    """
    function = getattr(kernel, "fn", kernel)
    body = FunctionType(
        function.__code__,
        {**function.__globals__, "tl": language},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    values = [_argument(value) for value in args]
    traffic.update(load=0, store=0)
    with np.errstate(all="ignore"):  # a GPU does not warn of exp(-inf) either
        for ids in np.ndindex(*grid):
            language.ids = ids + (0,) * (3 - len(ids))
            body(*values, **constants)
    return dict(traffic)


def _argument(value):
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value)
    if not isinstance(value, np.ndarray):
        raise StudyError(
            f"{type(value).__name__}은 커널에 넘길 수 없으니 NumPy 배열이나 수로 바꾸어 넘기세요."
        )
    if not value.flags.c_contiguous:
        raise StudyError("메모리에 이어져 있지 않은 배열이니 np.ascontiguousarray로 복사해 넘기세요.")
    return Pointer(value.reshape(-1))
