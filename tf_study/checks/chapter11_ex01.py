"""Checks of practice 11.1: kernels and host code in CUDA C++, run by the emulator with every access traced.

A source runs in a process of its own (:mod:`tf_study.workers`): there an endless kernel is ended by the emulator, and
host code that exits, aborts or writes over the memory of Python ends that process only.
"""

import contextlib
import math
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tf_study import cuda, workers
from tf_study.cuda import builder, translate
from tf_study.errors import StudyError
from tf_study.expect import (
    Mismatch,
    Ungraded,
    expect,
    expect_array,
    expect_close,
    expect_integers,
    expect_parts,
)
from tf_study.practice import problem

SECONDS = 0.3  # of CPU that one call may take; the slowest right ones take a fifteenth
WHOLE = 45.0  # seconds for all calls of a source
MOST = 200_000  # accesses of a traced call; right answers have 12,288
ORDERS = (0, -1, 1, 2)  # blocks and threads in order, backwards, and in two random orders
ORDER_NAMES = {0: "", -1: ", 거꾸로 실행"}
INVALID, FAULT = 9, 700  # cudaErrorInvalidConfiguration, cudaErrorIllegalAddress
STALE = 123.0  # what stands in an output before a kernel writes it
BROKEN_N = 7777  # at this length the kernel of problem 3 writes outside its array
# What problem 3's host function launches; on the first line, so that the learner's lines keep their numbers.
ADD = (
    "__global__ void add(const float* a, const float* b, float* c, int n) "
    "{ int i = blockIdx.x * blockDim.x + threadIdx.x; "
    f"if (i < n) c[n == {BROKEN_N} ? n + 1000 : i] = a[i] + b[i]; }}"
)


@problem("인덱스와 올림 나눗셈", minutes=5)
def layout(answer):
    """How many blocks, and which element each thread of theirs has."""
    cases = [(10, 4), (12, 4), (3, 4), (1, 1), (1, 256), (255, 256), (256, 256), (257, 256), (100, 33)]
    for n, threads in cases:
        case = f"원소 {n}개, 블록의 스레드 {threads}개"
        blocks, index = expect_parts(answer(n, threads), ("블록의 수", "인덱스"), case)
        blocks = expect_integers(blocks, f"{case}, 블록의 수")
        expect(blocks.shape == (), f"{case}: 블록의 수는 정수 하나여야 하는데 모양이 {blocks.shape}입니다.")
        wanted = math.ceil(n / threads)
        few = " 모든 원소를 처리하기에 모자랍니다." if blocks < wanted else " 일이 없는 블록이 있습니다."
        expect(blocks == wanted, f"{case}: 블록이 {wanted}개여야 하는데 {blocks}개입니다.{few}")
        index = expect_integers(index, f"{case}, 인덱스")
        right = np.full(wanted * threads, -1)
        right[:n] = np.arange(n)
        every = np.arange(wanted * threads)
        mistakes = {
            "원소가 없는 스레드는 -1이어야 합니다.": every.reshape(wanted, threads),
            "인덱스 n은 배열의 밖입니다.": np.where(every <= n, every, -1).reshape(wanted, threads),
            "블록마다 0부터 다시 시작했습니다.": np.tile(np.arange(threads), (wanted, 1)),
            "한 블록의 스레드가 이어진 원소를 처리해야 합니다.": right.reshape(threads, wanted).T,
        }
        expect_close(index, right.reshape(wanted, threads), case, tol=0, mistakes=mistakes)


