"""Right and wrong answers to practice 14.1."""

import math
from collections import Counter, deque
from itertools import islice

import numpy as np

from answers import Answers

RIGHT, WRONG = Answers(), Answers()


# -- new_blocks ----------------------------------------------------------------------------------------


@RIGHT("new_blocks")
def new_blocks(length, count, size):
    """Two ceilings."""
    return -(-(length + count) // size) - -(-length // size)


@RIGHT("new_blocks")
def new_blocks_from_room(length, count, size):
    """What does not fit into the blanks of the last block."""
    room = -length % size
    return max(0, count - room + size - 1) // size if count > room else 0


@RIGHT("new_blocks")
def new_blocks_by_float(length, count, size):
    """The library's ceiling."""
    return math.ceil((length + count) / size) - math.ceil(length / size)


@RIGHT("new_blocks")
def new_blocks_one_by_one(length, count, size):
    """Each token at a block's first place needs a block."""
    return sum(place % size == 0 for place in range(length, length + count))


@WRONG("new_blocks")
def new_blocks_alone(length, count, size):
    """The blanks of the last block stay blank."""
    return -(-count // size)


@WRONG("new_blocks")
def new_blocks_whole(length, count, size):
    """Blocks that are there already count, too."""
    return -(-(length + count) // size)


@WRONG("new_blocks")
def new_blocks_at_multiples(length, count, size):
    """One too many where the length is a multiple of the size."""
    return (length + count) // size + 1 - -(-length // size)


@WRONG("new_blocks")
def new_blocks_floor(length, count, size):
    """Rounded down."""
    return (length + count) // size - length // size


@WRONG("new_blocks")
def new_blocks_real(length, count, size):
    """A real number."""
    return np.ceil((length + count) / size) - np.ceil(length / size)


@WRONG("new_blocks")
def new_blocks_often_one(length, count, size):
    """Right as long as one token comes at a time."""
    return int(count > 0 and length % size == 0)


@WRONG("new_blocks")
def new_blocks_of_sixteen(length, count, size):
    """vLLM's block size whatever the size is."""
    return new_blocks(length, count, 16)


# -- slots ---------------------------------------------------------------------------------------------


def _slots(table, start, stop, size, check=True, spare=0, block=None, offset=None, relative=False, one=0, dtype="int64"):  # fmt: skip
    if check and stop > (len(table) + spare) * size:
        raise ValueError(stop)
    places = np.arange(start, stop) - (start if relative else 0)
    index, inside = places // size, places % size
    if block == "swap":
        index, inside = inside % len(table), index
    index = index.clip(0, len(table) - 1)
    found = np.array(table, "int64")[index] - one
    return (found * (1 if block == "unscaled" else size) + (0 if offset == "none" else inside)).astype(dtype)


RIGHT("slots")(_slots)


@RIGHT("slots")
def slots_by_loop(table, start, stop, size):
    """Position by position; the array's type is given for the empty one."""
    if -(-stop // size) > len(table):
        raise ValueError("짧은 표")
    return np.array([table[i // size] * size + i % size for i in range(start, stop)], dtype=int)


@RIGHT("slots")
def slots_by_map(table, start, stop, size):
    """All slots of the table, then a slice of them."""
    every = (np.array(table)[:, None] * size + np.arange(size)).ravel()
    if stop > every.size:
        raise ValueError("짧은 표")
    return every[start:stop]


WRONG.add("slots", _slots, "no check", check=False)
WRONG.add("slots", _slots, "one block too many allowed", spare=1)
WRONG.add("slots", _slots, "block number not scaled", block="unscaled")
WRONG.add("slots", _slots, "quotient and remainder swapped", block="swap")
WRONG.add("slots", _slots, "no place in the block", offset="none")
WRONG.add("slots", _slots, "positions from 0", relative=True)
WRONG.add("slots", _slots, "blocks counted from 1", one=1)
WRONG.add("slots", _slots, "real numbers", dtype="float64")


@WRONG("slots")
def slots_logical(table, start, stop, size):
    """The table is not used."""
    _slots(table, start, stop, size)
    return np.arange(start, stop)


@WRONG("slots")
def slots_pairs(table, start, stop, size):
    """Blocks and offsets apart."""
    found = _slots(table, start, stop, size)
    return found // size, found % size


@WRONG("slots")
def slots_float_when_empty(table, start, stop, size):
    """An empty list becomes an array of floats."""
    _slots(table, start, stop, size)
    return np.array([table[i // size] * size + i % size for i in range(start, stop)])


@WRONG("slots")
def slots_eats_table(table, start, stop, size):
    """Take the blocks out of the table."""
    found = _slots(table, start, stop, size)
    table.clear()
    return found


# -- BlockPool -----------------------------------------------------------------------------------------


class _Block:
    """Options: ``place`` of freed blocks, ``check`` of lengths and counts, ``zero`` when a block is free."""

    place, backwards, check, strict, zero, start = "front", False, True, True, 0, 1

    def __init__(self, count, size):
        self.size = size
        self.free = deque(range(1, count))
        self.refs = [0] * count

    def take(self, count):
        if self.check and count > len(self.free):
            raise ValueError(count)
        taken = [self.free.popleft() for _ in range(min(count, len(self.free)))]
        for block in taken:
            self.refs[block] = self.start
        return taken

    def share(self, table):
        for block in table:
            self.refs[block] += 1

    def release(self, table):
        for block in reversed(table) if self.backwards else table:
            if self.strict and self.refs[block] == 0:
                raise ValueError(block)
            self.refs[block] -= 1
            if self.freed(block):
                self.put(block)

    def freed(self, block):
        return self.refs[block] == 0

    def put(self, block):
        if self.place == "front":
            self.free.appendleft(block)
        elif self.place == "back":
            self.free.append(block)


RIGHT("BlockPool")(_Block)


@RIGHT("BlockPool")
class BlockPoolOfLists:
    """Lists and slices; counts in an array."""

    def __init__(self, count, size):
        self.size, self.free, self.refs = size, list(range(1, count)), np.zeros(count, int)

    def take(self, count):
        if len(self.free) < count:
            raise ValueError("모자람")
        taken, self.free = self.free[:count], self.free[count:]
        self.refs[taken] = 1
        return taken

    def share(self, table):
        self.refs[table] += 1

    def release(self, table):
        if (self.refs[table] < 1).any():
            raise ValueError("두 번")
        self.refs[table] -= 1
        self.free = [block for block in table[::-1] if self.refs[block] == 0] + self.free


@RIGHT("BlockPool")
class BlockPoolExtendLeft(_Block):
    """``extendleft`` reverses on its own; ``islice`` looks before it takes."""

    def take(self, count):
        taken = list(islice(self.free, count))
        if len(taken) < count:
            raise ValueError
        for _ in taken:
            self.free.popleft()
        self.share(taken)
        return taken

    def release(self, table):
        assert all(0 < block for block in table)
        if any(self.refs[block] <= 0 for block in table):
            raise ValueError
        for block in table:
            self.refs[block] -= 1
        self.free.extendleft(block for block in table if not self.refs[block])


WRONG.add("BlockPool", _Block, "freed to the back", place="back")
WRONG.add("BlockPool", _Block, "freed from the front of the table", backwards=True)
WRONG.add("BlockPool", _Block, "never freed", place="nowhere")
WRONG.add("BlockPool", _Block, "fewer than asked for", check=False)
WRONG.add("BlockPool", _Block, "double free unnoticed", strict=False)
WRONG.add("BlockPool", _Block, "taken with count 0", start=0)


@WRONG("BlockPool")
class BlockPoolIgnoresCounts(_Block):
    """Freed by whoever gives it back first."""

    def freed(self, block):
        return True


@WRONG("BlockPool")
class BlockPoolFreesAtOne(_Block):
    """Freed while one still uses it."""

    def freed(self, block):
        return self.refs[block] == 1


@WRONG("BlockPool")
class BlockPoolLosesOnRefusal(_Block):
    """Blocks are taken before it is seen that they do not suffice."""

    def take(self, count):
        taken = []
        for _ in range(count):
            if not self.free:
                raise ValueError(count)
            taken += super().take(1)
        return taken


@WRONG("BlockPool")
class BlockPoolFromTheEnd(_Block):
    """Take from the other end."""

    def take(self, count):
        if count > len(self.free):
            raise ValueError(count)
        taken = [self.free.pop() for _ in range(count)]
        self.share(taken)
        return taken


@WRONG("BlockPool")
class BlockPoolClearsTable(_Block):
    """The list that was given is emptied."""

    def release(self, table):
        super().release(table)
        table.clear()


@WRONG("BlockPool")
class BlockPoolShareSets(_Block):
    """Sharing sets the count to 2."""

    def share(self, table):
        for block in table:
            self.refs[block] = 2


@WRONG("BlockPool")
class BlockPoolNoReturn(_Block):
    """Nothing is returned."""

    def take(self, count):
        super().take(count)


@WRONG("BlockPool")
class BlockPoolReversed(_Block):
    """The queue stands the other way round."""

    def __init__(self, count, size):
        super().__init__(count, size)
        self.free = deque(range(count - 1, 0, -1))

    def take(self, count):
        if count > len(self.free):
            raise ValueError(count)
        taken = [self.free.pop() for _ in range(count)]
        self.share(taken)
        return taken

    def put(self, block):
        self.free.append(block)


@WRONG("BlockPool")
class BlockPoolPrivateCounts:
    """Counts of its own; what others read stays 0."""

    def __init__(self, count, size):
        self.size, self.free, self.refs, self.counts = size, deque(range(1, count)), [0] * count, Counter()

    def take(self, count):
        if count > len(self.free):
            raise ValueError(count)
        taken = [self.free.popleft() for _ in range(count)]
        self.share(taken)
        return taken

    def share(self, table):
        self.counts.update(table)

    def release(self, table):
        if any(self.counts[block] < 1 for block in table):
            raise ValueError(table)
        self.counts.subtract(table)
        self.free.extendleft(block for block in table if not self.counts[block])


# -- ForkingPool ---------------------------------------------------------------------------------------


class _Fork(_Block):
    """Options: when a block is copied, and what happens to the old one."""

    full, shared, drop, order, late, alias, count_fork, swap = (
        False,
        1,
        True,
        "first",
        False,
        False,
        True,
        False,
    )

    def fork(self, table):
        if self.count_fork:
            self.share(table)
        return table if self.alias else list(table)

    def copies(self, table, length):
        partial = length % self.size > 0 or (self.full and length > 0)
        return bool(table) and partial and self.refs[table[-1]] > self.shared

    def extend(self, table, length, count):
        copy = self.copies(table, length)
        taken = self.take(new_blocks(length, count, self.size) + copy)
        if not copy:
            table += taken
            return []
        if self.order == "last":
            taken = [taken[-1], *taken[:-1]]
        pair = (table[-1], taken[0])
        if self.drop:
            self.release([table[-1]])
        table[-1:] = taken
        return [pair[::-1] if self.swap else pair]


RIGHT("ForkingPool")(_Fork)


@RIGHT("ForkingPool")
class ForkingPoolStepwise(BlockPoolOfLists):
    """Ask first, then one block after the other."""

    def fork(self, table):
        self.share(np.array(table, int))
        return table[:]

    def extend(self, table, length, count):
        offset = length % self.size
        must_copy = offset != 0 and self.refs[table[-1]] >= 2
        needed = new_blocks_from_room(length, count, self.size)
        if needed + must_copy > len(self.free):
            raise ValueError("모자람")
        pairs = []
        if must_copy:
            old = table.pop()
            self.refs[old] -= 1
            table.extend(self.take(1))
            pairs.append((old, table[-1]))
        for _ in range(needed):
            table.extend(self.take(1))
        return pairs


@RIGHT("ForkingPool")
class ForkingPoolFromLength(_Fork):
    """The number of blocks from the table's length; pairs as lists."""

    def extend(self, table, length, count):
        size = self.size
        copy = len(table) * size > length and self.refs[table[-1]] != 1
        taken = self.take((length + count + size - 1) // size - len(table) + int(copy))
        pairs = [[table[-1], taken[0]]] if copy else []
        if copy:
            self.release([table.pop()])
        table.extend(taken)
        return pairs


WRONG.add("ForkingPool", _Fork, "a full shared block is copied", full=True)
WRONG.add("ForkingPool", _Fork, "a block of its own is copied", shared=0)
WRONG.add("ForkingPool", _Fork, "copied from three on", shared=2)
WRONG.add("ForkingPool", _Fork, "never copied", shared=99)
WRONG.add("ForkingPool", _Fork, "the old block keeps its count", drop=False)
WRONG.add("ForkingPool", _Fork, "copy and original swapped", swap=True)
WRONG.add("ForkingPool", _Fork, "the copy is taken last", order="last")
WRONG.add("ForkingPool", _Fork, "fork returns the same list", alias=True)
WRONG.add("ForkingPool", _Fork, "fork does not count", count_fork=False)


@WRONG("ForkingPool")
class ForkingPoolHalfDone(_Fork):
    """The copy is made before it is known that the rest fits."""

    def extend(self, table, length, count):
        pairs = []
        if self.copies(table, length):
            pairs = [(table[-1], *self.take(1))]
            self.release([table[-1]])
            table[-1] = pairs[0][1]
        table += self.take(new_blocks(length, count, self.size))
        return pairs


@WRONG("ForkingPool")
class ForkingPoolDeepFork(_Fork):
    """Fork copies every block."""

    def fork(self, table):
        return self.take(len(table))


@WRONG("ForkingPool")
class ForkingPoolCopiesAll(_Fork):
    """Every shared block is copied, as a fork of an operating system's small process would."""

    def extend(self, table, length, count):
        pairs = []
        for i, block in enumerate(table):
            if self.refs[block] > 1 and length % self.size:
                (new,) = self.take(1)
                pairs.append((block, new))
                self.release([block])
                table[i] = new
        table += self.take(new_blocks(length, count, self.size))
        return pairs


@WRONG("ForkingPool")
class ForkingPoolForgetsBlank(_Fork):
    """The copied block is not one more."""

    def extend(self, table, length, count):
        copy = self.copies(table, length)
        taken = self.take(max(new_blocks(length, count, self.size), int(copy)))
        if not copy:
            table += taken
            return []
        pair = (table[-1], taken[0])
        self.release([table[-1]])
        table[-1:] = taken
        return [pair]


@WRONG("ForkingPool")
class ForkingPoolNewTable(_Fork):
    """The table of the caller stays as it was."""

    def extend(self, table, length, count):
        return super().extend(list(table), length, count)


# -- PrefixIndex ---------------------------------------------------------------------------------------


class _Index:
    """Options: what the key is made of, and how many blocks are looked up and added."""

    chained, most, full, again, stop, newest, ordered = True, 1, True, False, True, False, True

    def __init__(self, size):
        self.size, self.blocks, self.keys = size, {}, {}

    def forget(self, block):
        key = self.keys.pop(block, None)
        if key is not None:
            self.blocks[key].remove(block)
            if not self.blocks[key]:
                del self.blocks[key]

    def chain(self, tokens, count):
        parent, found = (), []
        for i in range(count):
            own = tokens[i * self.size : (i + 1) * self.size]
            parent = (parent if self.chained else (), tuple(own if self.ordered else sorted(own)))
            found.append(parent)
        return found

    def add(self, table, tokens):
        count = len(tokens) // self.size if self.full else -(-len(tokens) // self.size)
        for block, key in zip(table, self.chain(tokens, count), strict=False):
            if self.again or block not in self.keys:
                self.keys[block] = key
                self.blocks.setdefault(key, []).append(block)

    def find(self, tokens):
        found = []
        for key in self.chain(tokens, (len(tokens) - self.most) // self.size):
            if key in self.blocks:
                found.append(self.blocks[key][-1 if self.newest else 0])
            elif self.stop:
                break
        return found


RIGHT("PrefixIndex")(_Index)


@RIGHT("PrefixIndex")
class PrefixIndexOfBeginnings(_Index):
    """The key is the whole beginning."""

    def chain(self, tokens, count):
        return [tuple(tokens[: (i + 1) * self.size]) for i in range(count)]


@RIGHT("PrefixIndex")
class PrefixIndexWithHash(_Index):
    """Python's hash; the loop of ``find`` counts differently; only keys that are new are computed."""

    def chain(self, tokens, count):
        parent, found = 0, []
        for start in range(0, count * self.size, self.size):
            parent = hash((parent, *tokens[start : start + self.size]))
            found.append(parent)
        return found

    def find(self, tokens):
        found = []
        while (len(found) + 1) * self.size < len(tokens):
            known = self.blocks.get(self.chain(tokens, len(found) + 1)[-1])
            if not known:
                return found
            found.append(known[0])
        return found


WRONG.add("PrefixIndex", _Index, "hash without the parent", chained=False)
WRONG.add("PrefixIndex", _Index, "one hit too many at multiples", most=0)
WRONG.add("PrefixIndex", _Index, "one hit too few", most=2)
WRONG.add("PrefixIndex", _Index, "a partial block is added", full=False)
WRONG.add("PrefixIndex", _Index, "added again", again=True)
WRONG.add("PrefixIndex", _Index, "gaps are skipped", stop=False)
WRONG.add("PrefixIndex", _Index, "the newest of equal blocks", newest=True)
WRONG.add("PrefixIndex", _Index, "the order of tokens does not matter", ordered=False)


@WRONG("PrefixIndex")
class PrefixIndexStopsAtKnown(_Index):
    """A block that has a key ends the loop."""

    def add(self, table, tokens):
        for block, key in zip(table, self.chain(tokens, len(tokens) // self.size), strict=False):
            if block in self.keys:
                break
            self.keys[block] = key
            self.blocks.setdefault(key, []).append(block)


@WRONG("PrefixIndex")
class PrefixIndexParentOfNew(_Index):
    """The parent is only carried on by blocks that are new."""

    def add(self, table, tokens):
        parent = ()
        for i in range(len(tokens) // self.size):
            if table[i] not in self.keys:
                parent = (parent, tuple(tokens[i * self.size : (i + 1) * self.size]))
                self.keys[table[i]] = parent
                self.blocks.setdefault(parent, []).append(table[i])


@WRONG("PrefixIndex")
class PrefixIndexOne(_Index):
    """A key holds one block, the last."""

    def add(self, table, tokens):
        for block, key in zip(table, self.chain(tokens, len(tokens) // self.size), strict=False):
            if block not in self.keys:
                self.keys[block] = key
                self.blocks[key] = [block]

    def forget(self, block):
        key = self.keys.pop(block, None)
        if key is not None and self.blocks.get(key) == [block]:
            del self.blocks[key]


@WRONG("PrefixIndex")
class PrefixIndexCount(_Index):
    """The number of tokens instead of the blocks."""

    def find(self, tokens):
        return len(super().find(tokens)) * self.size


@WRONG("PrefixIndex")
class PrefixIndexText(_Index):
    """Tokens glued together as text: 1, 23 is 12, 3."""

    def chain(self, tokens, count):
        return ["".join(map(str, tokens[: (i + 1) * self.size])) for i in range(count)]


@WRONG("PrefixIndex")
class PrefixIndexOfFour(_Index):
    """A block has four tokens whatever the size is."""

    def __init__(self, size):
        super().__init__(4)


# -- CachingPool ---------------------------------------------------------------------------------------


class _Cache(_Fork):
    """Options: where blocks with and without keys go, when they are forgotten, what ``admit`` counts."""

    forget_on, known, unknown, turn, cap, idle, touch_first, limited = "take", "back", "front", True, True, True, True, True  # fmt: skip

    def __init__(self, count, size):
        super().__init__(count, size)
        self.index = _Index(size)

    def take(self, count):
        taken = super().take(count)
        if self.forget_on == "take":
            for block in taken:
                self.index.forget(block)
        return taken

    def release(self, table):
        super().release(table)
        for block in reversed(table) if self.turn else table:
            if self.refs[block]:
                continue
            if self.forget_on == "release":
                self.index.forget(block)
            place = self.known if block in self.index.keys else self.unknown
            if place == "back":
                self.free.remove(block)
                self.free.append(block)

    def admit(self, tokens, limit):
        found = self.index.find(tokens)
        hits = len(found) * self.size
        rest = min(limit, len(tokens) - hits) if self.limited else len(tokens) - hits
        count = new_blocks(hits, rest, self.size)
        idle = [block for block in found if self.refs[block] == 0]
        if self.cap and count + len(idle) * self.idle > len(self.free):
            raise ValueError("모자람")
        taken = [] if self.touch_first else self.take(count)
        for block in idle:
            if block in self.free:
                self.free.remove(block)
        self.share(found)
        return found + (self.take(count) if self.touch_first else taken), hits


RIGHT("CachingPool")(_Cache)


@RIGHT("CachingPool")
class CachingPoolTwoLists(ForkingPoolStepwise):
    """The queue is put together from two lists; ``admit`` tries and looks at what would be left."""

    def __init__(self, count, size):
        super().__init__(count, size)
        self.index = PrefixIndexOfBeginnings(size)

    def take(self, count):
        taken = super().take(count)
        for block in taken:
            self.index.forget(block)
        return taken

    def release(self, table):
        before = len(self.free)
        super().release(table)
        new = self.free[: len(self.free) - before]
        known = [block for block in new if block in self.index.keys]
        self.free = [block for block in self.free if block not in known] + known

    def admit(self, tokens, limit):
        found = self.index.find(tokens)
        left = [block for block in self.free if block not in set(found)]
        end = min(len(found) * self.size + limit, len(tokens))
        count = -(-end // self.size) - len(found)
        if len(left) < count:
            raise ValueError
        self.free = left
        self.share(np.array(found, int))
        return found + self.take(count), len(found) * self.size


@RIGHT("CachingPool")
class CachingPoolByExtend(_Cache):
    """``extend`` does the rest of ``admit``; undone by hand where it does not fit."""

    def admit(self, tokens, limit):
        found = self.index.find(tokens)
        queue = deque(self.free)
        self.share(found)
        for block in set(found) & set(queue):
            self.free.remove(block)
        table, hits = list(found), len(found) * self.size
        try:
            self.extend(table, hits, min(limit, len(tokens) - hits))
        except ValueError:
            self.free = queue
            for block in found:
                self.refs[block] -= 1
            raise
        return table, hits


WRONG.add("CachingPool", _Cache, "evicted on release", forget_on="release")
WRONG.add("CachingPool", _Cache, "never evicted", forget_on="never")
WRONG.add("CachingPool", _Cache, "all to the front", known="front")
WRONG.add("CachingPool", _Cache, "all to the back", unknown="back")
WRONG.add("CachingPool", _Cache, "unhashed to the back, hashed to the front", known="front", unknown="back")
WRONG.add("CachingPool", _Cache, "freed forwards", turn=False)
WRONG.add("CachingPool", _Cache, "idle hits count as room", idle=False)
WRONG.add("CachingPool", _Cache, "refused too late", cap=False)
WRONG.add("CachingPool", _Cache, "new blocks before the found ones are touched", touch_first=False)
WRONG.add("CachingPool", _Cache, "no limit", limited=False)


@WRONG("CachingPool")
class CachingPoolMovesUsed(_Cache):
    """Blocks that others still use are put into the queue."""

    def release(self, table):
        _Fork.release(self, table)
        for block in reversed(table):
            if block in self.index.keys:
                if block in self.free:
                    self.free.remove(block)
                self.free.append(block)


@WRONG("CachingPool")
class CachingPoolLeavesFound(_Cache):
    """Found blocks stay in the queue."""

    def admit(self, tokens, limit):
        found = self.index.find(tokens)
        hits = len(found) * self.size
        count = new_blocks(hits, min(limit, len(tokens) - hits), self.size)
        if count > len(self.free):
            raise ValueError
        self.share(found)
        return found + self.take(count), hits


@WRONG("CachingPool")
class CachingPoolBlocksFound(_Cache):
    """The number of blocks found, not of tokens."""

    def admit(self, tokens, limit):
        table, hits = super().admit(tokens, limit)
        return table, hits // self.size


@WRONG("CachingPool")
class CachingPoolUncounted(_Cache):
    """Found blocks that others use keep their counts."""

    def admit(self, tokens, limit):
        table, hits = super().admit(tokens, limit)
        for block in table[: hits // self.size]:
            if self.refs[block] > 1:
                self.refs[block] -= 1
        return table, hits


# -- step ----------------------------------------------------------------------------------------------


def _step(pool, running, waiting, seats, budget, victim=-1, front=True, reset=True, drop=True, clear=True,
          admit_anyway=False, limit_seats=True, limit_budget=True, skip=False, register="now", count_done=False,
          admit_all=False, forget_tokens=False, new_first=False,
    retry=True):  # fmt: skip
    plan, preempted = [], False

    def room():
        return budget if limit_budget else 10**6

    def schedule(request):
        nonlocal budget
        count = min(len(request.tokens) - request.done, room())
        end = {
            "now": request.done + count,
            "prompts": request.done + count,
            "late": request.done + count,
            "all": 10**6,
            "done": request.done,
        }
        if register in ("now", "all", "done") or register == "prompts" and request not in known:
            pool.index.add(request.table, request.tokens[: end[register]])
        plan.append((request, count))
        budget -= count
        if count_done:
            request.done += count

    def admit():
        nonlocal preempted
        place = 0
        while place < len(waiting) and room() > 0 and (admit_anyway or not preempted):
            if limit_seats and len(running) >= seats:
                break
            request = waiting[place]
            try:
                request.table, request.done = pool.admit(request.tokens, 10**6 if admit_all else room())
            except ValueError:
                if not skip:
                    break
                place += 1
                continue
            running.append(waiting.pop(place))
            schedule(request)

    known = list(running)
    if new_first:
        admit()
    for request in known:
        while request in running and room() > 0:
            try:
                pool.extend(request.table, request.done, min(len(request.tokens) - request.done, room()))
            except ValueError:
                loser = running.pop(victim)
                preempted = True
                plan[:] = [pair for pair in plan if pair[0] is not loser]
                if drop:
                    pool.release(loser.table)
                if clear:
                    loser.table = []
                if reset:
                    loser.done = 0
                if forget_tokens:
                    loser.tokens = loser.tokens[:5]
                waiting.insert(0 if front else len(waiting), loser)
                if not retry:
                    break
            else:
                schedule(request)
                break
    if not new_first:
        admit()
    if register == "late":
        for request, count in plan:
            pool.index.add(request.table, request.tokens[: request.done + count])
    return plan


RIGHT("step")(_step)


@RIGHT("step")
def step_with_flags(pool, running, waiting, seats, budget):
    """One place in ``running``, moved on by hand; the victim is the last by its index."""
    plan, place, full = [], 0, False
    while place < len(running) and budget > 0:
        request = running[place]
        count = min(budget, len(request.tokens) - request.done)
        try:
            pool.extend(request.table, request.done, count)
        except ValueError:
            full, last = True, running[-1]
            del running[-1]
            pool.release(last.table)
            last.table, last.done = [], 0
            waiting[:0] = [last]
            continue
        pool.index.add(request.table, request.tokens[: request.done + count])
        plan += [(request, count)]
        budget -= count
        place += 1
    if full:
        return plan
    while budget > 0 and waiting and len(running) < seats:
        request = waiting[0]
        try:
            table, done = pool.admit(request.tokens, budget)
        except ValueError:
            return plan
        request.table, request.done = table, done
        count = min(budget, len(request.tokens) - done)
        pool.index.add(table, request.tokens[: done + count])
        running.append(request)
        del waiting[0]
        plan += [(request, count)]
        budget -= count
    return plan


@RIGHT("step")
def step_with_pairs(pool, running, waiting, seats, budget):
    """Pairs as lists; a counter of what is left."""
    plan, left, before = [], [budget], len(waiting)

    def put(request, count):
        pool.index.add(request.table, request.tokens[: count + request.done])
        plan.append([request, count])
        left[0] -= count

    for request in running[:]:
        while any(request is other for other in running) and left[0]:
            count = min(len(request.tokens) - request.done, left[0])
            try:
                pool.extend(request.table, request.done, count)
                put(request, count)
                break
            except ValueError:
                out = running.pop()
                pool.release(out.table)
                out.table, out.done = [], 0
                waiting.insert(0, out)
    while len(waiting) <= before and waiting and left[0] and len(running) < seats:
        try:
            waiting[0].table, waiting[0].done = pool.admit(waiting[0].tokens, left[0])
        except ValueError:
            break
        running.append(waiting.pop(0))
        put(running[-1], min(len(running[-1].tokens) - running[-1].done, left[0]))
    return plan


WRONG.add("step", _step, "the oldest is preempted", victim=0)
WRONG.add("step", _step, "preempted to the end of the queue", front=False)
WRONG.add("step", _step, "done is kept", reset=False)
WRONG.add("step", _step, "blocks of the preempted leak", drop=False)
WRONG.add("step", _step, "the table of the preempted is kept", clear=False)
WRONG.add("step", _step, "admit after a preemption", admit_anyway=True)
WRONG.add("step", _step, "seats ignored", limit_seats=False)
WRONG.add("step", _step, "budget ignored", limit_budget=False)
WRONG.add("step", _step, "who does not fit is passed over", skip=True)
WRONG.add("step", _step, "not registered", register="never")
WRONG.add("step", _step, "registered before it is computed", register="all")
WRONG.add("step", _step, "only new requests are registered", register="prompts")
WRONG.add("step", _step, "registered one step late", register="done")
WRONG.add("step", _step, "registered after all were admitted", register="late")
WRONG.add("step", _step, "done moved on here", count_done=True)
WRONG.add("step", _step, "blocks for the whole prompt", admit_all=True)
WRONG.add("step", _step, "new requests first", new_first=True)
WRONG.add("step", _step, "not tried again after a preemption", retry=False)
WRONG.add("step", _step, "the tokens made so far are lost", forget_tokens=True)


@WRONG("step")
def step_reversed(pool, running, waiting, seats, budget):
    """The latest request first, which may read what is not written yet."""
    return _step(pool, running, waiting, seats, budget)[::-1]


@WRONG("step")
def step_ends(pool, running, waiting, seats, budget):
    """Where the computed tokens end instead of how many they are."""
    return [(request, request.done + n) for request, n in _step(pool, running, waiting, seats, budget)]


@WRONG("step")
def step_swapped(pool, running, waiting, seats, budget):
    """Counts before requests."""
    return [(count, request) for request, count in _step(pool, running, waiting, seats, budget)]


@WRONG("step")
def step_no_return(pool, running, waiting, seats, budget):
    """Nothing is returned."""
    _step(pool, running, waiting, seats, budget)
