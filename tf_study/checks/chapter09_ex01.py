"""Checks of practice 9.1: a ring all-reduce over real processes, buckets, and a training that uses both.

What communicates runs in the processes of :mod:`tf_study.workers`, one start a grading: there a learner's function
that loops or waits for ever can be ended, which a thread cannot, and it is what the lecture runs. Nothing at the
top of this module imports TensorFlow, since the workers import it.
"""

import collections
import functools
import linecache
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from tf_study import limit, workers
from tf_study.comm import Comm
from tf_study.errors import StudyError
from tf_study.expect import Mismatch, expect, expect_array, expect_close, expect_parts, expect_returned
from tf_study.practice import problem

PROCESSES = 5
WAIT = 1.0  # Seconds that one call may take in a worker; right answers take a hundredth of one.
WHOLE = 90.0  # Seconds for all calls; a call that WAIT could not interrupt ends here.
WEIGHTS = [(3, 4), (4,), (4, 4), (4,), (4, 2), (2,)]  # shapes of the model that problem 6 trains
END = np.dtype([("failed", "?")])  # What a worker sends to all others when its call has ended.


@problem("조각의 경계", minutes=5)
def bounds(answer):
    """Where the pieces of an array begin and end, against np.array_split."""
    cases = [(10, 4), (12, 4), (7, 3), (5, 1), (3, 5), (0, 2), (13, 8), (1, 1), (1001, 64)]
    for length, count in cases:
        case = f"원소 {length}개를 {count}조각으로"
        got = expect_array(answer(length, count), case)
        expect(
            got.shape == (count + 1,), f"{case}: 경계가 {count + 1}개여야 하는데 모양이 {got.shape}입니다."
        )
        expect(got.dtype.kind in "iu", f"{case}: 경계는 정수여야 하는데 자료형이 {got.dtype}입니다.")
        sizes = [len(piece) for piece in np.array_split(np.zeros(length), count)]
        expect(got[0] == 0, f"{case}: 첫 경계가 0이어야 하는데 {got[0]}입니다.")
        lost = length - got[-1]
        expect(lost == 0, f"{case}: 마지막 경계가 {length}이어야 하는데 {got[-1]}입니다. 나머지를 보세요.")
        found = np.diff(got).tolist()
        hint = " 조각의 크기 차이는 1 이하여야 합니다." if max(found) - min(found) > 1 else ""
        if sorted(found) == sorted(sizes) and found != sizes:
            hint = " 하나 더 받는 것은 앞 조각입니다."
        expect(found == sizes, f"{case}: 조각의 크기가 {sizes}여야 하는데 {found}입니다.{hint}")


@problem("링의 순서", minutes=5)
def ring_plan(answer):
    """The one order in which a ring can add the pieces so that rank r ends with piece r."""
    for size in (2, 4, 5, 3, 1, 8):
        for way in (1, -1):
            plans = []
            for rank in range(size):
                case = f"프로세스 {size}개, 방향 {way:+d}, {rank}번"
                got = answer(rank, size, way)
                expect_returned(got, case)
                expect(
                    isinstance(got, list | tuple | np.ndarray) and len(got) == size - 1,
                    f"{case}: (보낼 조각, 받을 조각)의 쌍 {size - 1}개를 목록으로 돌려주어야 합니다.",
                )
                plan = [tuple(expect_parts(list(pair), ("보낼 조각", "받을 조각"), case)) for pair in got]
                for number in (number for pair in plan for number in pair):
                    expect(
                        isinstance(number, int | np.integer) and 0 <= number < size,
                        f"{case}: 조각의 번호는 0부터 {size - 1}까지의 정수인데 {number!r}이 있습니다.",
                    )
                plans.append([tuple(map(int, pair)) for pair in plan])
            _expect_ring(plans, size, way)


