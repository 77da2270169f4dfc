"""Checks of practice 17.1, clips as one packed sequence of space-time patches: loops, and complex numbers in float64.

Tokens stand in the order frame, row, column. A head's numbers belong to time, height and width, in this order. What
gradients pass through is asked for in tensors, places, angles and masks in NumPy arrays, since later cells use them.
"""

from collections.abc import Callable, Sequence
from itertools import product
from math import prod

import keras
import numpy as np
import tensorflow as tf
from numpy.random import default_rng

from tf_study.expect import (
    Mismatch,
    expect,
    expect_array,
    expect_close,
    expect_integers,
    expect_parts,
    expect_trainable,
    expect_type,
    untouched,
)
from tf_study.practice import problem

ORDERS = ("dit", "hunyuan")
OTHER = {"dit": "hunyuan", "hunyuan": "dit"}
NAMES = ("시간", "높이", "너비")


@problem("패치로 자르기", minutes=10)
def patchify(answer):
    """Block by block, in both orders, with sides that are equal and sides that are not; gradients pass."""
    rng = default_rng(1701)
    cases = [
        ((1, 1, 4, 4, 1), (1, 2, 2)),
        ((2, 4, 4, 4, 2), (2, 2, 2)),
        ((1, 2, 6, 4, 3), (1, 3, 2)),
        ((3, 6, 4, 8, 2), (3, 1, 4)),
        ((2, 3, 5, 2, 4), (1, 1, 1)),
        ((1, 4, 2, 6, 3), (4, 2, 6)),
    ]
    for (shape, patch), order in product(cases, ORDERS):
        case = f"비디오 {shape}, 패치 {patch}, {order}"
        video = rng.normal(size=shape).astype("float32")

        def mistakes(video=video, patch=patch, order=order):
            grid = _divided(video.shape[1:4], patch)
            own = _cut(video, patch, order)
            blocks = own.reshape(len(video), *grid, -1)
            spread = video.reshape(len(video), patch[0], grid[0], patch[1], grid[1], patch[2], grid[2], -1)
            spread = spread.transpose(0, 2, 4, 6, *((1, 3, 5, 7) if order == "dit" else (7, 1, 3, 5)))
            return {
                "토큰 안의 순서가 다른 쪽의 것입니다.": _cut(video, patch, OTHER[order]),
                "축을 옮기지 않고 reshape만 했습니다.": video.reshape(own.shape),
                "토큰을 (행, 열, 프레임)의 순서로 늘어놓았습니다.": blocks.transpose(0, 2, 3, 1, 4).reshape(
                    own.shape
                ),
                "토큰을 (프레임, 열, 행)의 순서로 늘어놓았습니다.": blocks.transpose(0, 1, 3, 2, 4).reshape(
                    own.shape
                ),
                "이웃한 픽셀이 아니라 띄엄띄엄 떨어진 픽셀을 묶었습니다.": spread.reshape(own.shape),
            }

        got = answer(tf.constant(video), patch, order)
        expect_close(got, _cut(video, patch, order), case, tol=0, mistakes=mistakes)
    _check_gradient(
        lambda x: answer(x, (2, 2, 2), "hunyuan"),
        video[:, :2, :2],
        lambda w: _join(w, (2, 2, 2), (1, 1, 3), "hunyuan"),
    )


