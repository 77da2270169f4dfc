"""What a GPU would do with the recorded memory accesses: requests, sectors, passes, races.

The 32 threads of a warp run one instruction together: that is one *request*. Global memory answers it in *sectors*
of 32 bytes, shared memory in *passes*: each of its 32 banks gives one 4-byte word a pass (NVIDIA, CUDA C++ Programming
Guide, 'Device Memory Accesses' and 'Shared Memory'; Nsight Compute's ``sectors/request`` and ``bank conflicts``).
"""

import ctypes
import functools
from typing import NamedTuple

import numpy as np

WARP = 32
SECTOR = 32  # bytes
BANKS = 32
WORD = 4  # bytes
KINDS = ("load", "store", "atomic")

# One access of one thread; ``Access`` of emulator.cpp. ``address`` counts from the start of its allocation (which the
# device aligns to 256 bytes) or of the block's shared memory, ``thread`` is the linear index in the block, ``repeat``
# says how often the thread had been at this instruction (``site``), ``epoch`` how many barriers it had passed.
ACCESS = np.dtype(
    [
        ("address", "i8"),
        ("block", "i4"),
        ("repeat", "i4"),
        ("epoch", "i4"),
        ("warp_epoch", "i4"),
        ("launch", "u2"),
    ]
    + [("line", "u2"), ("site", "u2"), ("thread", "u2"), ("allocation", "u2")]
    + [("bytes", "u1"), ("kind", "u1"), ("shared", "?"), ("unused", "u1", 3)]
)


class Row(NamedTuple):
    """One line's accesses of one kind.

    Attributes:
        line: in the source.
        space: ``"global"`` or ``"shared"``.
        kind: ``"load"``, ``"store"`` or ``"atomic"``.
        requests: instructions of a warp.
        units: sectors (global) or passes (shared) of all of them.
        per_request: the mean.
        efficiency: global: bytes that threads asked for (a byte asked for twice in a request counts once) / bytes of
            the sectors. Shared: the least number of passes that could move those bytes / passes.
    """

    line: int
    space: str
    kind: str
    requests: int
    units: int
    per_request: float
    efficiency: float


class _Requests(NamedTuple):
    """One entry a request."""

    first: np.ndarray  # the number of one of its accesses
    units: np.ndarray
    useful: np.ndarray  # distinct bytes