def _expect_ring(plans: list[list[tuple[int, int]]], size: int, way: int) -> None:
    case = f"프로세스 {size}개, 방향 {way:+d}"
    for rank, plan in enumerate(plans):
        following = (rank + way) % size
        for step, ((sent, received), (_, expected)) in enumerate(zip(plan, plans[following], strict=True), 1):
            expect(sent != received, f"{case}, {rank}번: {step}단계에 보낸 조각 {sent}을 다시 받습니다.")
            expect(
                sent == expected,
                f"{case}: {step}단계에 {rank}번은 조각 {sent}을 보내는데 {following}번은 조각 {expected}으로 받습니다.",
            )
        for step, ((_, received), (sent, _)) in enumerate(pairwise(plan), 1):
            expect(
                received == sent,
                f"{case}, {rank}번: {step}단계에 받아 더한 조각 {received}을 다음에 보내야 하는데 조각 {sent}을 보냅니다.",
            )
        last = plan[-1][1] if plan else rank
        expect(
            last == rank,
            f"{case}, {rank}번: 마지막에 받는 조각이 자기 번호 {rank}이어야 하는데 {last}입니다.",
        )


@problem("리듀스-스캐터", minutes=10)
def reduce_scatter(answer):
    """Each rank's piece of the sum, by N - 1 messages to one neighbour."""
    cases = [
        _case("프로세스 둘, 원소 4개", 2, 1, (4,), "float64"),
        _case("프로세스 넷, 원소 12개", 4, 1, (12,), "float64"),
        _case("프로세스 넷, 원소 10개, 방향 -1", 4, -1, (10,), "float64"),
        _case("프로세스 다섯, 원소 13개, float32", 5, 1, (13,), "float32"),
        _case("프로세스 셋, 원소 2개, 방향 -1", 3, -1, (2,), "float64"),
        _case("프로세스 다섯, 원소 11개, 정수, 방향 -1", 5, -1, (11,), "int64"),
        _case("프로세스 하나", 1, 1, (3,), "float64"),
    ]
    for case, reports in _run(answer, cases):
        arrays = [arguments[0] for arguments in case.arguments]
        total = np.sum(arrays, axis=0)
        pieces = np.array_split(total, case.size)
        for rank, report in enumerate(reports):
            name = f"{case.name}, {rank}번"
            own = np.array_split(arrays[rank], case.size)
            mistakes = {
                "합이 아니라 평균입니다.": pieces[rank] / case.size,
                "자기 것을 더하지 않았습니다.": pieces[rank] - own[rank],
                "더하지 않고 자기 것을 돌려주었습니다.": own[rank],
                "합의 전체를 돌려주었습니다.": total,
                **{f"조각 {i}을 돌려주었습니다.": piece for i, piece in enumerate(pieces) if i != rank},
            }
            expect_close(report.value, pieces[rank], name, dtype=total.dtype, mistakes=mistakes)
        _expect_ring_messages(case, reports, case.size - 1)
        for rank, report in enumerate(reports):
            rest = arrays[rank].nbytes - pieces[rank].nbytes
            _expect_bytes(f"{case.name}, {rank}번", report, rest, rest)


