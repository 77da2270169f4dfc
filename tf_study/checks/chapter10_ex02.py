"""Checks of practice 10.2: ZeRO-3 with the states of Adam in files, its peak memory, and DeepSpeed's settings.

Ranks are threads (:mod:`tf_study.threads`). What is alive is asked of the arrays themselves (``weakref``), or of
``tracemalloc``, which knows every array of NumPy but not the pages of a mapped file.
"""

import json
import math
import tempfile
import tracemalloc
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tf_study.expect import (
    Mismatch,
    expect,
    expect_array,
    expect_close,
    expect_parts,
    expect_ranks,
    expect_returned,
    expect_type,
    untouched,
)
from tf_study.practice import problem

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
GIB = 2**30


def _pad(unit: np.ndarray, size: int) -> np.ndarray:
    return np.pad(unit, (0, -len(unit) % size))


def _root(array: np.ndarray) -> np.ndarray:
    """Return the array whose memory ``array`` shows."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


class _Alive:
    """How many of the arrays given to :meth:`watch` still have their memory."""

    def __init__(self) -> None:
        self.count = 0

    def watch(self, array: np.ndarray) -> np.ndarray:
        self.count += 1
        weakref.finalize(_root(array), self._end)
        return array

    def _end(self) -> None:
        self.count -= 1


class _Layer:
    """A dense tanh layer without a bias whose calls are watched; a last layer that is linear."""

    def __init__(self, n: int, m: int, seed: int, last: bool = False):
        self.n, self.m, self.seed, self.last, self.length = n, m, seed, last, n * m
        self.enter: Callable[[str], None] = lambda what: None
        self.units, self.slopes = _Alive(), _Alive()

    def init(self) -> np.ndarray:
        self.enter("init")
        return self.units.watch(np.random.default_rng(self.seed).normal(0, self.n**-0.5, self.length))

    def forward(self, unit: np.ndarray, x: np.ndarray) -> np.ndarray:
        self.units.watch(self._fitting(unit, "forward"))
        self.enter("forward")
        z = x @ unit.reshape(self.n, self.m)
        return z if self.last else np.tanh(z)

    def backward(self, unit, x, y, dy) -> tuple[np.ndarray, np.ndarray]:
        self.units.watch(self._fitting(unit, "backward"))
        self.enter("backward")
        dz = dy if self.last else dy * (1 - y * y)
        gradient = np.zeros(self.length)
        gradient[:] = (x.T @ dz).ravel()
        return self.slopes.watch(gradient), dz @ unit.reshape(self.n, self.m).T

    def _fitting(self, unit, what: str) -> np.ndarray:
        if not isinstance(unit, np.ndarray) or unit.shape != (self.length,):
            shape = getattr(unit, "shape", type(unit).__name__)
            raise Mismatch(f"layer.{what}에는 패딩을 뗀 ({self.length},) 배열을 주어야 하는데 {shape}입니다.")
        return unit


def _squares(z: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean squared error and its gradient."""
    return float(np.mean((z - y) ** 2)), 2 * (z - y) / z.size


def _model(sizes: Sequence[int]) -> list[_Layer]:
    last = len(sizes) - 2
    return [_Layer(sizes[k], sizes[k + 1], 10 + k, k == last) for k in range(last + 1)]


def _whole(layers: Sequence[_Layer], units: Sequence[np.ndarray], x, y) -> tuple[float, list[np.ndarray]]:
    """Loss and gradients on one rank, nothing watched."""
    xs = [x]
    for layer, unit in zip(layers, units, strict=True):
        z = xs[-1] @ unit.reshape(layer.n, layer.m)
        xs.append(z if layer.last else np.tanh(z))
    loss, dy = _squares(xs[-1], y)
    found = []
    for layer, unit, a, b in reversed(list(zip(layers, units, xs[:-1], xs[1:], strict=True))):
        dz = dy if layer.last else dy * (1 - b * b)
        found.insert(0, (a.T @ dz).ravel())
        dy = dz @ unit.reshape(layer.n, layer.m).T
    return loss, found


