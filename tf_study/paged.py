"""Blocks of a paged KV cache: which are free, what they hold, and who shares them.

Its rules are explained in lecture 14.4, which compares its decisions with recorded ones of vLLM 0.32. A block has
room for the keys and values of ``size`` tokens; the table of a sequence names its blocks in the order of tokens::

    pool = Pool(64, 16)
    found = pool.lookup(tokens)                 # blocks that hold a beginning of these tokens
    count = pool.blocks(len(tokens)) - len(found)
    if pool.fits(found, count):
        pool.touch(found)
        table = found + pool.take(count)
        ...                                     # write keys and values from token len(found) * size on
        pool.register(table, tokens)            # from now on others find the full ones
        pool.release(table)                     # free again, but still found until they are taken

Rules of vLLM V1 for one group of layers with full attention (``vllm/v1/core/block_pool.py``,
``kv_cache_manager.py``, ``single_type_kv_cache_manager.py``): block 0 is never given out, padding may be written
there; a block is known by the hash of its tokens and of all before them; at least one token of a prompt is
computed; a table is released from its end; what nobody can find is taken first, the rest in the order of release.
Paging: Kwon et al. 2023 (arXiv:2309.06180).
"""

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Sequence


class Pool:
    """The blocks 1 .. blocks - 1 and what is known about each; 0 is the null block.

    Args:
        blocks: number of blocks, the null block among them.
        size: tokens a block.
        caching: let :meth:`lookup` find what :meth:`register` told.
    """

    def __init__(self, blocks: int, size: int, caching: bool = True):
        self.size, self.caching = size, caching
        self.free = OrderedDict.fromkeys(range(1, blocks))  # the first is the next to be taken
        self.refs = [0] * blocks  # how many tables name a block
        self.hash_of: list[bytes | None] = [None] * blocks
        self.by_hash: dict[bytes, dict[int, None]] = {}  # two sequences may fill equal blocks at one time
        self.evicted = 0

    @staticmethod
    def digest(parent: bytes, tokens: Sequence[int]) -> bytes:
        """Return the hash of a block from that of the block before it, ``b""`` for the first, and its tokens."""
        return hashlib.sha256(parent + array("q", tokens).tobytes()).digest()

    def blocks(self, tokens: int) -> int:
        """Return the number of blocks that so many tokens need."""
        return -(-tokens // self.size)

    def fits(self, found: Sequence[int], count: int) -> bool:
        """Return whether ``count`` blocks can be taken after ``found`` were touched."""
        return count + sum(self.refs[block] == 0 for block in found) <= len(self.free)

    def lookup(self, tokens: Sequence[int]) -> list[int]:
        """Return the blocks of the longest known beginning, never all tokens: the last must give logits."""
        found, parent = [], b""
        for start in range(0, len(tokens) - self.size, self.size):
            parent = self.digest(parent, tokens[start : start + self.size])
            if parent not in self.by_hash:
                break
            found.append(next(iter(self.by_hash[parent])))
        return found

    def touch(self, found: Sequence[int]) -> None:
        """Count one more table for blocks that :meth:`lookup` found."""
        for block in found:
            self.free.pop(block, None)
            self.refs[block] += 1

    def take(self, count: int) -> list[int]:
        """Return the first ``count`` free blocks; what they held is found no more."""
        if count > len(self.free):
            raise ValueError(f"{count} blocks asked for, {len(self.free)} free")
        taken = [self.free.popitem(last=False)[0] for _ in range(max(count, 0))]
        for block in taken:
            self.refs[block] = 1
            if (known := self.hash_of[block]) is not None:
                self.hash_of[block] = None
                del self.by_hash[known][block]
                if not self.by_hash[known]:
                    del self.by_hash[known]
                self.evicted += 1
        return taken

    def register(self, table: Sequence[int], tokens: Sequence[int], written: int | None = None) -> None:
        """Make the full blocks of a table known.

        Args:
            table: the blocks of the sequence.
            tokens: its tokens.
            written: how many of them the blocks hold; ``None`` stands for all.
        """
        if not self.caching:
            return
        full = (len(tokens) if written is None else written) // self.size
        first = full  # the hash of a block that is known already needs no computing
        while first and self.hash_of[table[first - 1]] is None:
            first -= 1
        parent = self.hash_of[table[first - 1]] if first else b""
        for index in range(first, full):
            parent = self.digest(parent, tokens[index * self.size : (index + 1) * self.size])
            self.hash_of[table[index]] = parent
            self.by_hash.setdefault(parent, {})[table[index]] = None

    def release(self, table: Sequence[int]) -> None:
        """Give up a table; blocks that no other table names become free.

        Those without a hash go to the front of the queue, the others to its end, and later blocks of a table
        before earlier ones: a beginning is useful to more sequences than what follows it.
        """
        unknown = []
        for block in reversed(table):
            if self.refs[block] < 1:
                raise ValueError(f"block {block} is free already")
            self.refs[block] -= 1
            if not self.refs[block]:
                self.free[block] = None
                if self.hash_of[block] is None:
                    unknown.append(block)
        for block in reversed(unknown):
            self.free.move_to_end(block, last=False)
