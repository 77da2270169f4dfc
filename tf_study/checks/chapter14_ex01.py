"""Checks of practice 14.1, the block manager of PagedAttention: every decision, also along random traces.

The reference remembers whole beginnings where an answer chains hashes, and lists where it may use anything else;
the order in which blocks leave is compared as well, since a later problem and vLLM depend on it.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.random import default_rng

from tf_study.expect import (
    Mismatch,
    expect,
    expect_close,
    expect_integers,
    expect_parts,
    expect_returned,
    untouched,
)
from tf_study.practice import problem

SEEDS = range(3)


class _Pool:
    """The rules of problems 3 to 6 in lists; ``contents`` maps a block to the tokens up to its end."""

    def __init__(self, count: int, size: int):
        self.size, self.free, self.refs = size, list(range(1, count)), [0] * count
        self.contents: dict[int, tuple] = {}
        self.index = self  # as far as ``pool.index.add`` and ``pool.index.find`` go

    def blocks(self, tokens: int) -> int:
        return (tokens + self.size - 1) // self.size

    def take(self, count: int) -> list[int]:
        if count > len(self.free):
            raise ValueError(f"블록 {count}개가 필요한데 {len(self.free)}개가 남았습니다.")
        taken, self.free = self.free[:count], self.free[count:]
        for block in taken:
            self.contents.pop(block, None)
        self.share(taken)
        return taken

    def share(self, table: Sequence[int]) -> None:
        for block in table:
            self.refs[block] += 1

    def fork(self, table: Sequence[int]) -> list[int]:
        self.share(table)
        return list(table)

    def release(self, table: Sequence[int]) -> None:
        for block in table:
            if self.refs[block] == 0:
                raise ValueError(f"{block}번 블록은 이미 비어 있습니다.")
            self.refs[block] -= 1
        freed = [block for block in reversed(table) if self.refs[block] == 0]
        known = [block for block in freed if block in self.contents]
        self.free = [block for block in freed if block not in self.contents] + self.free + known

    def extend(self, table: list[int], length: int, count: int) -> list[tuple[int, int]]:
        copy = length % self.size > 0 and self.refs[table[-1]] > 1
        taken = self.take(self.blocks(length + count) - self.blocks(length) + copy)
        if not copy:
            table += taken
            return []
        old = table.pop()
        self.refs[old] -= 1
        table += taken
        return [(old, taken[0])]

    def add(self, table: Sequence[int], tokens: Sequence[int]) -> None:
        for i in range(min(len(table), len(tokens) // self.size)):  # An answer may give too many tokens.
            self.contents.setdefault(table[i], tuple(tokens[: (i + 1) * self.size]))

    def forget(self, block: int) -> None:
        self.contents.pop(block, None)

    def find(self, tokens: Sequence[int]) -> list[int]:
        found = []
        for end in range(self.size, len(tokens), self.size):
            same = [block for block, text in self.contents.items() if text == tuple(tokens[:end])]
            if not same:
                break
            found.append(same[0])
        return found

    def admit(self, tokens: Sequence[int], limit: int) -> tuple[list[int], int]:
        found = self.find(tokens)
        done = len(found) * self.size
        count = self.blocks(min(len(tokens), done + limit)) - len(found)
        rest = [block for block in self.free if block not in found]
        if count > len(rest):
            raise ValueError("블록이 모자랍니다.")
        self.free = rest
        self.share(found)
        return found + self.take(count), done


@problem("필요한 블록", minutes=5)
def new_blocks(answer):
    """Every length up to three blocks, every growth up to three, in blocks of several sizes."""
    for size in (4, 1, 3, 16):
        for length in reversed(range(3 * size + 1)):
            for count in range(3 * size + 1):
                case = f"토큰 {length}개에 {count}개를 더함, 블록 크기 {size}"
                expected = len(
                    {place // size for place in range(length, length + count)} - {(length - 1) // size}
                )
                whole = -(-(length + count) // size)
                mistakes = {
                    "마지막 블록의 빈칸을 쓰지 않았습니다.": -(-count // size),
                    "이미 쓰는 블록까지 세었습니다. 새로 필요한 블록만 세세요.": whole,
                    "길이가 블록 크기의 배수일 때 블록 하나를 더 세었습니다.": (length + count) // size + 1 - -(-length // size),
                    "올림이 아니라 버림으로 세었습니다.": (length + count) // size - length // size,
                }  # fmt: skip
                got = expect_integers(answer(length, count, size), case)
                expect_close(got, expected, case, tol=0, mistakes=mistakes)


@problem("주소 변환", minutes=5)
def slots(answer):
    """Tables in no order; whole sequences, parts, single tokens, nothing; a table that is too short."""
    rng = default_rng(1402)
    for size in (4, 1, 3, 16):
        for length in (5, 2, 1):
            table = [int(block) for block in rng.permutation(np.arange(1, 30))[:length]]
            room = length * size
            parts = [(room // 3, room), (0, room), (room - 1, room), (0, 1), (room // 3, room - room // 4), (1, 1)]  # fmt: skip
            for start, stop in parts:
                case = f"표 {table}, 위치 {start}~{stop - 1}, 블록 크기 {size}"
                if start == stop:
                    case = f"표 {table}, 빈 구간, 블록 크기 {size}"
                places = list(range(start, stop))

                def mistakes(places=places, table=table, size=size, start=start):
                    wrong = [place - start for place in places]
                    return {
                        "//와 %가 뒤바뀌었습니다.": [table[p % size % len(table)] * size + p // size for p in places],
                        "위치를 start가 아니라 0부터 세었습니다.": [table[p // size] * size + p % size for p in wrong],
                        "블록 번호에 블록 크기를 곱하지 않았습니다.": [table[p // size] + p % size for p in places],
                        "표를 거치지 않은 논리적 위치입니다.": places,
                        "블록 안의 칸을 더하지 않았습니다.": [table[p // size] * size for p in places],
                        "블록의 번호입니다. 칸의 번호를 돌려주세요.": [table[p // size] for p in places],
                        "블록 번호를 0이 아니라 1부터 센 것으로 보았습니다.": [(table[p // size] - 1) * size + p % size for p in places],
                    }  # fmt: skip

                with untouched(case, table):
                    got = answer(table, start, stop, size)
                expected = [table[p // size] * size + p % size for p in places]
                expect_close(expect_integers(got, case), expected, case, tol=0, mistakes=mistakes)
            expect_refused(
                lambda table=table, room=room, size=size: answer(table, 0, room + 1, size),
                f"표 {table}, 토큰 {room + 1}개, 블록 크기 {size}: 표에 들어가지 않으므로",
            )


def expect_refused(call: Callable, why: str) -> None:
    """Raise :class:`Mismatch` unless the call raises ``ValueError``."""
    try:
        call()
    except ValueError:
        return
    raise Mismatch(f"{why} ValueError를 일으켜야 하는데 그러지 않았습니다.")


def _plain(got, case: str) -> list:
    """Return block numbers as a list."""
    expect_returned(got, case)
    expect(
        isinstance(got, list | tuple | np.ndarray),
        f"{case}: 블록 번호의 목록이 아니라 {type(got).__name__}입니다.",
    )
    return [int(block) for block in got]


def _expect_state(pool, own: _Pool, case: str) -> None:
    """The same free blocks in the same order, and the same counts."""
    free, refs = _plain(list(pool.free), case), _plain(list(pool.refs), case)
    twice = [block for block in free if free.count(block) > 1]
    expect(not twice, f"{case}: {twice and twice[0]}번 블록이 free에 두 번 있습니다.")
    lost = sorted(set(own.free) - set(free))
    expect(
        not lost, f"{case}: 아무도 쓰지 않는 {lost and lost[0]}번 블록이 free에 없습니다. 블록이 샜습니다."
    )
    early = sorted(set(free) - set(own.free))
    expect(not early, f"{case}: 아직 쓰이는 {early and early[0]}번 블록이 free에 있습니다.")
    expect(refs == own.refs, f"{case}: refs가 {own.refs}여야 하는데 {refs}입니다.")
    expect(free == own.free, f"{case}: free의 순서가 {own.free}여야 하는데 {free}입니다.")


def _both(pool, own: _Pool, name: str, arguments: tuple, case: str, judge: Callable | None = None):
    """Call a method of both pools and return both results, ``None`` where the reference refuses; compare states.

    ``judge(got, expected)`` is called before, since what it says is closer to the mistake.
    """
    copies = [list(item) if isinstance(item, list) else item for item in arguments]
    try:
        expected = getattr(own, name)(*copies)
    except ValueError:
        expect_refused(lambda: getattr(pool, name)(*arguments), f"{case}: 블록이 모자라므로")
        expect(
            list(arguments) == copies,
            f"{case}: 거절하면서 표를 바꾸었습니다. 모두 받을 수 있는지 먼저 보세요.",
        )
        _expect_state(pool, own, f"{case}, 거절한 뒤")
        return None, None
    got = getattr(pool, name)(*arguments)
    if judge:
        judge(got, expected)
    _expect_state(pool, own, case)
    if name == "extend":
        changed, wanted = _plain(arguments[0], case), copies[0]
        expect(changed == wanted, f"{case}: 표가 {wanted}여야 하는데 {changed}입니다.")
    return got, expected


@problem("참조 수", minutes=10)
def BlockPool(answer):
    """Small cases that name the mistake, then random traces."""
    pool, own, case = answer(7, 4), _Pool(7, 4), "블록 1~6, 세 개를 받고 돌려줌"
    table = _take(pool, own, 3, case)
    pool.release(table)
    own.release([1, 2, 3])
    free = _plain(list(pool.free), case)
    expect(
        free[:3] != [1, 2, 3],
        f"{case}: 표의 앞 블록이 먼저 나갑니다. 표 [1, 2, 3]을 돌려주면 다음에는 3번이 먼저 나가야 합니다.",
    )
    expect(sorted(free[3:]) != [1, 2, 3], f"{case}: 돌려준 블록이 free의 뒤에 있습니다. 앞에 놓으세요.")
    _expect_state(pool, own, case)
    with untouched(case, table):
        _take(pool, own, 2, f"{case}, 다시 두 개를 받음")
    for more in (5, 100):
        _both(pool, own, "take", (more,), f"빈 블록 네 개에서 {more}개를 받음")

    pool, own, case = answer(5, 4), _Pool(5, 4), "한 표를 두 시퀀스가 씀"
    table = _take(pool, own, 2, case)
    pool.share(table)
    own.share([1, 2])
    _expect_state(pool, own, case)
    for time in ("한 번", "두 번"):
        with untouched(case, table):
            _both(pool, own, "release", (table,), f"{case}, {time} 돌려줌")
    expect_refused(lambda: pool.release(table), f"{case}, 세 번 돌려줌: 이미 빈 블록이므로")

    for seed in SEEDS:
        rng = default_rng(seed)
        pool, own, tables = answer(13, 4), _Pool(13, 4), []
        for number in range(150):
            kind = rng.choice(["take", "share", "release"], p=(0.4, 0.2, 0.4))
            case = f"무작위 연산 {number}번(시드 {seed}), {kind}"
            if kind == "take":
                count = int(rng.integers(0, 5))
                if count <= len(own.free):
                    tables.append(_take(pool, own, count, f"{case} {count}개"))
                else:
                    _both(pool, own, "take", (count,), f"{case} {count}개")
            elif tables:
                index = int(rng.integers(len(tables)))
                table = tables[index] if kind == "share" else tables.pop(index)
                if kind == "share":
                    tables.append(list(table))
                _both(pool, own, kind, (list(table),), f"{case} {table}")


def _take(pool, own: _Pool, count: int, case: str) -> list[int]:
    got, expected = _both(pool, own, "take", (count,), case)
    got = _plain(got, case)
    expect(got == expected, f"{case}: {expected}번 블록을 주어야 하는데 {got}입니다.")
    return got


@problem("포크와 쓰기 시 복사", minutes=10)
def ForkingPool(answer):
    """Small cases that name the mistake, then random traces of sequences that fork, grow and end."""
    pool, own, case = answer(12, 4), _Pool(12, 4), "빈 표에 토큰 7개, 블록 크기 4"
    first: list[int] = []
    _grow(pool, own, first, 0, 7, case)
    second = _fork(pool, own, first, f"{case}, 포크")
    expect(second is not first, "포크: 받은 목록을 그대로 돌려주었습니다. 새 목록을 돌려주세요.")
    case = "7토큰의 표를 포크한 뒤"
    third = _fork(pool, own, second, f"{case} 다시 포크")
    _grow(pool, own, first, 7, 1, f"{case} 첫 시퀀스에 한 토큰")  # Copies: three share it.
    _grow(pool, own, first, 8, 1, f"{case} 첫 시퀀스에 한 토큰 더")  # A new block.
    _grow(pool, own, second, 7, 6, f"{case} 둘째 시퀀스에 여섯 토큰")  # Copies, and one more block.
    _grow(pool, own, third, 7, 1, f"{case} 혼자 남은 셋째 시퀀스에 한 토큰")  # Alone by now.

    pool, own, case, table = answer(8, 4), _Pool(8, 4), "가득 찬 8토큰의 표를 포크한 뒤 한 토큰", []
    _grow(pool, own, table, 0, 8, "빈 표에 토큰 8개, 블록 크기 4")
    _fork(pool, own, table, "8토큰의 표를 포크")
    _grow(pool, own, table, 8, 1, case)

    for tokens, count in ((5, 4), (4, 9), (3, 1)):
        pool, own, table = answer(4, 4), _Pool(4, 4), []
        _grow(pool, own, table, 0, tokens, f"블록 세 개에 토큰 {tokens}개")
        _fork(pool, own, table, "포크")
        if tokens == 3:
            _take(pool, own, 2, "남은 블록을 모두 받음")
        _both(
            pool,
            own,
            "extend",
            (table, tokens, count),
            f"모자란 블록, {tokens}토큰의 포크한 표에 {count}토큰",
        )

    for seed in SEEDS:
        rng = default_rng(seed)
        size = (4, 1, 3)[seed]
        pool, own, live = answer(20, size), _Pool(20, size), []  # live: (table, length)
        for number in range(150):
            kind = rng.choice(["new", "fork", "extend", "release"], p=(0.15, 0.2, 0.45, 0.2))
            case = f"무작위 연산 {number}번(시드 {seed}, 블록 크기 {size}), {kind}"
            index = int(rng.integers(len(live))) if live else None
            if kind == "new" or index is None:
                live.append(([], 0))
                index = len(live) - 1
            table, length = live[index]
            if kind == "fork":
                live.append((_fork(pool, own, table, f"{case} {table}"), length))
            elif kind == "release":
                _both(pool, own, "release", (list(table),), f"{case} {table}")
                del live[index]
            else:
                count = int(rng.integers(1, 2 * size + 2))
                if _grow(pool, own, table, length, count, f"{case}, {table}의 {length}토큰에 {count}토큰"):
                    live[index] = table, length + count


def _fork(pool, own: _Pool, table: list[int], case: str) -> list[int]:
    with untouched(case, table):
        got, expected = _both(pool, own, "fork", (table,), case)
    copied = _plain(got, case)
    expect(copied == expected, f"{case}: 표가 {expected}여야 하는데 {copied}입니다.")
    expect(isinstance(got, list), f"{case}: 표는 list여야 하는데 {type(got).__name__}입니다.")
    return got


def _grow(pool, own: _Pool, table: list[int], length: int, count: int, case: str) -> bool:
    """Extend a table of both; return whether there was room."""
    alone = not table or own.refs[table[-1]] < 2

    def judge(got, expected):
        expect_returned(got, case)
        expect(isinstance(got, list), f"{case}: 복사할 짝의 목록이 아니라 {type(got).__name__}입니다.")
        got = [tuple(_plain(pair, case)) for pair in got]
        if got == expected:
            return
        if not got:
            why = "함께 쓰는 블록에 그대로 쓰면 다른 시퀀스의 토큰이 바뀝니다."
        elif [pair[::-1] for pair in got] == expected:
            why = "(원본, 사본)의 순서가 바뀌었습니다."
        elif length % own.size == 0:
            why = "마지막 블록이 가득 차서 아무도 거기에 쓰지 않습니다."
        elif alone:
            why = "마지막 블록은 혼자 쓰므로 복사하지 않아도 됩니다."
        else:
            why = "쓰는 곳은 마지막 블록뿐입니다."
        raise Mismatch(f"{case}: 복사할 짝이 {expected}여야 하는데 {got}입니다. {why}")

    return _both(pool, own, "extend", (table, length, count), case, judge)[1] is not None


@problem("해시 사슬", minutes=10)
def PrefixIndex(answer):
    """Small cases that name the mistake, then random traces over two tokens, where much coincides."""
    text = list(range(1, 11))
    index = answer(4)
    index.add([7, 1, 3], text)  # Two full blocks, two tokens in the third.
    for tokens, expected, why in [
        ([*text, 11, 12, 13], [7, 1], "덜 찬 블록에는 해시를 달지 않습니다."),
        (text[:9], [7, 1], "가득 찬 두 블록을 찾아야 합니다."),
        (text[:8], [7], "마지막 토큰은 계산해야 하므로 한 블록만 찾습니다."),
        (text[:5], [7], "첫 블록만 찾습니다."),
        (text[:4], [], "마지막 토큰은 계산해야 하므로 아무것도 찾지 않습니다."),
        ([5, 6, 7, 8, 9], [], "둘째 블록의 토큰이지만 앞 문맥이 다릅니다."),
        ([9, 9, 9, 9, 5, 6, 7, 8, 9], [], "첫 블록이 다르면 둘째도 찾지 않습니다."),
        ([5, 6, 7, 8, 5, 6, 7, 8, 9], [], "첫 블록의 문맥이 다릅니다."),
        ([1, 2, 3, 4, 9, 9, 9, 9, 9], [7], "둘째 블록이 다릅니다."),
        ([4, 3, 2, 1, 5], [], "토큰의 순서가 다릅니다."),
    ]:
        with untouched(f"find({tokens})", tokens):
            _expect_found(index, tokens, expected, "표 [7, 1, 3]에 1~10을 등록", why)

    index = answer(4)
    index.add([2], [1, 23, 4, 5])
    _expect_found(index, [12, 3, 4, 5, 6], [], "표 [2]에 [1, 23, 4, 5]를 등록", "다른 토큰입니다.")

    index = answer(4)
    for length in range(1, 13):  # Decoding: one token at a time.
        index.add([5, 6, 8], (text + [11, 12])[:length])
    _expect_found(index, [*text, 11, 12, 13], [5, 6, 8], "한 토큰씩 늘려 가며 등록", "")
    index.forget(6)
    _expect_found(
        index, [*text, 11, 12, 13], [5], "한 토큰씩 늘려 가며 등록하고 6번을 지움", "6번을 여러 번 등록했거나, 없는 블록을 건너뛰었습니다."
    )  # fmt: skip
    index.forget(5)
    _expect_found(
        index, [*text, 11, 12, 13], [], "5번과 6번을 지움", "첫 블록이 없으면 뒤의 블록도 쓸 수 없습니다."
    )

    index = answer(4)
    index.add([3, 4], text[:8])
    index.add([3, 9], text[:8])  # The last block was computed again.
    _expect_found(index, text, [3, 4], "같은 내용의 블록 4번과 9번", "먼저 등록한 블록을 돌려주세요.")
    index.forget(4)
    _expect_found(index, text, [3, 9], "같은 내용의 블록 4번과 9번 가운데 4번을 지움", "9번이 남아 있습니다.")

    for seed in SEEDS:
        rng = default_rng(seed)
        size = (2, 3, 1)[seed]
        index, own, live, free = answer(size), _Pool(40, size), [], list(range(1, 40))
        for number in range(150):
            tokens = rng.integers(0, 2, int(rng.integers(1, 5 * size))).tolist()
            case = f"무작위 연산 {number}번(시드 {seed}, 블록 크기 {size})"
            _expect_found(index, tokens, own.find(tokens), case, "")
            found, needed = own.find(tokens), own.blocks(len(tokens))
            if rng.random() < 0.5 and needed - len(found) <= len(free):
                table = found + [free.pop(0) for _ in range(needed - len(found))]
                live += table[len(found) :]
                with untouched(case, table, tokens):
                    index.add(table, tokens)
                own.add(table, tokens)
            elif live:
                block = live.pop(int(rng.integers(len(live))))
                index.forget(block)
                own.forget(block)
                free.append(block)


def _expect_found(index, tokens: list[int], expected: list[int], case: str, why: str) -> None:
    case = f"{case}, find({tokens})"
    got = _plain(index.find(tokens), case)
    expect(got == expected, f"{case}: {expected}여야 하는데 {got}입니다. {why}".rstrip())


@problem("축출과 재사용", minutes=15)
def CachingPool(answer):
    """Small cases that name the mistake, then random traces of requests with common beginnings."""
    text = list(range(1, 30))
    pool, own, case = answer(7, 2), _Pool(7, 2), "블록 1~6, 크기 2, 5토큰의 표를 등록하고 돌려줌"
    table = _admit(pool, own, text[:5], 5, f"{case}, 받을 때")
    _register(pool, own, table, text[:5])
    with untouched(case, table):
        pool.release(table)  # [3, 4, 5, 6, 2, 1]
    own.release(table)
    got = _plain(pool.index.find(text[:5]), case)
    expect(got == [1, 2], f"{case}: 돌려준 블록 [1, 2]를 찾아야 하는데 {got}입니다. 다시 나갈 때 잊습니다.")
    _expect_state(pool, own, case)
    _take(pool, own, 4, f"{case}, 해시 없는 네 개를 받음")
    got = _plain(pool.index.find(text[:5]), case)
    expect(got == [1, 2], f"{case}, 해시 없는 네 개를 받음: [1, 2]를 찾아야 하는데 {got}입니다.")
    _take(pool, own, 1, f"{case}, 다섯째를 받음")
    got = _plain(pool.index.find(text[:5]), case)
    expect(got == [1], f"{case}, 2번을 받은 뒤: [1]만 찾아야 하는데 {got}입니다. 덮어쓸 블록은 잊으세요.")

    pool, own, case = answer(7, 2), _Pool(7, 2), "한 표가 쓰는 앞부분을 다른 요청이 찾음"
    table = _admit(pool, own, text[:4], 4, case)
    _register(pool, own, table, text[:4])
    other = _admit(pool, own, text[:6], 6, case)
    _release(pool, own, table, f"{case}, 첫 표를 돌려줌")
    _release(pool, own, other, f"{case}, 둘째 표도 돌려줌")

    case = "찾은 블록이 free의 맨 앞에 있을 때"
    pool, own = answer(5, 2), _Pool(5, 2)
    _register(pool, own, _admit(pool, own, text[:4], 4, case), text[:4])
    _take(pool, own, 2, case)
    _release(pool, own, [1, 2], case)  # Nothing but [2, 1] is free.
    _both(pool, own, "admit", (text[:7], 7), f"{case} 새 블록 두 개가 더 필요하면")
    _both(pool, own, "admit", (text[:5], 5), f"{case} 새 블록 하나가 더 필요하면")
    _admit(pool, own, [1, 2, 77], 3, f"{case} 하나만 찾고 새 블록 하나가 필요하면")

    case = "free가 [1, 3]이고 1번을 찾음"
    pool, own = answer(6, 2), _Pool(6, 2)
    first = _admit(pool, own, text[:4], 4, "4토큰")
    _register(pool, own, first, text[:4])
    other = _admit(pool, own, [50, 51], 2, "다른 2토큰")
    _register(pool, own, other, [50, 51])
    _release(pool, own, first, "4토큰의 표를 돌려줌")
    _take(pool, own, 3, "세 개를 받음")
    _release(pool, own, other, "2토큰의 표를 돌려줌")
    _admit(pool, own, [1, 2, 77], 3, f"{case}, 새 블록은 3번이어야 함")

    case = "한 번에 계산할 토큰을 3개로 제한"
    pool, own = answer(12, 2), _Pool(12, 2)
    first = _admit(pool, own, text[:9], 3, case)
    _register(pool, own, first, text[:3])
    _admit(pool, own, text[:9], 3, f"{case}, 앞의 2토큰을 찾음")
    _admit(pool, own, text[:4], 3, f"{case}, 앞의 2토큰을 찾고 남은 것이 2개")

    for seed in SEEDS:
        rng = default_rng(seed)
        size = (2, 3, 4)[seed]
        pool, own, live = answer(16, size), _Pool(16, size), []  # live: [table, tokens, done]
        bases = [rng.integers(0, 9, 3 * size).tolist() for _ in range(2)]
        for number in range(200):
            kind = rng.choice(["admit", "extend", "fork", "release"], p=(0.35, 0.35, 0.05, 0.25))
            case = f"무작위 연산 {number}번(시드 {seed}, 블록 크기 {size}), {kind}"
            if kind == "admit" or not live:
                base = bases[int(rng.integers(2))][: int(rng.integers(0, 3 * size + 1))]
                tokens = base + rng.integers(0, 9, int(rng.integers(1, 6))).tolist()
                limit = int(rng.integers(1, 4 * size))
                table = _admit(pool, own, tokens, limit, f"{case} {tokens}, 제한 {limit}")
                if table is not None:
                    done = min(len(tokens), own.hits + limit)
                    _register(pool, own, table, tokens[:done])
                    live.append([table, tokens[:done]])
                continue
            index = int(rng.integers(len(live)))
            table, tokens = live[index]
            if kind == "fork":
                live.append([_fork(pool, own, table, case), list(tokens)])
            elif kind == "release":
                _release(pool, own, table, f"{case} {table}")
                del live[index]
            else:
                new = rng.integers(0, 9, int(rng.integers(1, size + 2))).tolist()
                if _grow(pool, own, table, len(tokens), len(new), f"{case} {table}에 {len(new)}토큰"):
                    live[index][1] = tokens + new
                    _register(pool, own, table, live[index][1])


def _register(pool, own: _Pool, table: list[int], tokens: list[int]) -> None:
    pool.index.add(table, tokens)
    own.add(table, tokens)


def _release(pool, own: _Pool, table: list[int], case: str) -> None:
    with untouched(case, table):
        _both(pool, own, "release", (table,), case)


def _admit(pool, own: _Pool, tokens: list[int], limit: int, case: str) -> list[int] | None:
    """Admit to both; return the table, or ``None`` where there is no room. ``own.hits`` is what was found."""
    with untouched(case, tokens):
        got, expected = _both(pool, own, "admit", (tokens, limit), case)
    if expected is None:
        return None
    got, own.hits = expect_parts(got, ("표", "찾은 토큰의 수"), case), expected[1]
    table = _plain(got[0], case)
    expect(table == expected[0], f"{case}: 표가 {expected[0]}여야 하는데 {table}입니다.")
    expect(isinstance(got[0], list), f"{case}: 표는 list여야 하는데 {type(got[0]).__name__}입니다.")
    expect(got[1] == own.hits, f"{case}: 찾은 토큰이 {own.hits}개여야 하는데 {got[1]}입니다.")
    return got[0]


class _Request:
    """What a scheduler knows of a request."""

    def __init__(self, number: int, tokens: list[int], end: int = 99):
        self.number, self.tokens, self.end = number, list(tokens), end
        self.table: list[int] = []
        self.done = 0

    def __repr__(self) -> str:
        return f"R{self.number}"


class _Server:
    """A pool, and requests that run and wait."""

    def __init__(self, blocks: int, size: int, prompts: list[list[int]], ends: Sequence[int] | None = None):
        self.pool, self.running = _Pool(blocks, size), []
        ends = ends or [99] * len(prompts)
        self.waiting = [_Request(i, *both) for i, both in enumerate(zip(prompts, ends, strict=True))]
        self.all = list(self.waiting)

    def compute(self, plan: list) -> None:
        """What a model does with a plan: keys and values, a token where all are computed, the end."""
        for request, count in plan:
            request.done += count
            if request.done == len(request.tokens):
                request.tokens.append(100 * request.number + len(request.tokens))
                if len(request.tokens) > request.end:
                    self.pool.release(request.table)
                    self.running.remove(request)


def _schedule(server: _Server, seats: int, budget: int) -> list:
    """The rules of problem 7, one request after the other."""
    pool, plan, preempted, position = server.pool, [], False, 0

    def give(request, count):
        pool.add(request.table, request.tokens[: request.done + count])
        plan.append((request, count))
        return budget - count

    while position < len(server.running) and budget:
        request = server.running[position]
        count = min(len(request.tokens) - request.done, budget)
        try:
            pool.extend(request.table, request.done, count)
        except ValueError:
            victim = server.running.pop()
            pool.release(victim.table)
            victim.table, victim.done, preempted = [], 0, True
            server.waiting.insert(0, victim)
        else:
            budget, position = give(request, count), position + 1
    while server.waiting and budget and not preempted and len(server.running) < seats:
        request = server.waiting[0]
        try:
            request.table, request.done = pool.admit(request.tokens, budget)
        except ValueError:
            break
        server.running.append(server.waiting.pop(0))
        budget = give(request, min(len(request.tokens) - request.done, budget))
    return plan


@problem("스케줄러", minutes=15)
def step(answer):
    """Each rule in a case of its own, then whole services with few blocks, seats and tokens a step."""
    small = [[number] * 5 for number in range(5)]
    for name, blocks, prompts, seats, budget, steps in [
        ("넉넉한 서버", 40, small, 8, 64, 4),
        ("자리가 두 개", 40, small, 2, 64, 3),
        ("예산이 7토큰", 40, small, 8, 7, 6),
        ("둘째 요청이 들어가지 않음", 6, [[1] * 9, [2] * 20, [3] * 2], 8, 64, 2),
        ("블록이 모자람", 7, [[1] * 8, [2] * 8, [3] * 7], 8, 64, 6),
        ("마지막 요청이 자신을 선점함", 5, [[1] * 4, [2] * 20], 8, 4, 5),
        ("앞부분이 같음", 20, [[1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 4, 9]], 8, 6, 6),
    ]:  # fmt: skip
        servers = [_Server(blocks, 4, prompts) for _ in range(2)]
        for number in range(steps):
            _compare(answer, servers, seats, budget, f"{name}, {number}번 스텝")
    for seed in SEEDS:
        rng = default_rng(seed)
        prompts = [
            [7] * int(rng.integers(0, 9)) + rng.integers(0, 50, int(rng.integers(1, 14))).tolist()
            for _ in range(12)
        ]
        ends = [len(prompt) + int(rng.integers(1, 14)) for prompt in prompts]
        servers = [_Server(14, 4, prompts, ends) for _ in range(2)]
        number = 0
        while servers[1].waiting or servers[1].running:
            _compare(
                answer, servers, 4 + seed, (5, 9, 30)[seed], f"무작위 서비스(시드 {seed}), {number}번 스텝"
            )
            number += 1
        left = len(servers[0].pool.free)
        expect(
            left == 13, f"무작위 서비스(시드 {seed}): 모두 끝났는데 블록 13개 가운데 {left}개만 돌아왔습니다."
        )


def _compare(answer, servers: list[_Server], seats: int, budget: int, case: str) -> None:
    """One step of both servers and what the model does with it."""
    theirs, own = servers
    plan = answer(theirs.pool, theirs.running, theirs.waiting, seats, budget)
    expected = _schedule(own, seats, budget)
    for name in ("running", "waiting"):
        got, wanted = ([request.number for request in getattr(server, name)] for server in servers)
        expect(got == wanted, f"{case}: {name}의 요청이 {wanted}여야 하는데 {got}입니다.")
    for request, right in zip(theirs.all, own.all, strict=True):
        state = f"{case}: 요청 {right.number}의"
        expect(request.done == right.done, f"{state} done이 {right.done}이어야 하는데 {request.done}입니다.")
        table = _plain(request.table, case)
        expect(table == right.table, f"{state} table이 {right.table}이어야 하는데 {table}입니다.")
    expect_returned(plan, case)
    expect(isinstance(plan, list), f"{case}: (요청, 토큰 수)의 목록이 아니라 {type(plan).__name__}입니다.")
    pairs = [expect_parts(pair, ("요청", "토큰 수"), case) for pair in plan]
    expect(
        all(isinstance(request, _Request) for request, _ in pairs),
        f"{case}: 결과의 짝은 (요청, 토큰 수)의 순서입니다.",
    )
    got, wanted = ([(request.number, count) for request, count in some] for some in (pairs, expected))
    expect(got == wanted, f"{case}: (요청, 토큰 수)가 {wanted}여야 하는데 {got}입니다.")
    _expect_state(theirs.pool, own.pool, case)
    known, right = (list(server.pool.contents.items()) for server in servers)
    expect(
        len(known) <= len(right), f"{case}: 아직 계산하지 않는 토큰의 블록까지 등록했습니다. done + count까지만 등록하세요."
    )  # fmt: skip
    expect(known == right, f"{case}: 계산할 토큰까지 가득 찬 블록을 pool.index.add로 등록하지 않았습니다.")
    theirs.compute(pairs)
    own.compute(expected)