@problem("조각과 패딩", minutes=5)
def shard(answer):
    """Every rank's piece, with padding, and that it does not keep the whole alive."""
    cases = [(8, 4), (10, 4), (9, 3), (5, 1), (7, 5), (3, 4), (2, 4)]
    for length, size in cases:
        for dtype in ("float64", "float32"):
            unit = np.random.default_rng(length).normal(size=length).astype(dtype)
            pieces = np.split(_pad(unit, size), size)
            for rank in range(size):
                case = f"길이 {length}, 프로세스 {size}개, {rank}번"
                with untouched(case, unit):
                    got = answer(unit, rank, size)
                mistakes = {
                    "나머지를 앞 조각에 나누어 주지 말고 끝에 0을 채우세요.": np.array_split(unit, size)[
                        rank
                    ],
                    "끝에 0을 채우지 않았습니다.": unit[rank * len(pieces[0]) :][: len(pieces[0])],
                    "이웃한 원소가 아니라 건너뛴 원소입니다.": _pad(unit, size)[rank::size],
                }
                expect_close(got, pieces[rank], case, tol=0, dtype=dtype, mistakes=mistakes)
    unit = np.random.default_rng(0).normal(size=4000)
    got = answer(unit, 1, 4)
    held = _root(got).nbytes
    expect(
        held <= 2 * got.nbytes,
        f"조각은 {got.nbytes}바이트인데 {held}바이트짜리 배열의 뷰입니다. 조각이 살아 있는 동안 전체가 해제되지 "
        "않으니 복사하세요.",
    )


@problem("층 하나 펼치기", minutes=5)
def gather(answer):
    """The whole vector on every rank, without the padding, in one all-gather."""
    for length, size in ((8, 4), (10, 4), (7, 3), (5, 1), (9, 2), (2, 3)):
        case = f"길이 {length}, 프로세스 {size}개"
        unit = np.random.default_rng(length).normal(size=length)
        pieces = np.split(_pad(unit, size), size)

        def run(comm, pieces=pieces, length=length):
            return answer(comm, pieces[comm.rank].copy(), length), sum(comm.sent.values())

        for rank, (got, sent) in enumerate(expect_ranks(run, size, case)):
            mistakes = {"패딩을 떼지 않았습니다.": np.concatenate(pieces), "자기 조각뿐입니다.": pieces[rank]}
            expect_close(got, unit, f"{case}, {rank}번", tol=0, dtype="float64", mistakes=mistakes)
            wanted = (size - 1) * pieces[0].nbytes
            expect(
                sent <= wanted,
                f"{case}, {rank}번: {sent}바이트를 보냈습니다. 올게더 한 번이면 {wanted}바이트입니다.",
            )