@problem("되붙이기", minutes=5)
def unpatchify(answer):
    """Cut block by block here, put together by the answer; gradients pass."""
    rng = default_rng(1702)
    cases = [
        ((1, 1, 4, 4, 1), (1, 2, 2)),
        ((2, 4, 4, 4, 2), (2, 2, 2)),
        ((1, 2, 6, 4, 3), (1, 3, 2)),
        ((3, 6, 4, 8, 2), (3, 1, 4)),
        ((1, 4, 2, 6, 3), (4, 2, 6)),
        ((2, 2, 3, 5, 4), (1, 1, 1)),
    ]
    for (shape, patch), order in product(cases, ORDERS):
        grid = _divided(shape[1:4], patch)
        case = f"격자 {grid}, 패치 {patch}, {order}"
        video = rng.normal(size=shape).astype("float32")
        tokens = _cut(video, patch, order)

        def mistakes(tokens=tokens, patch=patch, grid=grid, order=order):
            T, H, W = grid
            turned = tokens.reshape(len(tokens), H, W, T, -1).transpose(0, 3, 1, 2, 4).reshape(tokens.shape)
            return {
                "토큰 안의 순서를 다른 쪽의 것으로 읽었습니다.": _join(tokens, patch, grid, OTHER[order]),
                "축을 옮기지 않고 reshape만 했습니다.": tokens.reshape(len(tokens), *_times(grid, patch), -1),
                "토큰이 (행, 열, 프레임)의 순서라고 보았습니다.": _join(turned, patch, grid, order),
            }

        got = answer(tf.constant(tokens), patch, grid, order)
        expect_close(got, video, case, tol=0, mistakes=mistakes)
    tokens = rng.normal(size=(2, 3, 16)).astype("float32")
    _check_gradient(
        lambda x: answer(x, (2, 2, 2), (1, 1, 3), "dit"), tokens, lambda w: _cut(w, (2, 2, 2), "dit")
    )


def _blocks(patch: Sequence[int], grid: Sequence[int]) -> list[tuple]:
    """The slices of a clip that are its tokens, in their order."""
    return [
        (slice(None), *(slice(k * p, k * p + p) for k, p in zip(place, patch, strict=True)))
        for place in product(*map(range, grid))
    ]


def _cut(video: np.ndarray, patch: Sequence[int], order: str) -> np.ndarray:
    """(B, T, H, W, C) → (B, N, D), a block at a time."""
    grid = _divided(video.shape[1:4], patch)
    found = [video[block] for block in _blocks(patch, grid)]
    if order == "hunyuan":
        found = [np.moveaxis(block, -1, 1) for block in found]
    return np.stack([block.reshape(len(video), -1) for block in found], 1)


def _join(tokens: np.ndarray, patch: Sequence[int], grid: Sequence[int], order: str) -> np.ndarray:
    """(B, N, D) → (B, T, H, W, C), a block at a time."""
    channels = tokens.shape[-1] // prod(patch)
    video = np.zeros((len(tokens), *_times(grid, patch), channels), tokens.dtype)
    for n, block in enumerate(_blocks(patch, grid)):
        if order == "dit":
            video[block] = tokens[:, n].reshape(-1, *patch, channels)
        else:
            video[block] = np.moveaxis(tokens[:, n].reshape(-1, channels, *patch), 1, -1)
    return video


