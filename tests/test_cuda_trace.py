"""The trace counts what a profiler counts: sectors and passes a request, bytes, efficiency; and it finds races."""

import numpy as np
import pytest

import cuda_sources
from tf_study import cuda
from tf_study.cuda import trace as tracing
from tf_study.errors import StudyError

pytestmark = pytest.mark.skipif(not cuda.available(), reason="C++ 컴파일러가 없습니다.")
N = 4096
X = np.arange(N, dtype="float32")


@pytest.fixture(scope="module")
def copies():
    return cuda.build(cuda_sources.COPIES, trace=True)


@pytest.fixture(scope="module")
def transpose():
    return cuda.build(cuda_sources.TRANSPOSE, trace=True, kernels=["tile<0>", "tile<1>"])


@pytest.fixture(scope="module")
def matmul():
    return cuda.build(cuda_sources.MATMUL, trace=True, kernels=cuda_sources.TILED)


@pytest.fixture(scope="module")
def reduce():
    return cuda.build(cuda_sources.REDUCE, trace=True)


def traced(program, *launch, **options) -> cuda.Trace:
    with program.tracing() as trace:
        program.launch(*launch, **options)
    return trace


def rows(trace: cuda.Trace) -> dict[tuple[str, str], tuple[int, int]]:
    """Requests and sectors or passes of each space and kind."""
    table = {}
    for row in trace.profile():
        requests, units = table.get((row.space, row.kind), (0, 0))
        table[row.space, row.kind] = requests + row.requests, units + row.units
    return table


# Requests and sectors of the loads and of the stores of 4,096 floats; CUDA C++ Programming Guide, 'Device Memory
# Accesses': a warp that reads 128 contiguous bytes takes four sectors of 32.
COPIES = {
    "one": (64, (), (128, 512), (128, 512)),
    "four": (16, (), (32, 512), (32, 512)),  # float4: 16 sectors a request
    "four_parts": (16, (), (32, 512), (32, 512)),  # also where the components are used one by one
    "stride 1": (64, (1,), (128, 512), (128, 512)),
    "stride 2": (32, (2,), (64, 512), (64, 256)),
    "stride 4": (16, (4,), (32, 512), (32, 128)),
    "stride 8": (8, (8,), (16, 512), (16, 64)),
    "stride 16": (4, (16,), (8, 256), (8, 32)),
    "stride 32": (2, (32,), (4, 128), (4, 16)),
    "offset 1": (64, (1,), (128, 639), (128, 512)),  # 127 warps take five sectors, the last, shorter one four
    "offset 4": (64, (4,), (128, 639), (128, 512)),
    "offset 8": (64, (8,), (128, 511), (128, 511)),  # 32 bytes: aligned again
    "field": (22, (), (43, 512), (43, 171)),  # one field of a struct of three: all of its sectors
    "whole": (22, (), (129, 1536), (129, 1536)),
    "grid_stride": (4, (), (128, 512), (128, 512)),
    "chunk": (4, (), (128, 4096), (128, 4096)),  # each thread its own part: a sector a thread
    "same": (64, (), (128, 128), (128, 512)),  # a broadcast is one sector
    "rows": (64, (), (128, 4096), (128, 512)),
}


@pytest.mark.parametrize("case", COPIES)
def test_sectors_of_copies(copies, case):
    grid, more, loads, stores = COPIES[case]
    n = N // 3 if case in ("field", "whole") else N
    trace = traced(copies, case.split()[0], grid, 64, X, np.zeros_like(X), n, *more)
    assert rows(trace) == {("global", "load"): loads, ("global", "store"): stores}
    assert trace.sectors == loads[1] + stores[1] and trace.passes == 0 and trace.races() == []


def test_a_row_says_line_mean_and_efficiency(copies):
    trace = traced(copies, "stride", 16, 64, X, np.zeros_like(X), N, 4)
    line = cuda_sources.COPIES[: cuda_sources.COPIES.index("b[i / s]")].count("\n") + 1
    assert trace.profile() == [
        cuda.Row(line, "global", "load", 32, 512, 16.0, 0.25),
        cuda.Row(line, "global", "store", 32, 128, 4.0, 1.0),
    ]
    assert trace.bytes == 2 * 1024 * 4
    first = trace.accesses[:2]
    assert (
        list(first["address"]) == [0, 0] and list(first["bytes"]) == [4, 4] and list(first["kind"]) == [0, 1]
    )
    assert (
        set(trace.accesses["allocation"]) == set(first["allocation"]) and len(set(first["allocation"])) == 2
    )