@problem("층마다 펼치고 해제하기", minutes=15)
def gradients(answer):
    """Loss and mean gradient pieces; at no time two whole layers; one reduce-scatter a layer."""
    for sizes, size in (((5, 7, 6, 3), 2), ((4, 6, 5, 2), 3), ((6, 5, 5, 5, 2), 4), ((5, 4, 2), 1)):
        case = f"층 {len(sizes) - 1}개, 프로세스 {size}개"
        rng = np.random.default_rng(sum(sizes))
        layers = _model(sizes)
        units = [layer.init() for layer in layers]
        x, y = rng.normal(size=(2 * size, sizes[0])), rng.normal(size=(2 * size, sizes[-1]))
        loss, slopes = _whole(layers, units, x, y)

        def run(comm, sizes=sizes, units=units, x=x, y=y, case=case):
            parts = [np.split(_pad(unit, comm.size), comm.size)[comm.rank].copy() for unit in units]
            layers = _watched(sizes, f"{case}, {comm.rank}번")
            gathers = _counting(comm, layers)
            share = [np.split(array, comm.size)[comm.rank] for array in (x, y)]
            before = [part.copy() for part in parts]
            got = answer(comm, parts, layers, _squares, *share)
            same = len(parts) == len(before) and all(map(np.array_equal, parts, before))
            expect(same, f"{case}, {comm.rank}번: 가중치 조각을 바꾸었습니다. 기울기만 구하세요.")
            return got, dict(comm.sent), gathers[0]

        own = [
            _whole(layers, units, *pair)[1] for pair in zip(np.split(x, size), np.split(y, size), strict=True)
        ]
        for rank, (got, sent, gathered) in enumerate(expect_ranks(run, size, case)):
            where = f"{case}, {rank}번"
            found_loss, found = expect_parts(got, ("손실", "기울기 조각의 목록"), where)
            expect_close(
                found_loss,
                loss,
                f"{where}, 손실",
                tol=1e-12,
                mistakes={
                    "자기 배치의 손실입니다. 모든 프로세스의 평균을 구하세요.": _whole(
                        layers, units, np.split(x, size)[rank], np.split(y, size)[rank]
                    )[0],
                    "더하기만 하고 프로세스의 수로 나누지 않았습니다.": loss * size,
                },
            )
            expect(
                isinstance(found, list | tuple) and len(found) == len(layers),
                f"{where}: 기울기 조각은 층마다 하나씩 앞 층부터 {len(layers)}개여야 합니다.",
            )
            for k, slope in enumerate(slopes):
                wanted = np.split(_pad(slope, size), size)[rank]
                mistakes = {
                    "더하기만 하고 프로세스의 수로 나누지 않았습니다.": wanted * size,
                    "자기 배치의 기울기만 있습니다. 리듀스-스캐터로 더하세요.": np.split(
                        _pad(own[rank][k], size), size
                    )[rank],
                    "자기 배치의 기울기만 나누었습니다. 리듀스-스캐터로 더하세요.": np.split(
                        _pad(own[rank][k], size), size
                    )[rank]
                    / size,
                    "층의 순서가 거꾸로입니다.": np.split(_pad(slopes[-1 - k], size), size)[rank],
                }
                expect_close(found[k], wanted, f"{where}, 층 {k}의 기울기", tol=1e-12, mistakes=mistakes)
            _expect_traffic(sent, gathered, units, size, where)
    _expect_lean(answer)


def _expect_lean(answer: Callable) -> None:
    """On one rank: when a layer is used, no copy of another layer's weights or gradient is in memory."""
    layers = _model((96,) * 6)
    one = layers[0].length * 8
    parts, (x, y) = [layer.init() for layer in layers], np.random.default_rng(3).normal(size=(2, 2, 96))
    used = {"forward": [], "backward": []}
    for layer in layers:
        layer.enter = lambda what: used[what].append(tracemalloc.get_traced_memory()[0])
    _traced(lambda: expect_ranks(lambda comm: answer(comm, parts, layers, _squares, x, y), 1, "메모리"))
    for what, found in used.items():
        for place, held in enumerate(found):
            pieces = one * place if what == "backward" else 0  # Of the gradients of the layers that are done.
            expect(
                held <= one + pieces + one // 2,
                f"층이 모두 {one:,}바이트일 때 {place + 1}번째 {what}에서 {held - pieces:,}바이트가 기울기 조각 말고도 살아 "
                f"있습니다. 앞 층의 기울기에 0을 채운 사본도 놓아 주세요.",
            )


def _watched(sizes: Sequence[int], where: str) -> list[_Layer]:
    """Return layers that raise when a second whole layer, or a second whole gradient, is alive."""
    layers, units, slopes = _model(sizes), _Alive(), _Alive()

    def enter(what: str) -> None:
        expect(
            units.count <= 1,
            f"{where}: {what}를 부를 때 층 전체의 가중치 {units.count}개가 살아 있습니다. 쓴 층은 바로 해제하세요.",
        )
        expect(
            slopes.count == 0,
            f"{where}: {what}를 부를 때 앞에 처리한 층의 기울기 전체가 살아 있습니다. 조각만 남기고 해제하세요.",
        )

    for layer in layers:
        layer.units, layer.slopes, layer.enter = units, slopes, enter
    return layers


