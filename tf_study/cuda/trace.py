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
        if not len(log):
            return _Requests(*(np.zeros(0, int) for _ in _Requests._fields))
        warp = log["thread"] // WARP
        request, first = _number(log["launch"], log["block"], warp, log["site"], log["repeat"], log["shared"])
        # Allocations are apart, so that sectors of two never coincide.
        sectors = _distinct(request, log["allocation"], *_pieces(log, SECTOR))
        useful = _distinct(request, log["allocation"], *_pieces(log, unit := _unit(log)))
        passes = _passes(request, *_pieces(log, WORD))
        return _Requests(first, np.where(log["shared"][first], passes, sectors), unit * useful)


def _unit(log: np.ndarray) -> int:
    """Return the bytes in which to compare accesses: whole words where all of them are."""
    whole = log["address"] % WORD == 0
    return WORD if (whole & (log["bytes"] % WORD == 0)).all() else 1


def _pieces(log: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut every access at the multiples of ``size``: the index of the access and the number of each piece."""
    first, last = log["address"] // size, (log["address"] + log["bytes"] - 1) // size
    spread = int((last - first).max(initial=0)) + 1
    parts = [np.flatnonzero(first + k <= last) for k in range(spread)]
    return np.concatenate(parts), np.concatenate([first[p] + k for k, p in enumerate(parts)])


def _number(*columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the distinct rows of the columns: the number of each row, and the index of one row of each number."""
    key, room = np.zeros(len(columns[0]), np.int64), 1
    for column in columns:
        column = column.astype(np.int64)
        low, high = column.min(initial=0), column.max(initial=0)
        if room * int(high - low + 1) >= 2**62:
            key = np.unique(key, return_inverse=True)[1]
            room = int(key.max()) + 1
        key, room = key * (high - low + 1) + (column - low), room * int(high - low + 1)
    if room <= 8 * len(key):  # a table instead of sorting
        there = np.zeros(room, bool)
        there[key] = True
        inverse = (np.cumsum(there) - 1)[key]
        one = np.empty(np.count_nonzero(there), int)
        one[inverse] = np.arange(len(key))
        return inverse, one
    order = np.argsort(key)
    new = np.ones(len(order), bool)
    new[1:] = np.diff(key[order]) != 0
    inverse = np.empty(len(order), int)
    inverse[order] = np.cumsum(new) - 1
    return inverse, order[new]


def _distinct(
    request: np.ndarray, allocation: np.ndarray, access: np.ndarray, piece: np.ndarray
) -> np.ndarray:
    """Return how many different pieces each request touches."""
    _, one = _number(request[access], allocation[access], piece)
    return np.bincount(request[access[one]])


def _passes(request: np.ndarray, access: np.ndarray, word: np.ndarray) -> np.ndarray:
    """Return for each request the most different words that lie in one bank."""
    _, one = _number(request[access], word)
    bank = request[access[one]] * BANKS + word[one] % BANKS
    return np.bincount(bank, minlength=(request.max() + 1) * BANKS).reshape(-1, BANKS).max(axis=1)


def _conflicts(log: np.ndarray, shared: bool) -> set[tuple[int, int]]:
    """Return the pairs of lines that race in one kind of memory."""
    access, piece = _pieces(log, _unit(log))
    word, _ = _number(log["launch"][access], log["block" if shared else "allocation"][access], piece)
    # A word that nobody writes, or that one thread uses, is no matter; most are, so they go first.
    thread = log["block"].astype(np.int64) * 1024 + log["thread"]
    _, several = _who(word, thread[access])
    written = np.bincount(word, log["kind"][access] > 0) > 0
    keep = (written & several)[word] if len(word) else slice(0)
    log, word, thread = log[access[keep]], word[keep], thread[access[keep]]
    warp = log["thread"] // WARP
    here = (word, log["block"], log["epoch"])
    return (
        _apart((word,), log, log["block"])
        | _apart(here, log, warp)
        | _apart((*here, warp, log["warp_epoch"]), log, thread)
    )


def _apart(group: tuple[np.ndarray, ...], log: np.ndarray, who: np.ndarray) -> set[tuple[int, int]]:
    """Return the pairs of lines with a conflict between different values of ``who`` inside one group."""
    group, _ = _number(*group)
    use, first = _number(group, log["line"], log["kind"])
    some, several = _who(use, who)
    group, line, kind = group[first], log["line"][first].astype(int), log["kind"][first]
    found = set()
    for shift in range(len(first)):
        one, other = np.arange(len(first) - shift), np.arange(shift, len(first))
        together = group[one] == group[other]
        if not together.any():
            break
        alone = ~several[one] & ~several[other] & (some[one] == some[other])
        harmless = (kind[one] == kind[other]) & (kind[one] != 1)  # two loads, or two atomic operations
        racing = np.flatnonzero(together & ~alone & ~harmless)
        lines = np.sort(np.stack([line[one[racing]], line[other[racing]]]), axis=0)
        found |= {(int(a), int(b)) for a, b in np.unique(lines, axis=1).T}
    return found


def _who(group: np.ndarray, who: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each group one of its members, and whether it has several different ones."""
    some = np.zeros(group.max(initial=-1) + 1, who.dtype)
    some[group] = who
    return some, np.bincount(group, who != some[group], len(some)) > 0
