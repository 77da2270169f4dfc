"""Who computes what in the next step: first come first served, prompts in pieces, the last to come makes room.

A sequence has tokens, of which the first ``computed`` lie in its blocks. What is missing is computed in steps of at
most ``budget`` tokens: all of a new prompt or a piece of it, one token of a sequence that is answered. There is no
other difference between the two. Rules of vLLM V1's scheduler; nothing of TensorFlow is needed here.
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from tf_study.paged import Pool


@dataclass(eq=False)
class Generating:
    """A sequence: its tokens, what of it is computed, and the blocks that hold it.

    Attributes:
        tokens: the prompt, then what was generated.
        limit: most tokens, those of the prompt counted.
        stops: tokens that end it and are not kept.
        owner: whatever the caller wants to find again.
    """

    tokens: list[int]
    limit: int
    stops: frozenset[int] = frozenset()
    owner: object = None
    prompt: int = 0
    computed: int = 0
    table: list[int] = field(default_factory=list)

    def __post_init__(self):
        self.prompt = len(self.tokens)

    @property
    def missing(self) -> int:
        return len(self.tokens) - self.computed


@dataclass(frozen=True)
class Part:
    """What one sequence computes in a step: ``count`` tokens from its first missing one on."""

    sequence: Generating
    count: int

    @property
    def gives(self) -> bool:
        """Whether a new token follows: nothing is missing after this part."""
        return self.count == self.sequence.missing


class Scheduler:
    """The sequences that wait and those that run.

    Args:
        pool: the blocks; a sequence needs at most all of them.
        slots: most sequences that run together.
        budget: most tokens of a step.
    """

    def __init__(self, pool: Pool, slots: int = 16, budget: int = 64):
        if budget < slots:
            raise ValueError("a step must have room for a token of every running sequence")
        self.pool, self.slots, self.budget = pool, slots, budget
        self.waiting: deque[Generating] = deque()
        self.running: list[Generating] = []  # in the order in which they were admitted
        self.finished = Counter()  # by reason
        self.preemptions = self.queries = self.hits = self.prompt_tokens = self.generated_tokens = 0

    def add(self, sequence: Generating) -> None:
        """Let a sequence wait for its turn.

        Raises:
            ValueError: if it is empty, has no room for a token, or could never be held.
        """
        if not 0 < sequence.prompt < sequence.limit or self.pool.blocks(sequence.limit) >= len(
            self.pool.refs
        ):
            raise ValueError("a sequence needs a prompt, room for a token, and no more blocks than there are")
        self.waiting.append(sequence)
        self.prompt_tokens += sequence.prompt

    def abort(self, sequence: Generating) -> None:
        """Forget a sequence, wherever it is, and free its blocks; one that has ended is left alone."""
        if sequence in self.running or sequence in self.waiting:
            self._leave(sequence, "abort")

    def schedule(self) -> list[Part]:
        """Return the parts of the next step and give them blocks; without any, nothing waits or runs."""
        parts, left, preempted = [], self.budget, False
        while len(parts) < len(self.running) and left:
            sequence = self.running[len(parts)]
            count = min(sequence.missing, left)
            grow = self.pool.blocks(sequence.computed + count) - len(sequence.table)
            if self.pool.fits((), grow):
                sequence.table += self.pool.take(grow)
                parts.append(Part(sequence, count))
                left -= count
            else:
                self._preempt(self.running[-1])
                preempted = True
        while self.waiting and left and len(self.running) < self.slots and not preempted:
            sequence = self.waiting[0]
            found = self.pool.lookup(sequence.tokens)
            start = len(found) * self.pool.size
            count = min(len(sequence.tokens) - start, left)
            grow = self.pool.blocks(start + count) - len(found)
            if not self.pool.fits(found, grow):
                break
            self.pool.touch(found)
            sequence.table, sequence.computed = found + self.pool.take(grow), start
            self.running.append(self.waiting.popleft())
            self.queries, self.hits = self.queries + len(sequence.tokens), self.hits + start
            parts.append(Part(sequence, count))
            left -= count
        return parts

    def commit(
        self, parts: Sequence[Part], tokens: Sequence[int]
    ) -> list[tuple[Generating, int, str | None]]:
        """Note that a step is done.

        Args:
            parts: what :meth:`schedule` returned.
            tokens: the next token of each part that gives one, in order.

        Returns:
            Sequence, new token, and why it ended: ``"stop"`` (the token is not kept), ``"length"``, or ``None``.
        """
        news, chosen = [], iter(tokens)
        for part in parts:
            sequence, gives = part.sequence, part.gives
            sequence.computed += part.count
            self.pool.register(sequence.table, sequence.tokens, sequence.computed)
            if not gives:
                continue
            token = next(chosen)
            reason = "stop" if token in sequence.stops else None
            if not reason:
                sequence.tokens.append(token)
                self.generated_tokens += 1
                reason = "length" if len(sequence.tokens) == sequence.limit else None
            if reason:
                self._leave(sequence, reason)
            news.append((sequence, token, reason))
        return news

    def usage(self) -> float:
        """Return the share of the blocks that are in use; what is only kept in case it is wanted again is free."""
        blocks = len(self.pool.refs) - 1
        return 1 - len(self.pool.free) / blocks

    def _preempt(self, sequence: Generating) -> None:
        """Take back the blocks of a sequence; it waits as the first and computes its tokens again."""
        self.running.remove(sequence)
        self._free(sequence)
        self.waiting.appendleft(sequence)
        self.preemptions += 1

    def _leave(self, sequence: Generating, reason: str) -> None:
        (self.running if sequence in self.running else self.waiting).remove(sequence)
        self._free(sequence)
        self.finished[reason] += 1

    def _free(self, sequence: Generating) -> None:
        self.pool.release(sequence.table)
        sequence.table = []