def _counting(comm, layers: Sequence[_Layer]) -> list[int]:
    """Count the all-gathers of ``comm``; one that begins while a whole layer is alive raises."""
    count, real = [0], comm.all_gather

    def all_gather(array, group=None, kind="all_gather"):
        if kind == "all_gather":
            count[0] += 1
            expect(
                layers[0].units.count == 0,
                "다음 층을 모으기 시작할 때 앞 층의 가중치가 아직 살아 있습니다. 변수가 배열을 붙들고 있으면 "
                "del로 놓아 주세요.",
            )
        return real(array, group, kind)

    comm.all_gather = all_gather
    return count


def _expect_traffic(sent: dict, gathered: int, units: Sequence, size: int, where: str) -> None:
    padded = sum(_pad(unit, size).nbytes for unit in units)
    wanted = 2 * len(units)
    expect(
        gathered <= wanted,
        f"{where}: 올게더를 {gathered}번 불렀습니다. 순전파와 역전파에서 한 번씩 {wanted}번이면 됩니다.",
    )
    limit = 3 * padded * (size - 1) // size + 64 * size
    total = sum(sent.values())
    expect(
        total <= limit,
        f"{where}: {total}바이트를 보냈습니다. 올게더 두 번과 리듀스-스캐터 한 번이면 {limit}바이트를 넘지 않습니다.",
    )


def _adam(w, g, m, v, t, rate, epsilon_inside=False, bias=True):
    """Adam of Kingma and Ba (2015), algorithm 1, on copies; options are mistakes."""
    m, v = BETA1 * m + (1 - BETA1) * g, BETA2 * v + (1 - BETA2) * g * g
    a, b = (m / (1 - BETA1**t), v / (1 - BETA2**t)) if bias else (m, v)
    low = np.sqrt(b + EPSILON) if epsilon_inside else np.sqrt(b) + EPSILON
    return w - rate * a / low, m, v


@problem("파일에 둔 상태의 Adam", minutes=10)
def adam(answer):
    """The files hold the new states, the weights are changed in place, and little memory is used meanwhile."""
    for length, chunk, t in ((10, 4, 1), (12, 4, 2), (7, 100, 3), (1, 1, 50), (50, 7, 3)):
        case = f"길이 {length}, 조각 {chunk}개씩, 스텝 {t}"
        rng = np.random.default_rng(length)
        w, g, m = rng.normal(size=(3, length))
        v = rng.uniform(0, 1, length)
        m, v = (m * 0, v * 0) if t == 1 else (m, v)
        wanted = _adam(w, g, m, v, t, 0.01)
        weights = w.copy()
        with tempfile.TemporaryDirectory() as name:
            paths = [Path(name) / kind for kind in "mv"]
            for path, state in zip(paths, (m, v), strict=True):
                path.write_bytes(state.tobytes())
            with untouched(case, g):
                answer(weights, g, *(np.memmap(path, np.float64, "r+") for path in paths), t, 0.01, chunk)
            found = [np.fromfile(path) for path in paths]
        for kind, got, state, old in zip("mv", found, wanted[1:], (m, v), strict=True):
            mistakes = {"파일이 그대로입니다. 구한 값을 배열의 조각에 대입하세요.": old}
            if length > chunk:
                mistakes["첫 조각만 갱신했습니다."] = np.r_[state[:chunk], old[chunk:]]
            expect_close(got, state, f"{case}, 파일의 {kind}", tol=1e-12, mistakes=mistakes)
        mistakes = {
            "가중치가 그대로입니다. w에 제자리에서 쓰세요.": w,
            "편향 보정을 빠뜨렸습니다.": _adam(w, g, m, v, t, 0.01, bias=False)[0],
            "ε을 제곱근 안에서 더했습니다.": _adam(w, g, m, v, t, 0.01, epsilon_inside=True)[0],
        }
        expect_close(weights, wanted[0], f"{case}, 가중치", tol=1e-12, mistakes=mistakes)
    _expect_small(answer, 200_000, 2_000)


def _expect_small(answer: Callable, length: int, chunk: int) -> None:
    w, g = np.random.default_rng(0).normal(size=(2, length))
    with tempfile.TemporaryDirectory() as name:
        m, v = (np.memmap(Path(name) / kind, np.float64, "w+", shape=(length,)) for kind in "mv")
        used = _traced(lambda: answer(w, g, m, v, 1, 0.01, chunk))
    limit = 16 * 8 * chunk
    expect(
        used <= limit,
        f"길이 {length}, 조각 {chunk}개씩: 임시 배열이 {used:,}바이트였습니다. 조각마다 계산하면 {limit:,}바이트로 "
        "넉넉합니다.",
    )