class Trace:
    """The accesses of the kernels that ran inside ``program.tracing()``.

    Attributes:
        accesses: a structured array, see :data:`ACCESS`.
    """

    def __init__(self) -> None:
        self.accesses = np.zeros(0, ACCESS)

    def load(self, address: int | None, count: int) -> None:
        """Copy the records of the emulator."""
        if count:
            buffer = (ctypes.c_char * (count * ACCESS.itemsize)).from_address(address)
            self.accesses = np.frombuffer(buffer, ACCESS).copy()

    def profile(self) -> list[Row]:
        """Return one row for each line, space and kind, in this order."""
        requests, log = self._requests, self.accesses[self._requests.first]
        keys = np.stack([log["line"], log["shared"], log["kind"]]).astype(int)
        rows = []
        for line, shared, kind in np.unique(keys, axis=1).T:
            mine = (keys == [[line], [shared], [kind]]).all(axis=0)
            units, useful = requests.units[mine], requests.useful[mine]
            ideal = -(-useful // (BANKS * WORD)) if shared else useful / SECTOR
            rows.append(
                Row(
                    int(line),
                    "shared" if shared else "global",
                    KINDS[kind],
                    int(mine.sum()),
                    int(units.sum()),
                    float(units.mean()),
                    float(ideal.sum() / units.sum()),
                )
            )
        return rows

    @property
    def sectors(self) -> int:
        """Sectors of all requests to global memory."""
        return self._total(shared=False)

    @property
    def passes(self) -> int:
        """Passes of all requests to shared memory."""
        return self._total(shared=True)

    @property
    def bytes(self) -> int:
        """Bytes that all threads asked global memory for, without any cache."""
        return int(self.accesses["bytes"][~self.accesses["shared"]].astype(int).sum())

    def races(self) -> list[tuple[int, int, str]]:
        """Return pairs of lines, the smaller first, with the space, whose accesses race.

        Two accesses race if different threads touch the same bytes, one of them writes, not both are atomic, and no
        barrier stands between them: ``__syncthreads()`` orders the threads of a block, a warp's operation with
        ``_sync`` those of a warp, only the end of a kernel those of different blocks.
        """
        found = set()
        for shared in (False, True):
            log = self.accesses[self.accesses["shared"] == shared]
            for one, other in _conflicts(log, shared):
                found.add((min(one, other), max(one, other), "shared" if shared else "global"))
        return sorted(found)

    def _total(self, shared: bool) -> int:
        return int(self._requests.units[self.accesses["shared"][self._requests.first] == shared].sum())

    @functools.cached_property
    def _requests(self) -> _Requests:
        log = self.accesses
        request, first = _number(
            log["launch"], log["block"], log["thread"] // WARP, log["site"], log["repeat"]
        )
        count = len(first)
        if not count:
            return _Requests(first, np.zeros(0, int), np.zeros(0, int))
        shared = log["shared"]
        # Sectors: those that any thread touches. Allocations are apart, so that sectors of two never coincide.
        sectors = _pieces(log, SECTOR)
        units = _distinct(request[sectors.access], log["allocation"][sectors.access], sectors.number, count)
        # Passes: the most distinct words in one bank.
        words = _pieces(log, WORD)
        chosen = shared[words.access]
        r, w = _pairs(request[words.access][chosen], words.number[chosen])
        per_bank = np.bincount(r * BANKS + w % BANKS, minlength=count * BANKS).reshape(count, BANKS)
        units = np.where(shared[first], per_bank.max(axis=1), units)
        unit = _unit(log)
        bytes_ = _pieces(log, unit)
        useful = unit * _distinct(
            request[bytes_.access], log["allocation"][bytes_.access], bytes_.number, count
        )
        return _Requests(first, units, useful)


class _Pieces(NamedTuple):
    access: np.ndarray
    number: np.ndarray


def _unit(log: np.ndarray) -> int:
    """Return the bytes in which to compare accesses: whole words where all of them are."""
    whole = log["address"] % WORD == 0
    return WORD if (whole & (log["bytes"] % WORD == 0)).all() else 1


def _pieces(log: np.ndarray, size: int) -> _Pieces:
    """Cut every access at the multiples of ``size``: the access and the number of each piece."""
    first, last = log["address"] // size, (log["address"] + log["bytes"] - 1) // size
    spread = int((last - first).max(initial=0)) + 1
    parts = [np.flatnonzero(first + k <= last) for k in range(spread)]
    return _Pieces(np.concatenate(parts), np.concatenate([first[p] + k for k, p in enumerate(parts)]))


def _number(*columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the distinct rows of the columns: the number of each row, and one row of each number."""
    order = np.lexsort(columns[::-1])
    new = np.ones(len(order), bool)
    if len(order):
        new[1:] = np.any([np.diff(column[order].astype(np.int64)) != 0 for column in columns], axis=0)
    inverse = np.empty(len(order), int)
    inverse[order] = np.cumsum(new) - 1
    return inverse, order[new]


def _distinct(request: np.ndarray, *columns_and_count) -> np.ndarray:
    """Count the distinct rows of the columns in each request."""
    *columns, count = columns_and_count
    _, one = _number(request, *columns)
    return np.bincount(request[one], minlength=count)


def _pairs(request: np.ndarray, number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct pairs."""
    _, one = _number(request, number)
    return request[one], number[one]


def _conflicts(log: np.ndarray, shared: bool) -> set[tuple[int, int]]:
    """Return the pairs of lines that race in one kind of memory."""
    if not (log["kind"] > 0).any():
        return set()
    pieces = _pieces(log, _unit(log))
    rows = log[pieces.access]
    place = rows["block"] if shared else rows["allocation"]
    word, _ = _number(rows["launch"], place, pieces.number)
    # A word that one thread uses, or that nobody writes, is no matter; most are, so they go first.
    thread, _ = _number(rows["block"], rows["thread"])
    written = np.bincount(word, rows["kind"] > 0) > 0
    low, high = np.full(word.max() + 1, thread.max() + 1), np.full(word.max() + 1, -1)
    np.minimum.at(low, word, thread)
    np.maximum.at(high, word, thread)
    keep = np.flatnonzero((written & (low != high))[word])
    keep = keep[np.argsort(word[keep], kind="stable")]
    # Many accesses of a loop differ only in how often it ran: one of each is enough.
    columns = [
        word,
        rows["line"],
        rows["kind"],
        rows["block"],
        rows["thread"],
        rows["epoch"],
        rows["warp_epoch"],
    ]
    _, one = _number(*(column[keep] for column in columns))
    keep = np.sort(keep[one])
    keep = keep[np.argsort(word[keep], kind="stable")]
    found = set()
    for group in np.split(keep, np.flatnonzero(np.diff(word[keep])) + 1):
        a = rows[group]
        writes = a[a["kind"] > 0][:, None]
        same_block = writes["block"] == a["block"]
        other = ~same_block | (writes["thread"] != a["thread"])
        apart = (writes["epoch"] != a["epoch"]) | (
            (writes["thread"] // WARP == a["thread"] // WARP) & (writes["warp_epoch"] != a["warp_epoch"])
        )
        atomic = (writes["kind"] == 2) & (a["kind"] == 2)
        for i, j in np.argwhere(other & ~atomic & ~(same_block & apart)):
            found.add((int(writes["line"][i, 0]), int(a["line"][j])))
    return found