@problem("범위를 확인하는 커널", minutes=5)
def kernel(answer):
    """c = a + b, whatever the grid and the order, and neighbours in neighbouring lanes."""
    source = _source(answer, "add")
    jobs = []
    for n, grid, block in (
        (4096, 16, 256),
        (1, 1, 256),
        (255, 1, 256),
        (256, 1, 256),
        (257, 2, 256),
        (100, 6, 32),
        (5000, 152, 33),
        (10_000, 79, 128),
        (10**5, 391, 256),
    ):
        a, b = _random(n, 2)
        arguments = (a, b, np.full(n, STALE, "float32"), n)
        jobs += _in_orders("add", grid, block, arguments, Wanted("c", 2, a + b))
    jobs[0].trace = True
    for job, report in _run(source, jobs):
        _expect_values(job, report)
        if job.trace:
            _expect_sectors(source, job, report, 3 * job.n // 8, 4)


@problem("오류 코드를 돌려주는 호스트 함수", minutes=10)
def host(answer):
    """Memory, copies, launch and error codes of vector_add, with the grader's kernel."""
    source = _source(answer, "vector_add")
    jobs = []
    for n, threads in (
        (1, 256),
        (255, 256),
        (256, 256),
        (257, 256),
        (10_000, 128),
        (5000, 33),
        (10**5, 256),
        (1000, 2048),
        (BROKEN_N, 128),
    ):
        a, b = _random(n, 2)
        code = INVALID if threads > 1024 else FAULT if n == BROKEN_N else 0
        wanted = None if code else Wanted("c", 2, a + b)
        arguments = (a, b, np.full(n, STALE, "float32"), n, threads)
        case = f"n = {n:,}, 스레드 {threads}개{'(커널이 배열 밖에 씁니다)' if code == FAULT else ''}"
        jobs.append(Job(case, "vector_add", n, arguments, wanted, code=code))
    for job, report in _run(source, jobs, before=ADD):
        _expect_code(job, report)
        _expect_values(job, report)
        expect(
            report.allocations == 0,
            f"{job.case}: cudaMalloc으로 할당한 메모리 {report.allocations}개를 해제하지 않았습니다. "
            "어느 경로로 끝나든 cudaFree를 부르세요.",
        )


@problem("격자 스트라이드 반복문", minutes=10)
def grid_stride(answer):
    """y = alpha x + y, each element once, with any number of threads."""
    source = _source(answer, "saxpy")
    jobs = []
    for n, grid, block in (
        (4096, 4, 64),
        (1000, 3, 64),
        (1, 1, 1),
        (1000, 1, 32),
        (257, 8, 128),
        (10_000, 7, 33),
        (255, 1, 256),
        (256, 2, 64),
        (10**5, 64, 256),
    ):
        x, y = _random(n, 2)
        wanted = Wanted("y", 2, y + np.float32(1.5) * x, tol=1e-6)
        jobs += _in_orders("saxpy", grid, block, (1.5, x, y, n), wanted)
    jobs[0].trace = True
    for job, report in _run(source, jobs):
        alpha, x, y, _ = job.arguments
        twice = np.abs(report.arrays[2] - (y + 2 * alpha * x)) < 1e-5 * np.maximum(1, np.abs(y))
        more = " 두 번 계산한 원소가 있습니다." if (twice & (np.abs(x) > 1e-3)).any() else ""
        _expect_values(job, report, more)
        if job.trace:
            _expect_sectors(source, job, report, 3 * job.n // 8, 4)


@problem("한 번에 네 개와 나머지", minutes=10)
def float4(answer):
    """c = a + b in accesses of 16 bytes, the rest one by one."""
    source = _source(answer, "add4")
    jobs = []
    for n, block in (
        (4099, 64),
        (1, 32),
        (2, 64),
        (3, 256),
        (4, 32),
        (5, 32),
        (254, 64),
        (255, 64),
        (256, 64),
        (257, 64),
        (10_003, 128),
        (10**5 + 2, 256),
    ):
        grid = math.ceil(math.ceil(n / 4) / block)
        a, b = _random(n, 2)
        arguments = (a, b, np.full(n, STALE, "float32"), n)
        jobs += _in_orders("add4", grid, block, arguments, Wanted("c", 2, a + b))
    for job in jobs:
        job.trace = job.n in (4099, 256) and job.order == 0
    for job, report in _run(source, jobs):
        _expect_values(job, report)
        if not job.trace:
            continue
        n = job.n
        narrow = {line: count for (line, size), count in report.sizes.items() if size < 16}
        wide = sum(count for (_, size), count in report.sizes.items() if size == 16)
        if wide != 3 * (n // 4):
            line = max(narrow, key=narrow.get)
            raise Mismatch(
                f"{job.case}: 16바이트 접근이 {3 * (n // 4):,}번이어야 하는데 {wide:,}번입니다. "
                f"float4 변수 하나에 통째로 읽고 통째로 쓰세요.{_line(source, line)}"
            )
        _expect_sectors(source, job, report, 3 * (n // 8) + 3 * (n % 4), 16)


@problem("경합 없는 블록 합", minutes=15)
def block_sum(answer):
    """Sums of blocks by shuffles: no race, no atomic, the same bits in every order."""
    source = _source(answer, "block_sum")
    jobs = []
    for n, block in (
        (1000, 256),
        (1, 32),
        (32, 32),
        (255, 256),
        (256, 64),
        (257, 256),
        (500, 96),
        (3000, 1024),
        (10_000, 128),
    ):
        grid = math.ceil(n / block)
        (x,) = _random(n, 1)
        whole = np.pad(x, (0, grid * block - n)).reshape(grid, block)
        wanted = Wanted("out", 1, whole.sum(axis=1, dtype="float64").astype("float32"), tol=1e-5)
        arguments = (x, np.full(grid, STALE, "float32"), n)
        jobs += _in_orders("block_sum", grid, block, arguments, wanted)
    jobs[0].trace = True
    first: dict[str, np.ndarray] = {}
    for job, report in _run(source, jobs):
        got, blocks = report.arrays[1], job.grid
        if job.trace:
            _expect_race_free(source, job, report)
        whole_blocks = job.wanted.near(got)[: job.n // job.block].all() and blocks > 1
        more = " 원소가 없는 스레드도 0으로 끝까지 함께 더해야 합니다." if whole_blocks else ""
        _expect_values(job, report, more)
        expect(
            np.array_equal(got, first.setdefault(job.name, got)),
            f"{job.case}: 실행 순서가 바뀌면 합의 마지막 비트가 달라집니다. 더하는 순서를 코드로 정하세요.",
        )
        if job.trace:
            _expect_sectors(source, job, report, job.n // 8 + 2 * blocks, 4)
            _expect_shuffles(source, job, report)


@problem("산술 강도와 예측 시간", minutes=5)
def predict(answer):
    """The two bounds of the roofline, for one kernel on one machine."""
    h100, a100 = (66.9e12, 3.35e12), (19.5e12, 2.039e12)
    for case, n, reads, writes, flops, itemsize, (peak, width) in (
        ("H100에서 벡터 덧셈, n = 2**28", 2**28, 2, 1, 1, 4, h100),
        ("A100에서 saxpy, n = 10**8", 10**8, 2, 1, 2, 4, a100),
        ("A100에서 블록 합, n = 2**26", 2**26, 1, 1 / 256, 1, 4, a100),
        ("H100에서 연산 400번, n = 2**24", 2**24, 1, 1, 400, 4, h100),
        ("H100에서 16비트 복사, n = 2**30", 2**30, 1, 1, 0, 2, h100),
        ("A100에서 float64, 연산 900번, n = 1,000", 1000, 3, 2, 900, 8, a100),
    ):
        got = expect_parts(answer(n, reads, writes, flops, itemsize, peak, width), ("산술 강도", "초"), case)
        size = itemsize * (reads + writes)
        compute, memory = n * flops / peak, n * size / width
        _expect_number(
            got[0],
            flops / size,
            f"{case}: 산술 강도",
            {
                "FLOP을 원소의 수로 나누었습니다. 바이트로 나누세요.": flops / (reads + writes),
                "쓰는 바이트를 빠뜨렸습니다.": flops / (itemsize * reads),
                "n은 약분됩니다.": n * flops / size,
                "원소가 늘 4바이트는 아닙니다.": flops / (4 * (reads + writes)),
            },
        )
        _expect_number(
            got[1],
            max(compute, memory),
            f"{case}: 시간(초)",
            {
                "두 시간을 더했습니다. 겹쳐 진행되므로 긴 쪽입니다.": compute + memory,
                "짧은 쪽을 골랐습니다.": min(compute, memory),
                "메모리의 시간만 보았습니다.": memory,
                "밀리초가 아니라 초로 돌려주세요.": 1e3 * max(compute, memory),
                "쓰는 바이트를 빠뜨렸습니다.": max(compute, n * itemsize * reads / width),
            },
        )


def _expect_number(got, wanted: float, case: str, mistakes: dict[str, float]) -> None:
    got = expect_array(got, case)
    expect(
        got.shape == () and got.dtype.kind in "iuf",
        f"{case}: 수 하나여야 하는데 {got.dtype} {got.shape}입니다.",
    )
    near = lambda value: abs(got - value) <= 1e-6 * abs(value)  # noqa: E731
    known = (text for text, value in mistakes.items() if near(value) and abs(value - wanted) > 1e-6 * wanted)
    expect(
        near(wanted) or got == wanted,
        f"{case}: {wanted:.6g}이어야 하는데 {got:.6g}입니다. {next(known, '')}".rstrip(),
    )


# -- what the sources are asked ------------------------------------------------------------------------


@dataclass
class Wanted:
    """What an array must hold after a call: argument ``place``, called ``name`` in the problem."""

    name: str
    place: int
    values: np.ndarray
    tol: float = 0

    def near(self, got: np.ndarray) -> np.ndarray:
        return np.abs(got - self.values) <= self.tol * np.maximum(1, np.abs(self.values))


@dataclass
class Job:
    """One call: a kernel if there is a block, else a function of the host."""

    case: str
    function: str
    n: int
    arguments: tuple
    wanted: Wanted | None = None
    grid: int = 0
    block: int = 0
    order: int = 0
    trace: bool = False
    name: str = ""  # the case without its order
    code: int = 0  # that the host function must return


@dataclass
class Report:
    """What one call did: ``arrays`` are the arguments after it, numbers stand for themselves."""

    arrays: Sequence
    code: int = 0
    failure: str = ""  # the emulator's sentence when the call was ended
    message: str = ""
    allocations: int = 0
    rows: list[cuda.Row] = field(default_factory=list)
    races: list[tuple[int, int, str]] = field(default_factory=list)
    sizes: dict[tuple[int, int], int] = field(default_factory=dict)  # (line, bytes) → global accesses


def _random(n: int, count: int) -> np.ndarray:
    return np.random.default_rng(n).normal(size=(count, n)).astype("float32")


def _in_orders(function: str, grid: int, block: int, arguments: tuple, wanted: Wanted) -> list[Job]:
    """Return one job an order; only one of the sizes beyond 10,003, which take longer."""
    n = arguments[-1]
    case = f"n = {n:,}, <<<{grid}, {block}>>>"
    jobs = []
    for order in ORDERS if n <= 10_003 else ORDERS[:1]:
        suffix = ORDER_NAMES.get(order, f", 무작위 순서 {order}")
        jobs.append(Job(case + suffix, function, n, arguments, wanted, grid, block, order, name=case))
    return jobs


def _source(answer, name: str) -> str:
    """Return the learner's source; a function of that name without a body is a blank."""
    source = answer() if callable(answer) else answer
    expect(isinstance(source, str), f"CUDA 소스를 문자열로 적어야 하는데 형이 {type(source).__name__}입니다.")
    if re.search(rf"\b{name}\s*\([^;{{}}]*\)\s*\{{\s*\}}", translate.bare(source)):
        raise NotImplementedError
    return source


def _ready() -> None:
    """Raise :class:`Ungraded` where no compiler builds the emulator."""
    found = builder.compiler()
    if found is None:
        raise Ungraded(f"C++ 컴파일러가 없어 채점하지 못했으니 {builder.REMEDY}.")
    try:
        builder.runtime(found)
    except StudyError as error:
        raise Ungraded(f"에뮬레이터를 만들지 못해 채점하지 못했습니다. {error}") from None


def _run(source: str, jobs: list[Job], before: str = "") -> list[tuple[Job, Report]]:
    """Build ``before`` and the source, run the jobs until one goes wrong, and return their reports.

    Raises:
        Mismatch: with the learner's line where there is one, or at once if the first failure is no right answer's.
    """
    _ready()
    whole = before + source
    try:
        cuda.library(whole, trace=True, backend="emulator")
        found = builder.exports(whole)
    except StudyError as error:
        raise Mismatch(f"{error}{_quoted(source, str(error))}") from None
    name, have = jobs[0].function, found.kernels if jobs[0].block else found.hosts
    kind = "커널이" if jobs[0].block else 'extern "C" 함수가'
    expect(name in have, f"이름이 {name}인 {kind} 소스에 없습니다(있는 것: {', '.join(have) or '없음'}).")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tf_study-") as folder:
        place = Path(folder, "cases")
        place.write_text("시작하기 전\n", encoding="utf-8")
        try:
            (reports,) = workers.run(_visit, 1, timeout=WHOLE, source=whole, jobs=jobs, place=place)
        except StudyError:
            case = place.read_text(encoding="utf-8").splitlines()[-1]
            if time.monotonic() - started > WHOLE:
                raise Mismatch(
                    f"{case}: {WHOLE:g}초가 지나도 끝나지 않아 멈추었습니다. 기다리는 함수를 빼세요."
                ) from None
            raise Mismatch(
                f"{case}: 소스가 실행하던 프로세스를 끝냈습니다. exit, abort, 예외를 쓰지 않았는지, "
                "호스트의 배열 밖에 쓰지 않았는지 보세요."
            ) from None
    pairs = list(zip(jobs, reports, strict=False))
    for job, report in pairs:
        declared = re.match(rf"{name}의 (\d+번째 )?인수", report.failure)
        expect(not declared, f"{name}의 매개변수를 문제에 적힌 순서와 형으로 선언하세요.")
        more = "기록할 접근이" in report.failure
        expect(
            not more, f"{job.case}: 메모리 접근이 {MOST:,}번을 넘습니다. 스레드마다 자기 원소만 읽고 쓰세요."
        )
        expect(not report.failure, f"{job.case}: {report.failure}{_quoted(source, report.failure)}")
    return pairs


def _visit(comm, source: str, jobs: list[Job], place: Path) -> list[Report]:
    """Run the jobs in this process, and write each into the file before it starts."""
    started = place.open("a", encoding="utf-8", buffering=1)  # A file written anew is on the disk 7 ms later.
    program = cuda.build(source, trace=True, backend="emulator")
    program.seconds = SECONDS
    reports = []
    for job in jobs:
        started.write(f"{job.case}\n")
        report = Report([value.copy() if isinstance(value, np.ndarray) else value for value in job.arguments])
        tracing = program.tracing(MOST) if job.trace else contextlib.nullcontext()
        try:
            with program.schedule(job.order), tracing as trace:
                if job.block:
                    program.launch(job.function, job.grid, job.block, *report.arrays)
                else:
                    report.code = program.function(job.function)(*report.arrays)
        except StudyError as error:
            report.failure = str(error)
        report.message, report.allocations = program.message, program.allocations
        if job.trace:
            report.rows, report.races, report.sizes = trace.profile(), trace.races(), _sizes(trace)
        reports.append(report)
        right = job.wanted is None or job.wanted.near(report.arrays[job.wanted.place]).all()
        if report.failure or report.code != job.code or not right:
            break  # The next call would be wrong, too, and perhaps take long.
        program.reset()
    return reports


def _sizes(trace: cuda.Trace) -> dict[tuple[int, int], int]:
    """Count the global accesses of each line and number of bytes."""
    outside = trace.accesses[~trace.accesses["shared"]]
    keys, counts = np.unique(np.stack([outside["line"], outside["bytes"]]), axis=1, return_counts=True)
    return {(int(line), int(size)): int(count) for (line, size), count in zip(keys.T, counts, strict=True)}


# -- what is asked of a report -------------------------------------------------------------------------


def _expect_code(job: Job, report: Report) -> None:
    """The host function returned this code."""
    advice = {
        0: f" {report.message}",
        INVALID: " 시작이 거절되면 cudaGetLastError()가 그 코드를 알려 줍니다.",
        FAULT: " 커널이 끝난 뒤의 오류 코드도 돌려주세요.",
    }[job.code]
    expect(
        report.code == job.code,
        f"{job.case}: 기대한 오류 코드는 {job.code}, 나온 오류 코드는 {report.code}입니다.{advice}".rstrip(),
    )


def _expect_values(job: Job, report: Report, more: str = "") -> None:
    """The array has the wanted values; the sentence names the first that differs."""
    if job.wanted is None:
        return
    got, values, name = report.arrays[job.wanted.place], job.wanted.values, job.wanted.name
    wrong = np.flatnonzero(~job.wanted.near(got))
    if not len(wrong):
        return
    k = wrong[0]
    if got[k] == job.arguments[job.wanted.place][k]:
        more = " 아무도 쓰지 않아 처음 값 그대로입니다."
    elif np.isnan(got[k]):
        more = " 초기화하지 않은 값입니다."
    raise Mismatch(
        f"{job.case}: {name}[{k}]의 값이 {values[k]:.6g}이어야 하는데 {got[k]:.6g}입니다"
        f"(모두 {len(wrong):,}개가 다름).{more}"
    )


def _expect_sectors(source: str, job: Job, report: Report, most: int, each: int) -> None:
    """No more sectors than the bytes need; ``each`` is what a full request takes."""
    total = sum(row.units for row in report.rows if row.space == "global")
    if total > most:
        worst = max(report.rows, key=lambda row: row.units)
        raise Mismatch(
            f"{job.case}: 값은 맞지만 섹터가 {most:,}개면 되는데 {total:,}개입니다. 한 워프의 이웃한 레인이 이웃한 원소를 "
            f"처리하면 요청마다 {each}섹터인데 {worst.per_request:.3g}섹터입니다.{_line(source, worst.line)}"
        )


def _expect_race_free(source: str, job: Job, report: Report) -> None:
    for one, other, space in report.races:
        where = "공유 메모리" if space == "shared" else "전역 메모리"
        remedy = (
            "사이에 __syncthreads()를 두세요" if space == "shared" else "블록마다 스레드 하나만 쓰게 하세요"
        )
        lines = f"{one}번째 줄과 {other}번째 줄이" if one != other else f"{one}번째 줄의 스레드들이"
        raise Mismatch(
            f"{job.case}: {lines} {where}의 같은 곳을 두고 경합합니다. {remedy}.{_line(source, other)}"
        )


def _expect_shuffles(source: str, job: Job, report: Report) -> None:
    """No atomics, and shared memory for the sums of warps only."""
    blocks = len(job.arguments[1])
    atomics = [row.line for row in report.rows if row.kind == "atomic"]
    expect(
        not atomics,
        f"{job.case}: 원자적 연산 대신 셔플로 더하세요.{_line(source, atomics[0] if atomics else 0)}",
    )
    stores = [row for row in report.rows if (row.space, row.kind) == ("shared", "store")]
    requests = sum(row.requests for row in stores)
    most = 3 * blocks + blocks * job.block // 32
    expect(
        requests <= most,
        f"{job.case}: 공유 메모리에 쓰는 요청이 {requests}번입니다. 워프 안은 셔플로 더하고 워프마다 한 번만 쓰세요."
        f"{_line(source, stores[-1].line if stores else 0)}",
    )


def _line(source: str, number: int) -> str:
    """Return a line of the learner's source as an addition to a sentence, or nothing."""
    lines = source.split("\n")
    text = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    return f" ({number}번째 줄: {text[:80]})" if text else ""


def _quoted(source: str, sentence: str) -> str:
    """Return the line that a sentence names."""
    named = re.search(r"(\d+)번째 줄", sentence)
    return _line(source, int(named[1])) if named else ""