def _traced(call: Callable) -> int:
    """Return the peak of the bytes that ``call()`` allocates."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _learn(layers, batches, rate, clip, cut=None) -> tuple[list, list]:
    """Adam on one rank: losses and weights; ``cut(gradients)`` scales in another way than by the whole norm."""
    units = [layer.init() for layer in layers]
    states, losses = [[0 * unit, 0 * unit] for unit in units], []
    for t, (x, y) in enumerate(batches, 1):
        loss, slopes = _whole(layers, units, x, y)
        norm = math.sqrt(sum(float(slope @ slope) for slope in slopes))
        slopes = cut(slopes) if cut else [slope * min(1, clip / norm) for slope in slopes]
        for k, slope in enumerate(slopes):
            units[k], *states[k] = _adam(units[k], slope, *states[k], t, rate)
        losses.append(loss)
    return losses, units


@problem("ZeRO-3와 오프로딩 학습", minutes=10)
def train(answer):
    """Losses and pieces of 22 steps equal Adam on one rank; states in files; nothing whole is kept."""
    steps, rate = 22, 0.02
    for sizes, size, clip in (((5, 7, 3), 2, 0.3), ((4, 5, 5, 2), 3, 0.1), ((6, 5, 2), 1, 1e9)):
        case = f"층 {len(sizes) - 1}개, 프로세스 {size}개, 기준 {clip:g}"
        rng = np.random.default_rng(sum(sizes))
        shapes = (steps, 2 * size, sizes[0]), (steps, 2 * size, sizes[-1])
        batches = list(zip(*(rng.normal(size=shape) for shape in shapes), strict=True))
        losses, units = _learn(_model(sizes), batches, rate, clip)
        uncut = _learn(_model(sizes), batches, rate, 1e9)[0]
        with tempfile.TemporaryDirectory() as folder:

            def run(comm, sizes=sizes, batches=batches, folder=folder, clip=clip, case=case):
                layers = _watched(sizes, f"{case}, {comm.rank}번")
                for layer in layers:
                    layer.enter = _one_at_a_time(layer.enter, layer.units, f"{case}, {comm.rank}번")
                return answer(comm, layers, _squares, batches, folder, rate, clip, 4)

            results = expect_ranks(run, size, case)
            held = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        for rank, got in enumerate(results):
            where = f"{case}, {rank}번"
            found, parts = expect_parts(got, ("손실", "가중치 조각"), where)
            mistakes = {"기울기를 자르지 않았습니다.": uncut} if clip < 1e9 else {}
            expect_close(found, losses, f"{where}, 손실", tol=1e-9, mistakes=mistakes)
            expect(
                isinstance(parts, list | tuple) and len(parts) == len(units),
                f"{where}: 가중치 조각은 층마다 하나씩 {len(units)}개여야 합니다.",
            )
            for k, unit in enumerate(units):
                wanted = np.split(_pad(unit, size), size)[rank]
                expect_close(parts[k], wanted, f"{where}, 층 {k}의 조각", tol=1e-9)
        wanted = 2 * sum(_pad(unit, size).nbytes for unit in units)
        expect(
            held >= wanted,
            f"{case}: folder의 파일이 모두 {held}바이트입니다. 두 모멘트의 조각은 {wanted}바이트입니다. "
            "프로세스와 층마다 다른 이름의 np.memmap을 만드세요.",
        )
    _expect_released(answer)


def _one_at_a_time(enter: Callable, units: _Alive, where: str) -> Callable:
    def wrapped(what: str) -> None:
        if what == "init":
            expect(
                units.count == 0,
                f"{where}: 다음 층을 만들 때 앞 층 전체가 살아 있습니다. 층을 만들자마자 조각만 남기세요.",
            )
        else:
            enter(what)

    return wrapped


def _expect_released(answer: Callable) -> None:
    """On one rank: at the first layer of the last step nothing but the weights is in memory."""
    sizes, steps = (64, 64, 64, 64, 64), 4
    layers = _model(sizes)
    weights = sum(layer.length for layer in layers) * 8
    rng = np.random.default_rng(5)
    batches = [tuple(rng.normal(size=(2, 2, 64))) for _ in range(steps)]
    seen = []

    def enter(what: str) -> None:
        if what == "forward":
            seen.append(tracemalloc.get_traced_memory()[0])

    layers[0].enter = enter
    with tempfile.TemporaryDirectory() as folder:
        run = lambda comm: answer(comm, layers, _squares, batches, folder, 0.01, 1.0, 64)  # noqa: E731
        _traced(lambda: expect_ranks(run, 1, "메모리"))
    expect(len(seen) == steps, f"스텝 {steps}번에 첫 층의 forward를 {len(seen)}번 불렀습니다.")
    limit = weights + layers[0].length * 8 + weights // 2  # The last for what Python itself needs.
    what = (
        "두 모멘트를 메모리에 두었거나 가중치의 사본이 남아 있습니다."
        if seen[0] > limit
        else ("앞 스텝의 기울기 조각을 갱신한 뒤에 놓아 주세요.")
    )
    expect(
        seen[-1] <= limit,
        f"가중치 {weights:,}바이트를 학습하는데, 마지막 스텝을 시작할 때 {seen[-1]:,}바이트가 살아 있습니다. {what}",
    )


def _peak(lengths, size, offload, pad=True, both=True, order=True, slopes=True):
    """Peak bytes of ZeRO-3 with float64; options are mistakes."""
    own = [-(-length // size) if pad else length / size for length in lengths]
    held = sum(own) * (1 if offload else 3)
    peaks = []
    for k, length in enumerate(lengths):
        done = sum(own[k + 1 :]) if order else sum(own)
        whole = size * own[k] + (length if both else 0)
        peaks.append(held + (done if slopes else 0) + whole)
    return 8 * max(peaks)


@problem("최고 메모리 예측", minutes=5)
def peak_bytes(answer):
    """Against a walk through the backward pass; the peak lies at different layers."""
    cases = [[8, 8, 8], [10, 3, 7], [2, 2, 40], [40, 2, 2], [5], [100, 90, 200, 10, 10], [9, 30, 8]]
    for lengths in cases:
        for size in (1, 2, 4, 8):
            for offload in (True, False):
                case = f"길이 {lengths}, 프로세스 {size}개, 오프로딩 {'함' if offload else '안 함'}"
                with untouched(case, lengths):
                    got = answer(lengths, size, offload)
                mistakes = {
                    "패딩을 세지 않았습니다.": _peak(lengths, size, offload, pad=False),
                    "층 하나의 기울기 전체를 빠뜨렸습니다.": _peak(lengths, size, offload, both=False),
                    "아직 구하지 않은 앞 층의 기울기 조각까지 세었습니다.": _peak(
                        lengths, size, offload, order=False
                    ),
                    "끝난 층의 기울기 조각을 빠뜨렸습니다.": _peak(lengths, size, offload, slopes=False),
                    "오프로딩이 반대입니다.": _peak(lengths, size, not offload),
                }
                expect_close(got, _peak(lengths, size, offload), case, tol=0, mistakes=mistakes)


@problem("DeepSpeed 설정", minutes=5)
def deepspeed_config(answer):
    """The settings by name, in the right place, and batch sizes that agree."""
    for batch, micro, size, clip, ratio in (
        (64, 8, 2, 1.0, 1.0),
        (96, 4, 8, 0.5, 0.7),
        (16, 16, 1, 0.0, 0.3),
    ):
        case = f"배치 {batch}, 마이크로배치 {micro}, GPU {size}장"
        got = answer(batch, micro, size, clip, ratio)
        expect_type(got, dict, case)
        try:
            got = json.loads(json.dumps(got))
        except (TypeError, ValueError) as error:
            raise Mismatch(f"{case}: JSON으로 쓸 수 없습니다. ({error})") from None
        zero = got.get("zero_optimization")
        expect(isinstance(zero, dict), f"{case}: zero_optimization이 dict가 아니거나 없습니다.")
        misplaced = "offload_optimizer" in got
        expect(not misplaced, f"{case}: offload_optimizer는 zero_optimization 안에 둡니다.")
        offload = zero.get("offload_optimizer")
        expect(isinstance(offload, dict), f"{case}: zero_optimization에 offload_optimizer가 없습니다.")
        bf16 = got.get("bf16")
        expect(isinstance(bf16, dict), f"{case}: bf16이 dict가 아니거나 없습니다.")
        if "gradient_clipping" not in got:
            raise Mismatch(
                f"{case}: gradient_clipping이 없습니다. DeepSpeed 0.19.8은 적지 않으면 1.0에서 자릅니다."
            )
        places = {
            "train_batch_size": (got, batch),
            "train_micro_batch_size_per_gpu": (got, micro),
            "gradient_accumulation_steps": (got, batch // (micro * size)),
            "gradient_clipping": (got, clip),
            "enabled": (bf16, True),
            "stage": (zero, 3),
            "device": (offload, "cpu"),
            "ratio": (offload, ratio),
        }
        for name, (place, wanted) in places.items():
            expect(name in place, f"{case}: {name} 설정이 없습니다.")
            value = place[name]
            exact = isinstance(wanted, bool | str) or name.startswith(("train", "gradient_acc", "stage"))
            same = value == wanted and (not exact or type(value) is type(wanted))
            expect(same, f"{case}: {name}의 값이 {wanted!r}이어야 하는데 {value!r}입니다.")
    for batch, micro, size in ((60, 8, 2), (8, 8, 2)):
        case = f"배치 {batch}, 마이크로배치 {micro}, GPU {size}장"
        try:
            answer(batch, micro, size, 1.0, 1.0)
        except ValueError:
            continue
        raise Mismatch(f"{case}: 나누어떨어지지 않으니 ValueError를 일으켜야 합니다.")


def _range(params, gpu, host, gpu_other, host_other, weights=2, kept=2, moving=8):
    """Range of the ratio; the bytes per parameter are options, others than these are mistakes."""
    high = (host * GIB - host_other * GIB - kept * params) / (moving * params)
    low = 1 - (gpu * GIB - gpu_other * GIB - weights * params) / (moving * params)
    low, high = max(0.0, low), min(1.0, high)
    return (low, high) if low <= high else None


@problem("14B의 오프로딩 비율", minutes=5)
def ratio_range(answer):
    """Both bounds, cut to 0..1, and None where nothing fits."""
    cases = {
        "14.09B": (14.09e9, 79, 125, 2.1, 4),
        "7B": (7e9, 79, 64, 3, 4),
        "1B는 모두 GPU에": (1e9, 24, 64, 1, 4),
        "14.09B, RAM 1,000 GiB": (14.09e9, 40, 1000, 2, 4),
        "30B": (30e9, 79, 125, 2, 4),
        "가중치도 들어가지 않음": (14.09e9, 24, 500, 1, 4),
        "RAM이 모자람": (14.09e9, 400, 20, 1, 4),
    }
    for case, given in cases.items():
        wanted, got = _range(*given), answer(*given)
        if wanted is None:
            expect(got is None, f"{case}: 들어가는 비율이 없으니 None이어야 하는데 {got!r}입니다.")
            continue
        expect_returned(got, f"{case}(비율이 있습니다)")
        found = expect_array(expect_parts(got, ("가장 작은 비율", "가장 큰 비율"), case), case)
        mistakes = {
            "주 메모리에 늘 있는 기울기 2바이트를 빠뜨렸습니다.": _range(*given, kept=0),
            "GPU에 늘 있는 가중치 2바이트를 빠뜨렸습니다.": _range(*given, weights=0),
            "비율에 따라 옮겨지는 것은 8바이트입니다.": _range(*given, moving=6),
        }
        mistakes = {cause: value for cause, value in mistakes.items() if value is not None}
        expect_close(found, wanted, case, tol=1e-9, mistakes=mistakes)