TRANSPOSES = {
    "naive": {("global", "load"): (512, 2048), ("global", "store"): (512, 16384)},
    "tile<0>": {("shared", "load"): (512, 16384), ("shared", "store"): (512, 512)},  # 32 passes a request
    "tile<1>": {("shared", "load"): (512, 512), ("shared", "store"): (512, 512)},  # one padded column: 1
}


@pytest.mark.parametrize("kernel", TRANSPOSES)
def test_a_padded_column_takes_the_bank_conflicts_away(transpose, kernel):
    x = X.reshape(1, N).repeat(4, axis=0).reshape(128, 128)
    y = np.zeros_like(x)
    trace = traced(transpose, kernel, (4, 4), (32, 8), x, y, 128)
    coalesced = {("global", "load"): (512, 2048), ("global", "store"): (512, 2048)}
    assert rows(trace) == coalesced | TRANSPOSES[kernel] and np.array_equal(y, x.T)


def product(program, kernel: str, tile: int, n: int = 64) -> cuda.Trace:
    a, b = np.random.default_rng(0).normal(size=(2, n, n)).astype("float32")
    return traced(program, kernel, (n // tile, n // tile), (tile, tile), a, b, np.empty_like(a), n)


def test_swapped_indices_cost_six_times_the_sectors(matmul):
    """Boehm's kernels 1 and 2: on an A6000 the second was 1986.5 / 309.0 = 6.43 times as fast."""
    swapped, naive = product(matmul, "swapped", 32), product(matmul, "naive", 32)
    assert (swapped.sectors, naive.sectors) == (274_432, 41_472)
    assert swapped.bytes == naive.bytes == 4 * (2 * 64**3 + 64**2)
    assert abs(swapped.sectors / naive.sectors - 1986.5 / 309.0) < 0.2


def test_a_tile_of_16_reads_a_sixteenth(matmul):
    right, wrong = (product(matmul, kernel, 16) for kernel in cuda_sources.TILED)
    assert len(right.accesses) == 593_920
    assert right.bytes == 4 * (2 * 64**3 // 16 + 64**2)
    assert right.sectors == right.bytes // 32 and right.passes == 17_408
    assert right.races() == []
    # Without its second barrier a thread stores the next tile while another still reads this one.
    lines = cuda_sources.MATMUL.split("\n")
    one, two = (k + 1 for k, text in enumerate(lines) if "[threadIdx.y][threadIdx.x] =" in text)
    sum_ = next(k + 1 for k, text in enumerate(lines) if "sa[threadIdx.y][i]" in text)
    assert wrong.races() == [(one, sum_, "shared"), (two, sum_, "shared")]


# Requests to shared memory and passes of four blocks of 256; Harris, 'Optimizing Parallel Reduction in CUDA'.
REDUCTIONS = {
    "interleaved": (600, 600),
    "strided": (180, 600),
    "sequential": (180, 180),
    "shuffled": (36, 36),
    "last_warp": (180, 180),  # as many as "sequential", only without its barriers
    "atomic": (0, 0),
}


@pytest.mark.parametrize("kernel", REDUCTIONS)
def test_reductions(reduce, kernel):
    x, out = X[:1024].reshape(4, 256), np.zeros(4, "float32")
    trace = traced(reduce, kernel, 4, 256, x, out, shared=1024)
    shared = [units for (space, _), units in rows(trace).items() if space == "shared"]
    assert (sum(r for r, _ in shared), trace.passes) == REDUCTIONS[kernel]
    line = next(k for k, text in enumerate(cuda_sources.REDUCE.split("\n"), 1) if "d = 32; d > 0" in text)
    assert trace.races() == ([(line, line, "shared")] if kernel == "last_warp" else [])
    if kernel == "atomic":
        assert rows(trace)["global", "atomic"] == (32, 32)  # all 32 threads of a warp at one address


RACES = r"""
__global__ void same_word(float* x) { x[0] = threadIdx.x; }
__global__ void neighbours(char* x) { x[threadIdx.x] = 1; }
__global__ void blocks(float* x) {
  x[threadIdx.x] += 1;
}
__global__ void handed_over(float* x) {
  __shared__ float s[64];
  s[threadIdx.x] = x[threadIdx.x];
  __syncwarp();
  x[threadIdx.x] = s[threadIdx.x ^ 1];
}
__global__ void too_far(float* x) {
  __shared__ float s[64];
  s[threadIdx.x] = x[threadIdx.x];
  __syncwarp();
  x[threadIdx.x] = s[threadIdx.x ^ 32];
}
__global__ void half_atomic(int* x) {
  atomicAdd(x, 1);
  if (threadIdx.x == 40) x[1] = x[0];
}
__global__ void vectors(float4* x) { x[threadIdx.x] = x[0]; }
__global__ void shifted(float* x) {
  *(float4*)(x + 1) = make_float4(1, 2, 3, 4);
}
"""
FOUND = {
    "same_word": (1, 32, "f4", [(2, 2, "global")]),
    "neighbours": (1, 32, "i1", []),
    "blocks": (2, 32, "f4", [(5, 5, "global")]),
    "handed_over": (1, 64, "f4", []),
    "too_far": (1, 64, "f4", [(15, 17, "shared")]),
    "half_atomic": (1, 64, "i4", [(20, 21, "global")]),
    "vectors": (1, 32, "f4", [(23, 23, "global")]),
}


@pytest.mark.parametrize("kernel", FOUND)
def test_races_are_found_with_their_lines(kernel):
    grid, block, dtype, found = FOUND[kernel]
    program = cuda.build(RACES, trace=True)
    assert traced(program, kernel, grid, block, np.zeros(256, dtype)).races() == found
    if kernel == "blocks":  # One after the other is no race.
        with program.tracing() as trace:
            program.launch(kernel, 1, 32, x := np.zeros(256, dtype))
            program.launch(kernel, 1, 32, x)
        assert trace.races() == [] and trace.sectors == 16


def test_races_equal_the_comparison_of_all_pairs():
    """The grouped search against its definition, on random accesses to few words."""
    rng = np.random.default_rng(1)
    for case in range(40):
        log = np.zeros(24, tracing.ACCESS)
        for name, high in {
            "address": 5,
            "block": 2,
            "epoch": 2,
            "warp_epoch": 2,
            "launch": 2,
            "line": 4,
        }.items():
            log[name] = rng.integers(0, high, len(log))
        log["thread"], log["kind"] = rng.choice([0, 1, 40], len(log)), rng.choice([0, 0, 0, 1, 2], len(log))
        log["bytes"], log["shared"] = 1 + case % 2, case % 3 == 0
        trace = cuda.Trace()
        trace.accesses = log
        pairs = {
            (min(a["line"], b["line"]), max(a["line"], b["line"]), "shared" if a["shared"] else "global")
            for a in log
            for b in log
            if race(a, b)
        }
        assert trace.races() == sorted(pairs)


def race(a, b) -> bool:
    overlap = a["address"] < b["address"] + b["bytes"] and b["address"] < a["address"] + a["bytes"]
    same_block = a["block"] == b["block"]
    if not overlap or a["launch"] != b["launch"] or (a["shared"] and not same_block):
        return False
    if (
        (same_block and a["thread"] == b["thread"])
        or not (a["kind"] or b["kind"])
        or a["kind"] == b["kind"] == 2
    ):
        return False
    same_warp = same_block and a["thread"] // 32 == b["thread"] // 32
    ordered = same_block and (a["epoch"] != b["epoch"] or (same_warp and a["warp_epoch"] != b["warp_epoch"]))
    return not ordered


def test_an_access_outside_names_its_line(copies):
    with pytest.raises(StudyError, match="블록 4의 스레드 0이 5번째 줄에서 1024바이트 할당의 바깥"):
        copies.launch("one", 64, 64, X[:256].copy(), np.zeros_like(X), N)
    with pytest.raises(StudyError, match="25번째 줄에서 16바이트를 그 배수가 아닌 주소.*위치 4"):
        cuda.build(RACES, trace=True).launch("shifted", 1, 1, X.copy())


def test_what_is_not_traced(copies):
    with pytest.raises(StudyError, match="넘었으니"):
        with copies.tracing(limit=100):
            copies.launch("one", 64, 64, X, np.zeros_like(X), N)
    with copies.tracing() as trace:
        assert trace.profile() == [] and trace.races() == []
    assert (trace.sectors, trace.passes, trace.bytes, trace.profile(), trace.races()) == (0, 0, 0, [], [])
    with pytest.raises(StudyError, match="trace=True"):
        with cuda.build(cuda_sources.VECTOR_ADD, backend="emulator").tracing():
            pass