@problem("링 올리듀스", minutes=10)
def ring_all_reduce(answer):
    """The same sum on all ranks, bit for bit, by 2(N - 1) messages and 2(N - 1)K/N bytes."""
    cases = [
        _case("프로세스 둘, (2, 3)", 2, 1, (2, 3), "float64"),
        _case("프로세스 넷, (12,)", 4, 1, (12,), "float64"),
        _case("프로세스 넷, (7, 3), float32, 방향 -1", 4, -1, (7, 3), "float32"),
        _case("프로세스 다섯, (4, 3, 2), 정수", 5, 1, (4, 3, 2), "int64"),
        _case("프로세스 셋, 원소 2개", 3, 1, (2,), "float64"),
        _case("프로세스 다섯, (401,), float32", 5, 1, (401,), "float32"),
        _case("프로세스 하나, (2, 2)", 1, -1, (2, 2), "float64"),
    ]
    for case, reports in _run(answer, cases):
        arrays = [arguments[0] for arguments in case.arguments]
        total, size = np.sum(arrays, axis=0), case.size
        for rank, report in enumerate(reports):
            mistakes = {
                "합이 아니라 평균입니다.": total / size,
                "더하지 않고 자기 것을 돌려주었습니다.": arrays[rank],
                "자기 조각만 돌려주었습니다. 올게더가 남았습니다.": np.array_split(total.ravel(), size)[rank],
                "모양이 한 줄로 바뀌었습니다.": total.ravel(),
            }
            expect_close(report.value, total, f"{case.name}, {rank}번", dtype=total.dtype, mistakes=mistakes)
            expect(
                np.array_equal(report.value, reports[0].value),
                f"{case.name}: 0번과 {rank}번의 합이 마지막 비트에서 다릅니다. 완성한 조각을 그대로 돌리세요.",
            )
        _expect_ring_messages(case, reports, 2 * (size - 1))
        whole = arrays[0].nbytes
        most = 2 * (size - 1) * -(-arrays[0].size // size) * arrays[0].itemsize
        for rank, report in enumerate(reports):
            _expect_bytes(f"{case.name}, {rank}번", report, 0, most)
        sent = sum(number for report in reports for _, number, _ in report.messages)
        expect(
            sent == 2 * (size - 1) * whole,
            f"{case.name}: 모두 더해 {2 * (size - 1) * whole}바이트를 보내야 하는데 {sent}바이트를 보냈습니다.",
        )


@problem("버킷", minutes=10)
def buckets(answer):
    """The rule of PyTorch's DDP: from the last tensor on, closed when the limit is reached."""
    rng = np.random.default_rng(905)
    cases = {
        "예시": ([40, 10, 30, 20, 10], 25, 50),
        "한도와 정확히 같은 크기": ([10, 10, 10, 10, 10, 10], 20, 30),
        "첫 한도가 더 큼": ([5, 5, 5, 5, 5, 5, 5], 20, 10),
        "텐서 하나가 한도보다 큼": ([10, 500, 10, 400, 10], 20, 50),
        "모두 한 버킷": ([1, 2, 3], 100, 200),
        "마지막 버킷이 차지 않음": ([1, 30, 30, 30], 30, 60),
        "모두 한도 이상": ([9, 8, 7, 6], 5, 5),
        "텐서 하나": ([7], 1, 25),
        "무작위 60개": (rng.integers(1, 100, 60).tolist(), 64, 256),
        "크기가 0인 텐서": ([20, 0, 20, 0], 20, 20),
    }
    for case, (sizes, first, cap) in cases.items():
        given = list(sizes)
        got = answer(given, first, cap)
        expect(given == sizes, f"{case}: 받은 목록을 바꾸었습니다.")
        expect_returned(got, case)
        expect(
            isinstance(got, list | tuple) and all(isinstance(bucket, list | tuple) for bucket in got),
            f"{case}: 번호 목록의 목록을 돌려주어야 합니다.",
        )
        found = [list(bucket) for bucket in got]
        flat = [number for bucket in found for number in bucket]
        expect(all(found), f"{case}: 빈 버킷이 있습니다. {found}")
        expect(
            all(isinstance(number, int | np.integer) for number in flat),
            f"{case}: 버킷에는 크기가 아니라 텐서의 번호를 정수로 담습니다. {found}",
        )
        expect(
            set(flat) <= set(range(len(sizes))),
            f"{case}: 텐서의 번호는 0부터 {len(sizes) - 1}까지입니다. 크기를 담지 않았는지 보세요. {found[:3]}",
        )
        missing = sorted(set(range(len(sizes))) - set(flat))
        expect(not missing, f"{case}: 텐서 {missing}이 어느 버킷에도 없습니다.")
        expect(
            sorted(flat) == list(range(len(sizes))),
            f"{case}: 텐서의 번호가 한 번씩만 나와야 합니다. {found}",
        )
        expect(
            flat == list(range(len(sizes)))[::-1],
            f"{case}: 번호는 마지막 텐서부터 거꾸로 이어져야 하는데 {flat[:6]}… 순서입니다.",
        )
        wanted = _buckets(sizes, first, cap)
        known = {
            " 한도에 정확히 닿아도 닫습니다.": _buckets(sizes, first + 1, cap + 1),
            " 첫 버킷의 한도는 first입니다.": _buckets(sizes, cap, cap),
            " first는 첫 버킷에만 씁니다.": _buckets(sizes, first, first),
        }
        hint = next((text for text, value in known.items() if found == value != wanted), "")
        k = next((k for k, pair in enumerate(zip(found, wanted, strict=False)) if pair[0] != pair[1]), 0)
        total = sum(sizes[i] for i in found[k])
        expect(
            found == wanted,
            f"{case}: 한도 {first}, {cap}에서 {k + 1}번째 버킷 {found[k][:6]}의 합이 {total}입니다. "
            f"한도에 닿는 텐서까지 담고 닫으세요.{hint}",
        )


def _buckets(sizes: Sequence[int], first: int, cap: int) -> list[list[int]]:
    found, room = [[]], first
    for number in reversed(range(len(sizes))):
        if found[-1] and room <= 0:
            found.append([])
            room = cap
        found[-1].append(number)
        room -= sizes[number]
    return found


@problem("DDP 학습 고치기", minutes=20)
def train(answer):
    """The weights of one process that sees the whole batch, with one all-reduce a bucket."""
    rng = np.random.default_rng(906)
    remedy = "샘플이 없는 프로세스도 올리듀스를 모두 함께 불러야 합니다."
    cases = []
    for name, size, rows, batch in (
        ("프로세스 하나", 1, 16, 8),
        ("프로세스 둘, 배치 8", 2, 24, 8),
        ("프로세스 셋, 배치 8", 3, 40, 8),
        ("프로세스 넷, 마지막 배치 6", 4, 46, 8),
        ("프로세스 다섯, 마지막 배치 2", 5, 42, 8),
    ):
        x, y = rng.normal(size=(rows, 3)), rng.normal(size=(rows, 2))
        weights = [[rng.normal(size=shape) for shape in WEIGHTS] for _ in range(size)]
        others = (x, y, Gradients(), 0.2, batch, 48, 120)
        cases.append(Case(name, size, [(mine, *others) for mine in weights], remedy))
    count = len(_buckets([8 * int(np.prod(shape)) for shape in WEIGHTS], 48, 120))
    for case, reports in _run(answer, cases):
        _expect_same(case, reports)
        _expect_large_batch(case, reports[0].value)
        _, x, _, _, _, batch, *_ = case.arguments[0]
        batches = [min(batch, len(x) - start) for start in range(0, len(x), batch)]
        most = sum(-(-rows // case.size) for rows in batches)
        for rank, report in enumerate(reports):
            name = f"{case.name}, {rank}번"
            expect(
                report.rows <= most,
                f"{name}: 샘플 {len(x)}개 가운데 많아도 {most}개의 기울기를 구해야 하는데 {report.rows}개를 구했습니다. "
                "배치를 프로세스 수로 나누어 자기 조각만 계산하세요.",
            )
            _expect_calls(name, report, 2 * (case.size - 1), len(batches), count)


def _expect_same(case: "Case", reports: Sequence["Report"]) -> None:
    """All ranks have the same weights, bit for bit."""
    names = [f"가중치 {i}" for i in range(len(WEIGHTS))]
    first = reports[0].value
    for rank, report in enumerate(reports):
        name = f"{case.name}, {rank}번"
        for i, weight in enumerate(expect_parts(report.value, names, name)):
            expect_close(
                weight,
                first[i],
                f"{name}: 가중치 {i}이 0번과 다릅니다. 모두 0번의 가중치에서 시작하고 같은 합으로 고치는지 보세요",
                tol=1e-6,
            )
            expect(
                np.array_equal(weight, first[i]) or np.isnan(weight).any(),
                f"{name}: 가중치 {i}이 0번과 마지막 비트에서 다릅니다. 올리듀스의 합을 그대로 쓰세요.",
            )


def _expect_large_batch(case: "Case", got: Sequence) -> None:
    weights, x, y, _, rate, batch, *_ = case.arguments[0]
    whole = len(x) // batch * batch

    def mistakes(i: int) -> dict[str, np.ndarray]:
        return {
            "기울기를 평균하지 않고 더했습니다.": _large_batch(weights, x, y, rate * case.size, batch)[i],
            "기울기를 두 번 나누었습니다.": _large_batch(weights, x, y, rate / case.size, batch)[i],
            "마지막 배치를 버렸습니다.": _large_batch(weights, x[:whole], y[:whole], rate, batch)[i],
            "평균의 평균을 냈습니다.": _large_batch(weights, x, y, rate, batch, case.size)[i],
            "학습하지 않은 가중치입니다.": weights[i],
        }

    for i, expected in enumerate(_large_batch(weights, x, y, rate, batch)):
        name = f"{case.name}, 가중치 {i}"
        expect_close(got[i], expected, name, tol=1e-9, mistakes=functools.partial(mistakes, i))


def _expect_calls(case: str, report: "Report", each: int, steps: int, count: int) -> None:
    """Messages of ``count`` all-reduces a step, and of what made the weights the same before."""
    messages = len(report.messages)
    least, most = each * steps * count, each * (steps * count + len(WEIGHTS))
    expect(
        least <= messages,
        f"{case}: {steps}스텝에 버킷이 {count}개씩이면 {least}번은 보내야 하는데 {messages}번 보냈습니다. "
        "버킷마다 따로 합치세요.",
    )
    expect(
        messages <= most,
        f"{case}: {steps}스텝에 버킷이 {count}개씩이면 많아도 {most}번 보내는데 {messages}번 보냈습니다. "
        "버킷의 기울기를 한 줄로 이어 한 번에 합치세요.",
    )


class Gradients:
    """Mean gradients of three dense layers (tanh between) with squared error; of no rows, NaN.

    ``rows`` counts the rows that were asked for.
    """

    def __init__(self):
        self.rows = 0

    def __call__(self, weights: Sequence, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        self.rows += len(x)
        if not len(x):
            return [np.full(np.shape(weight), np.nan) for weight in weights]
        values, found = [x], []
        for W, b in zip(weights[::2], weights[1::2], strict=True):
            values.append(values[-1] @ W + b if W is weights[-2] else np.tanh(values[-1] @ W + b))
        slope = 2 * (values[-1] - y) / len(x)
        for k in reversed(range(len(weights) // 2)):
            found = [values[k].T @ slope, slope.sum(0), *found]
            slope = slope @ weights[2 * k].T * (1 - values[k] ** 2)
        return found


def _large_batch(weights, x, y, rate, batch, parts: int = 1) -> list[np.ndarray]:
    """Return the weights after one epoch in one process; ``parts > 1`` averages the means of that many parts."""
    weights, gradients = [np.array(weight) for weight in weights], Gradients()
    for start in range(0, len(x), batch):
        rows = np.arange(start, min(start + batch, len(x)))
        means = [gradients(weights, x[part], y[part]) for part in np.array_split(rows, parts) if len(part)]
        for i, weight in enumerate(weights):
            weight -= rate * sum(mean[i] for mean in means) / parts
    return weights


# -- the processes -------------------------------------------------------------------------------------


@dataclass
class Case:
    """One call on the first ``size`` processes; ``arguments[rank]`` follow the learner's ``comm``."""

    name: str
    size: int
    arguments: list[tuple]
    remedy: str = "모두 같은 횟수만큼 보내고 받는지, 방향이 맞는지 보세요."


@dataclass
class Report:
    """What one process did in one case; ``failure`` says what went wrong, if anything did."""

    value: object = None
    messages: list[tuple[int, int, str]] = field(default_factory=list)  # to whom, bytes, kind
    failure: tuple | None = None
    touched: bool = False
    stray: dict[int, int] = field(default_factory=dict)  # from whom, how many were never received
    rows: int = 0  # whose gradients were computed


class Ended(BaseException):
    """The process from which something is expected has ended its call; its rank is ``args[0]``."""


class Link(Comm):
    """The first ``size`` processes of ``comm``, with every message noted."""

    def __init__(self, comm: Comm, size: int):
        self.rank, self.size, self.sent = comm.rank, size, collections.Counter()
        self.comm, self.messages, self.ended = comm, [], {}

    def send(self, to, array, kind: str = "send") -> None:
        self._known(to, "에 보내려")
        self.messages.append((int(to), np.asarray(array).nbytes, kind))
        self.sent[kind] += self.messages[-1][1]
        self.comm.send(to, array, kind)

    def recv(self, source) -> np.ndarray:
        self._known(source, "에서 받으려")
        got = self.comm.recv(source)
        if got.dtype == END:
            self.ended[source] = bool(got["failed"])
            raise Ended(source)
        return got

    def _known(self, rank, what: str) -> None:
        if rank == self.rank or rank not in range(self.size):
            raise ValueError(f"프로세스 {self.size}개에서 {self.rank}번이 {rank}번{what} 했습니다.")


def _case(name: str, size: int, way: int, shape: tuple[int, ...], dtype: str) -> Case:
    """Return a case of an array a process and a direction."""
    rng = np.random.default_rng([size, way + 1, *shape])
    return Case(name, size, [((9 * rng.normal(size=shape)).astype(dtype), way) for _ in range(size)])


def _run(answer: Callable, cases: list[Case]) -> list[tuple[Case, list[Report]]]:
    """Call the answer in processes, case by case, and return the reports of those that took part."""
    try:
        everyone = workers.run(_visit, PROCESSES, timeout=WHOLE, answer=answer, cases=cases)
    except StudyError as error:
        raise Mismatch(str(error)) from None
    found = []
    for case, reports in zip(cases, zip(*everyone, strict=True), strict=False):
        _expect_sound(case, reports[: case.size])
        found.append((case, reports[: case.size]))
    return found


def _visit(comm: Comm, answer: Callable, cases: list[Case]) -> list[Report]:
    """Be one process: answer the cases until somebody fails."""
    reports = []
    for case in cases:
        link, report = Link(comm, case.size), Report()
        if comm.rank < case.size:
            _answer(answer, link, case.arguments[comm.rank], report)
        reports.append(report)
        if _meet(comm, link, report):
            break
    return reports


def _answer(answer: Callable, link: Link, arguments: tuple, report: Report) -> None:
    before = [np.array(value) for value in _arrays(arguments)]
    try:
        report.value = limit.within(WAIT, lambda: answer(link, *arguments))
    except limit.TimeUp:
        report.failure = "waited", link.comm.waiting_for
    except Ended as error:
        report.failure = "ended", error.args[0]
    except NotImplementedError:
        report.failure = ("blank",)
    except BaseException as error:
        frame = next(
            (f for f in reversed(traceback.extract_tb(error.__traceback__)) if f.filename != __file__), None
        )
        where = (frame.filename, frame.lineno) if frame else ("", 0)
        text = " ".join(str(error).split())[:200]
        report.failure = "raised", type(error).__name__, text, *where
    report.messages = link.messages
    report.rows = sum(value.rows for value in arguments if isinstance(value, Gradients))
    after = _arrays(arguments)
    report.touched = len(before) != len(after) or not all(map(np.array_equal, before, after))


def _arrays(arguments: tuple) -> list[np.ndarray]:
    lists = [value if isinstance(value, list) else [value] for value in arguments]
    return [value for values in lists for value in values if isinstance(value, np.ndarray)]


def _meet(comm: Comm, link: Link, report: Report) -> bool:
    """Wait until all processes have ended the case, note what was not received, and say whether one failed."""
    failed = report.failure is not None
    others = [rank for rank in range(comm.size) if rank != comm.rank]
    for rank in others:
        comm.send(rank, np.array((failed,), END))
    for rank in others:
        while rank not in link.ended:
            got = comm.recv(rank)
            if got.dtype == END:
                link.ended[rank] = bool(got["failed"])
            else:
                report.stray[rank] = report.stray.get(rank, 0) + 1
    return failed or any(link.ended.values())


def _expect_sound(case: Case, reports: Sequence[Report]) -> None:
    """Raise what is wrong besides the values."""
    failures = {rank: report.failure for rank, report in enumerate(reports) if report.failure}
    kinds = {failure[0] for failure in failures.values()}
    if "blank" in kinds:
        raise NotImplementedError
    for rank, (kind, *rest) in failures.items():
        if kind == "raised":
            name, text, file, line = rest
            source = linecache.getline(file, line).strip()
            where = f" `{source[:80]}`에서" if source else ""
            raise Mismatch(f"{case.name}: {rank}번 프로세스가{where} {name} 오류를 냈습니다. {text}".rstrip())
    waits = ", ".join(
        f"{rank}번은 {'계산함' if rest[0] is None else f'{rest[0]}번을 기다림'}"
        for rank, (_, *rest) in failures.items()
    )
    if "waited" in kinds:
        waiting = all(rest[0] is not None for _, *rest in failures.values())
        remedy = "모두 받기부터 하면 아무도 보내지 못하니 먼저 보내고 받으세요."
        raise Mismatch(
            f"{case.name}: {WAIT:g}초가 지나도 끝나지 않아 멈추었습니다({waits}). "
            f"{remedy if waiting else '반복문이 언젠가 끝나는지 보세요.'}"
        )
    for rank, (_, other) in failures.items():
        raise Mismatch(
            f"{case.name}: {rank}번은 {other}번에서 더 받으려 하는데 {other}번은 이미 끝났습니다. "
            f"{case.remedy}"
        )
    for rank, report in enumerate(reports):
        for other, count in report.stray.items():
            raise Mismatch(
                f"{case.name}: {other}번이 보낸 배열 {count}개를 {rank}번이 받지 않고 끝났습니다. "
                f"{case.remedy}"
            )
        expect(
            not report.touched,
            f"{case.name}, {rank}번: 받은 배열이나 목록을 바꾸었습니다. 복사한 것에서 계산하세요.",
        )


def _expect_ring_messages(case: Case, reports: Sequence[Report], most: int) -> None:
    way = case.arguments[0][1]
    for rank, report in enumerate(reports):
        name, following = f"{case.name}, {rank}번", (rank + way) % case.size
        kinds = {kind for _, _, kind in report.messages} - {"send"}
        expect(
            not kinds,
            f"{name}: comm.send와 comm.recv만 쓰세요. comm.{'나 comm.'.join(sorted(kinds))}를 썼습니다.",
        )
        wrong = sorted({to for to, _, _ in report.messages} - {following})
        expect(
            not wrong,
            f"{name}: 방향 {way:+d}에서는 {following}번에만 보내야 하는데 {wrong}번에도 보냈습니다.",
        )
        expect(
            len(report.messages) <= most,
            f"{name}: {most}번만 보내면 되는데 {len(report.messages)}번 보냈습니다.",
        )


def _expect_bytes(case: str, report: Report, least: int, most: int) -> None:
    sent = sum(number for _, number, _ in report.messages)
    wanted = f"{most}바이트" if least == most else f"많아도 {most}바이트"
    expect(
        least <= sent <= most,
        f"{case}: {wanted}를 보내야 하는데 {sent}바이트를 보냈습니다. 한 번에 조각 하나만 보내세요.",
    )