def _check_gradient(function: Callable, x: np.ndarray, transposed: Callable, tol: float = 1e-5) -> None:
    """A linear map's gradient is its transpose."""
    case = f"입력 {x.shape}의 기울기"
    x = tf.constant(x, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
        expect(
            tf.is_tensor(y),
            f"{case}: 결과의 형이 {type(y).__name__}입니다. 기울기가 흐르도록 TensorFlow의 연산으로 작성하세요.",
        )
        weights = default_rng(0).normal(size=y.shape).astype("float32")
        loss = tf.reduce_sum(y * weights)
    found = tape.gradient(loss, x)
    expect(
        found is not None,
        f"{case}: 입력까지 기울기가 흐르지 않습니다. NumPy로 바꾸지 말고 TensorFlow의 연산으로 작성하세요.",
    )
    expect_close(found, transposed(weights), case, tol=tol)


@problem("토큰의 수", minutes=5)
def token_grid(answer):
    """Published sizes, the causal rule with several strides, and clips that do not fit."""
    hunyuan = (4, 8, 8), (1, 2, 2)
    cases = [
        ((129, 720, 1280), *hunyuan),
        ((1, 256, 256), *hunyuan),
        ((5, 64, 48), *hunyuan),
        ((61, 544, 960), *hunyuan),
        ((9, 16, 32), (4, 4, 8), (3, 2, 1)),
        ((17, 24, 16), (8, 2, 2), (1, 3, 4)),
        ((6, 8, 12), (1, 1, 1), (2, 4, 3)),
        ((2, 6, 10), (1, 1, 1), (1, 1, 1)),
    ]
    for clip, stride, patch in cases:
        case = f"비디오 {clip}, 압축 {stride}, 패치 {patch}"
        latent = ((clip[0] - 1) // stride[0] + 1, clip[1] // stride[1], clip[2] // stride[2])
        expected = _divided(latent, patch)
        plain = _divided(clip, stride)
        mistakes = {
            "첫 프레임을 따로 세지 않았습니다. 잠재 프레임은 (T - 1) / M_t + 1개입니다.": _divided(
                plain, patch
            ),
            "패치로 나누지 않은 잠재 변수의 크기입니다.": latent,
            "높이와 너비의 순서가 바뀌었습니다.": (expected[0], expected[2], expected[1]),
        }
        got = expect_parts(_plain(answer(clip, stride, patch)), ("T'", "H'", "W'"), case)
        expect_close(expect_integers(got, case), expected, case, tol=0, mistakes=mistakes)
    for clip, stride, patch, why in [
        ((128, 64, 64), *hunyuan, "T - 1이 4로"),
        ((4, 64, 64), *hunyuan, "T - 1이 4로"),
        ((9, 64, 64), (4, 8, 8), (2, 2, 2), "잠재 프레임 세 개가 2로"),
        ((5, 40, 64), *hunyuan, "잠재 변수의 높이 5가 2로"),
        ((5, 64, 36), *hunyuan, "너비 36이 8로"),
        ((1, 68, 64), *hunyuan, "높이 68이 8로"),
    ]:
        case = f"비디오 {clip}, 압축 {stride}, 패치 {patch}"
        _expect_refused(
            lambda args=(clip, stride, patch): answer(*args), f"{case}: {why} 나누어떨어지지 않으므로"
        )


def _divided(sides: Sequence[int], by: Sequence[int]) -> tuple[int, ...]:
    return tuple(side // p for side, p in zip(sides, by, strict=True))


def _plain(got):
    """Arrays and tensors as lists."""
    return got.numpy().tolist() if tf.is_tensor(got) else got.tolist() if isinstance(got, np.ndarray) else got


def _expect_refused(call: Callable, why: str) -> None:
    try:
        call()
    except ValueError:
        return
    raise Mismatch(f"{why} ValueError를 일으켜야 하는데 결과를 돌려주었습니다.")


@problem("3차원 위치", minutes=5)
def positions(answer):
    """Every token's frame, row and column, one at a time."""
    for grid in [(2, 3, 4), (1, 2, 2), (3, 3, 3), (4, 1, 5), (5, 2, 1), (1, 1, 1), (2, 2, 6)]:
        case, got = f"격자 {grid}", answer(grid)
        expect_type(got, np.ndarray, case)
        expected = np.array(list(product(*map(range, grid))))
        columns = expected.reshape(*grid, 3)
        mistakes = {
            "번호를 1부터 세었습니다.": expected + 1,
            "열이 (높이, 너비, 시간)의 순서입니다.": expected[:, [1, 2, 0]],
            "열이 (너비, 높이, 시간)의 순서입니다.": expected[:, ::-1],
            "높이와 너비의 열이 바뀌었습니다.": expected[:, [0, 2, 1]],
            "시간이 가장 빨리 바뀝니다. 가장 빨리 바뀌는 것은 너비입니다.": columns.transpose(
                1, 2, 0, 3
            ).reshape(-1, 3),
            "높이가 너비보다 빨리 바뀝니다. 가장 빨리 바뀌는 것은 너비입니다.": columns.swapaxes(
                1, 2
            ).reshape(-1, 3),
            "시간과 높이가 바뀐 순서로 늘어놓았습니다. np.meshgrid라면 indexing을 보세요.": columns.swapaxes(
                0, 1
            ).reshape(-1, 3),
        }
        expect_close(expect_integers(got, case), expected, case, tol=0, mistakes=mistakes)


@problem("축별 각도", minutes=5)
def rope_angles(answer):
    """Places in no order, several widths of the axes, the default base and others, odd widths."""
    rng = default_rng(1705)
    cases = [
        ((2, 2, 2), None),
        ((4, 6, 6), None),
        ((16, 56, 56), None),
        ((2, 4, 8), 10000.0),
        ((8, 8, 8), 100.0),
        ((6, 4, 2), 2.0),
    ]
    for dims, theta in cases:
        case = f"dims {dims}, theta {'기본값' if theta is None else theta}"
        places = rng.integers(0, 90, (11, 3))
        places[0], places[1] = 0, (1, 0, 0)
        with untouched(case, places):
            got = answer(places, dims) if theta is None else answer(places, dims, theta)
        base = 256.0 if theta is None else theta

        def mistakes(places=places, dims=dims, base=base):
            total, half = sum(dims), [d // 2 for d in dims]
            return {
                "theta의 기본값이 10000입니다. 여기서는 256입니다.": _angles(places, dims, 10000.0),
                "theta를 쓰지 않고 256으로 계산했습니다.": _angles(places, dims, 256.0),
                "축의 폭 d가 아니라 전체의 폭 D로 나눈 지수입니다.": _angles(places, dims, base, [total] * 3),
                "지수가 절반입니다. 2i/d여야 하는데 i/d입니다.": _angles(
                    places, dims, base, [2 * d for d in dims]
                ),
                "지수의 부호가 반대입니다.": _angles(places, dims, 1 / base),
                "지수가 d - 2로 나뉘어 마지막이 1이 되었습니다.": _angles(
                    places, dims, base, [max(d - 2, 1) for d in dims]
                ),
                "축의 순서가 (높이, 너비, 시간)입니다.": _angles(places[:, [1, 2, 0]], dims, base),
                "축의 순서가 (너비, 높이, 시간)입니다.": _angles(places[:, ::-1], dims, base),
                "모든 축에 시간의 번호를 썼습니다.": _angles(places[:, [0, 0, 0]], dims, base),
                "위치를 1부터 세었습니다.": _angles(places + 1, dims, base),
                "각도에 2π를 곱했습니다.": 2 * np.pi * _angles(places, dims, base),
                "축마다 끊지 않고 지수가 이어졌습니다.": np.repeat(places, half, 1)
                * base ** (-2 * np.arange(total // 2) / total),
            }

        expect_type(got, np.ndarray, case)
        expect_close(got, _angles(places, dims, base), case, tol=1e-5, dtype="float32", mistakes=mistakes)
    for dims in ((3, 4, 4), (4, 5, 6), (2, 2, 7)):
        _expect_refused(
            lambda dims=dims: answer(np.zeros((2, 3), int), dims),
            f"dims {dims}: 홀수는 짝을 지을 수 없으므로",
        )


def _angles(places, dims, theta: float, divisors=None) -> np.ndarray:
    """Pair by pair, (N, sum(dims) / 2)."""
    found = []
    for axis, (d, divisor) in enumerate(zip(dims, divisors or dims, strict=True)):
        found += [places[:, axis] / theta ** (2 * i / divisor) for i in range(d // 2)]
    return np.stack(found, -1)


@problem("회전", minutes=5)
def rotate(answer):
    """Complex products, with as many heads as tokens, so that the wrong axis goes unnoticed; gradients pass."""
    rng = default_rng(1706)
    for shape in [(5, 2, 4), (2, 7, 3, 8), (4, 4, 4), (3, 3, 3, 6), (1, 6, 1, 2), (2, 2, 5, 4, 12)]:
        case = f"x {shape}"
        x = rng.normal(size=shape).astype("float32")
        angles = rng.uniform(-9, 9, (shape[-3], shape[-1] // 2)).astype("float32")

        def mistakes(x=x, angles=angles):
            half = x.shape[-1] // 2
            split = x[..., :half] + 1j * x[..., half:]
            turned = split * np.exp(1j * angles)[:, None]
            pairs = _turned(x, angles).reshape(*x.shape[:-1], half, 2)
            known = {
                "이웃한 두 수가 아니라 앞의 절반과 뒤의 절반을 짝지었습니다.": np.concatenate(
                    [turned.real, turned.imag], -1
                ),
                "반대 방향으로 돌렸습니다.": _turned(x, -angles),
                "짝을 돌린 뒤 제자리에 끼우지 않고 앞뒤로 이어 붙였습니다.": np.concatenate(
                    [pairs[..., 0], pairs[..., 1]], -1
                ),
                "sin과 cos이 바뀌었습니다.": _turned(x, np.pi / 2 - angles),
                "돌리지 않은 입력입니다.": x,
            }
            if x.shape[-3] == x.shape[-2]:
                known["토큰 축이 아니라 헤드 축을 따라 각도를 맞추었습니다."] = np.swapaxes(
                    _turned(np.swapaxes(x, -2, -3), angles), -2, -3
                )
            return known

        got = answer(tf.constant(x), angles)
        expect_close(got, _turned(x, angles), case, tol=1e-5, dtype="float32", mistakes=mistakes)
    _check_gradient(lambda x: answer(x, angles), x, lambda w: _turned(w, -angles))


def _turned(x, angles) -> np.ndarray:
    """Neighbouring pairs of x (..., N, heads, D) as complex numbers, times exp(i angle)."""
    pairs = np.asarray(x, float).reshape(*x.shape[:-1], -1, 2)
    complexes = (pairs[..., 0] + 1j * pairs[..., 1]) * np.exp(1j * np.asarray(angles, float))[:, None]
    return np.stack([complexes.real, complexes.imag], -1).reshape(x.shape)


@problem("묶기와 마스크", minutes=10)
def pack(answer):
    """Token by token: whose it is and where; places that are left over are alone."""
    cases = [
        ([(1, 1, 2), (2, 1, 1)], None),
        ([(2, 2, 3)], None),
        ([(1, 2, 2), (3, 2, 1), (2, 1, 4)], None),
        ([(2, 2, 2), (2, 2, 2)], 16),
        ([(1, 2, 2), (3, 2, 1)], 13),
        ([(1, 1, 1)], 4),
    ]
    for grids, length in cases:
        case = f"격자 {grids}" + ("" if length is None else f", 길이 {length}")
        total = sum(map(prod, grids))
        size = total if length is None else length
        got = answer(list(grids)) if length is None else answer(list(grids), length)
        places, mask = expect_parts(got, ("위치", "마스크"), case)
        expect_type(places, np.ndarray, f"{case}, 위치")
        expect_type(mask, np.ndarray, f"{case}, 마스크")
        whose = [k for k, grid in enumerate(grids) for _ in range(prod(grid))]
        whose = np.array(whose + [len(grids) + k for k in range(size - total)])
        where = np.array([place for grid in grids for place in product(*map(range, grid))])
        where = np.concatenate([where, np.zeros((size - total, 3), int)])
        frames = np.cumsum([0] + [grid[0] for grid in grids])
        later = where + [[frames[k] if k < len(grids) else 0, 0, 0] for k in whose]
        mistakes = {
            "클립마다 0에서 다시 시작하지 않고 프레임의 번호가 이어졌습니다.": later,
            "번호를 1부터 세었습니다.": where + 1,
            "열이 (높이, 너비, 시간)의 순서입니다.": where[:, [1, 2, 0]],
        }
        expect_close(
            expect_integers(places, f"{case}, 위치"), where, f"{case}, 위치", tol=0, mistakes=mistakes
        )
        same = whose[:, None] == whose
        real = np.arange(size) < total
        mistakes = {
            "클립 안에서 앞의 토큰만 보는 인과 마스크입니다. 클립 안에서는 서로 모두 봅니다.": same
            & np.tri(size, dtype=bool),
            "인과 마스크입니다. 클립을 구분하지 않았습니다.": np.tri(size, dtype=bool),
            "참과 거짓이 바뀌었습니다. 볼 수 있는 쌍이 참입니다.": ~same,
            "같은 프레임의 토큰만 서로 봅니다. 클립 안에서는 모든 프레임을 봅니다.": same
            & (where[:, None, 0] == where[:, 0]),
            "클립을 구분하지 않았습니다.": real[:, None] & real,
            "모든 쌍이 참입니다.": np.ones((size, size), bool),
            "남는 칸끼리 서로 봅니다. 자기 자신만 보아야 합니다.": same | ~(real[:, None] | real),
            "남는 칸이 볼 것이 없어 소프트맥스가 NaN이 됩니다. 자기 자신은 보게 하세요.": same & real,
            "남는 칸이 마지막 클립에 들어갔습니다.": (kept := np.minimum(whose, len(grids) - 1))[:, None]
            == kept,
        }
        expect(mask.dtype.kind == "b", f"{case}, 마스크: 자료형이 bool이어야 하는데 {mask.dtype}입니다.")
        expect_close(mask, same, f"{case}, 마스크", tol=0, mistakes=mistakes)
    for grids, length in [([(1, 2, 2), (3, 2, 1)], 9), ([(2, 2, 2)], 7)]:
        _expect_refused(
            lambda args=(grids, length): answer(*args), f"격자 {grids}, 길이 {length}: 들어가지 않으므로"
        )


@problem("시공간 패치 모듈", minutes=15)
def SpatioTemporalPatcher(answer):  # noqa: N802 (named after the learner's class)
    """Packs of several clips, one after the other through the same layer, against clips taken one by one."""
    rng = default_rng(1708)
    settings = [
        ((1, 2, 2), (2, 4, 2), 2, 3, 256.0),
        ((2, 2, 2), (4, 4, 4), 1, 1, 256.0),
        ((1, 1, 3), (2, 6, 4), 3, 2, 10000.0),
    ]
    packs = [([(1, 2, 3), (3, 2, 2)], None), ([(2, 1, 2), (2, 2, 2), (1, 1, 1)], 16), ([(1, 3, 2)], None)]
    for patch, dims, heads, channels, theta in settings:
        options = {} if theta == 256.0 else {"theta": theta}
        layer = answer(patch, dims, heads, **options)
        expect_type(layer, keras.layers.Layer, f"패치 {patch}")
        for turn, (grids, length) in enumerate(packs):
            case = f"패치 {patch}, 격자 {grids}" + ("" if length is None else f", 길이 {length}")
            clips = [rng.normal(size=(*_times(grid, patch), channels)).astype("float32") for grid in grids]
            extra = {} if length is None else {"length": length}
            tensors = [tf.constant(clip) for clip in clips]
            if turn == 0:
                layer(tensors, **extra)
                _check_layer(layer, prod(patch) * channels, heads * sum(dims), case)
                for weight in layer.trainable_weights:
                    weight.assign(rng.normal(size=weight.shape) / max(1, weight.shape[0]) ** 0.5)
            with tf.GradientTape() as tape:
                got = expect_parts(layer(tensors, **extra), ("q", "k", "v", "mask"), case)
                expect(
                    all(map(tf.is_tensor, got[:3])),
                    f"{case}: q, k, v가 텐서가 아닙니다. TensorFlow의 연산으로 작성하세요.",
                )
                loss = sum(tf.reduce_sum(part**2) for part in got[:3])
            _check_parts(got, layer, clips, (patch, dims, heads, theta), length, case)
            for name, slope in zip(
                ("embed", "qkv"), tape.gradient(loss, [layer.embed.kernel, layer.qkv.kernel]), strict=True
            ):
                expect(slope is not None, f"{case}: {name}의 가중치로 기울기가 흐르지 않습니다.")


def _times(grid, patch) -> tuple[int, ...]:
    return tuple(g * p for g, p in zip(grid, patch, strict=True))


def _check_layer(layer, size: int, width: int, case: str) -> None:
    """Two dense layers with biases, trained, and nothing else."""
    for name, shape in (("embed", (size, width)), ("qkv", (width, 3 * width))):
        dense = getattr(layer, name, None)
        expect(isinstance(dense, keras.layers.Dense), f"{case}: self.{name}이 keras.layers.Dense여야 합니다.")
        expect(dense.built, f"{case}: self.{name}을 쓰지 않았습니다.")
        found = tuple(dense.kernel.shape)
        expect(found == shape, f"{case}: {name}의 커널이 {shape}이어야 하는데 {found}입니다.")
    expect_trainable(layer, case)


def _check_parts(got, layer, clips: list, settings: tuple, length: int | None, case: str) -> None:
    """q, k, v of every clip from the layer's weights, in float64; the mask."""
    dims, heads = settings[1:3]
    orders = {"qkv": (3, heads), "heads": (heads, 3)}

    def parts(
        order="hunyuan", axes=(0, 1, 2), layout="qkv", after=False, turn=(1, 1, 0), join=False, base=None
    ):
        found, frames = [], 0
        for clip in clips:
            patch, theta = settings[0], base or settings[3]
            grid = _divided(clip.shape[:3], patch)
            x = _cut(clip[None].astype(float), patch, order)[0]
            x = x @ layer.embed.kernel.numpy() + layer.embed.bias.numpy()
            places = np.array(list(product(*map(range, grid))))[:, axes]
            if join:
                places[:, 0] += frames
                frames += grid[0]
            angles = _angles(places, dims, theta)
            if after:
                x = _turned(x.reshape(len(x), heads, -1), angles).reshape(x.shape)
            mixed = (x @ layer.qkv.kernel.numpy() + layer.qkv.bias.numpy()).reshape(
                len(x), *orders[layout], -1
            )
            split = np.moveaxis(mixed, 1 if layout == "qkv" else 2, 0)
            found.append([_turned(p, angles * on) for p, on in zip(split, turn, strict=True)])
        return [np.concatenate(part) for part in zip(*found, strict=True)]

    expected = parts()
    total = len(expected[0])
    size = total if length is None else length
    whose = np.repeat(range(len(clips)), [prod(_divided(clip.shape[:3], settings[0])) for clip in clips])
    whose = np.append(whose, len(clips) + np.arange(size - total))
    causes = {
        "회전하지 않았습니다.": parts(turn=(0, 0, 0)),
        "v까지 회전했습니다. 회전하는 것은 q와 k입니다.": parts(turn=(1, 1, 1)),
        "q, k, v를 구하기 전에 토큰을 회전했습니다.": parts(after=True, turn=(0, 0, 0)),
        "패치 안의 순서가 (c, pt, ph, pw)가 아닙니다.": parts(order="dit"),
        "qkv를 (heads, 3, D)로 나누었습니다. (3, heads, D)로 나누세요.": parts(layout="heads"),
        "위치의 열이 (높이, 너비, 시간)의 순서입니다.": parts(axes=(1, 2, 0)),
        "클립마다 위치를 0에서 다시 시작하지 않았습니다.": parts(join=True),
        "theta를 받은 값으로 쓰지 않았습니다.": parts(base=256.0),
    }
    for index, name in enumerate(("q", "k", "v")):
        part = expect_array(got[index], f"{case}, {name}")
        shape = (size, heads, sum(dims))
        expect(part.shape == shape, f"{case}, {name}: 모양이 {shape}이어야 하는데 {part.shape}입니다.")
        expect(np.isfinite(part).all(), f"{case}, {name}: 유한하지 않은 값이 있습니다.")
        known = {text: wrong[index] for text, wrong in causes.items()}
        expect_close(part[:total], expected[index], f"{case}, {name}", tol=1e-4, mistakes=known)
    mask = expect_array(got[3], f"{case}, mask")
    expect_close(mask, whose[:, None] == whose, f"{case}, mask", tol=0, dtype=bool)
