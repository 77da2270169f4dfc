"""Checks of practice 13.1, diffusion forwards and backwards: closed forms on tables of noise that no formula gives.

Times run from 0 (data) to T (noise), so a table of T steps has T + 1 entries and alpha_bar[0] is 1. The functions take
each other's results, so all of them are asked for NumPy arrays.
"""

import numpy as np
from numpy.random import default_rng

from tf_study.expect import expect, expect_close, expect_integers, expect_parts, expect_type, untouched
from tf_study.practice import problem

LOG_TOL = 1e-3  # of log(alpha_bar), for tables that were computed in float32
MOMENT_TOL = 0.03  # of a mean and a spread over 20,000 draws, whose standard errors are below 0.007
SAMPLES = 20_000
# The answers are asked about this table, which is neither linear nor cosine.
TABLE = np.cumprod(np.append(1.0, default_rng(13).uniform(0.72, 0.97, 20)))
LAST = len(TABLE) - 1


@problem("노이즈 스케줄", minutes=10)
def schedule(answer):
    """Both kinds and several T, against products taken one by one; the last cosine step is clipped."""
    for kind in ("linear", "cosine"):
        for T in (1000, 50, 7):
            case = f"{kind}, T={T}"
            beta, table = expect_parts(answer(kind, T), ("beta", "alpha_bar"), case)
            expected, product = _betas(kind, T), _products(_betas(kind, T))
            for name, got in (("beta", beta), ("alpha_bar", table)):
                expect_type(got, np.ndarray, f"{case}, {name}")
                why = " t=0부터 t=T까지 한 개씩입니다." if got.shape in ((T,), (T + 2,)) else ""
                expect(
                    got.shape == (T + 1,),
                    f"{case}, {name}: 모양이 {(T + 1,)}이어야 하는데 {got.shape}입니다.{why}",
                )
            mistakes = {
                "마지막 beta를 0.999에서 자르지 않았습니다.": _betas(kind, T, clip=1.0),
                "t=0의 beta는 0이고, 첫 스텝의 값은 beta[1]입니다.": np.append(expected[1:], expected[-1]),
                "1 - beta를 돌려주었습니다.": 1 - expected,
            }
            expect_close(beta, expected, f"{case}, beta", tol=1e-6, mistakes=mistakes)
            expect(
                np.all(table > 0),
                f"{case}, alpha_bar: 모두 0보다 커야 하는데 가장 작은 값이 {table.min():.3g}입니다.",
            )
            mistakes = {
                "한 스텝 밀렸습니다. alpha_bar[0]은 1이고 alpha_bar[1]은 1 - beta[1]입니다.": np.append(
                    product[1:], product[-1]
                ),
                "식의 값 그대로입니다. 자른 beta로 다시 곱하세요.": _formula(kind, T),
                "곱하지 않은 alpha입니다.": 1 - expected,
                "제곱근을 취한 값입니다.": np.sqrt(product),
            }
            known = {text: np.log(wrong) for text, wrong in mistakes.items()}
            name = f"{case}, alpha_bar의 로그"
            expect_close(np.log(table), np.log(product), name, tol=LOG_TOL, mistakes=known)


def _betas(kind: str, T: int, clip: float = 0.999) -> np.ndarray:
    if kind == "linear":
        return np.array([0.0] + [1e-4 + (0.02 - 1e-4) * t / (T - 1) for t in range(T)])
    angles = [(t / T + 0.008) / 1.008 * np.pi / 2 for t in range(T + 1)]
    ratios = [np.cos(now) ** 2 / np.cos(before) ** 2 for before, now in zip(angles, angles[1:], strict=False)]
    return np.array([0.0] + [min(1 - ratio, clip) for ratio in ratios])


def _products(betas: np.ndarray) -> np.ndarray:
    found, product = [], 1.0
    for beta in betas:
        product *= 1 - beta
        found.append(product)
    return np.array(found)


def _formula(kind: str, T: int) -> np.ndarray:
    """alpha_bar before the clip: what the cosine's formula says."""
    if kind == "linear":
        return _products(_betas(kind, T))
    cosines = np.cos((np.arange(T + 1) / T + 0.008) / 1.008 * np.pi / 2)
    return (cosines / cosines[0]) ** 2


@problem("순방향 과정", minutes=5)
def q_sample(answer):
    """A time of its own for every sample, in shapes where broadcasting along the wrong axis goes unnoticed."""
    rng = default_rng(0)
    cases = {
        "x0 (4, 4)": ((4, 4), np.array([0, 3, 11, LAST])),
        "x0 (5, 2)": ((5, 2), np.array([20, 1, 1, 0, 7])),
        "x0 (3, 3, 3)": ((3, 3, 3), np.array([2, 9, 17])),
        "x0 (2, 4, 4, 2)": ((2, 4, 4, 2), np.array([15, 4])),
        "x0 (6, 3), t가 정수 하나": ((6, 3), 8),
        "x0 (1, 2), t가 길이 1": ((1, 2), np.array([19])),
    }
    for case, (shape, t) in cases.items():
        x0, noise = rng.uniform(-1, 1, shape), rng.normal(size=shape)
        with untouched(case, x0, noise, TABLE):
            got = answer(x0, t, noise, TABLE)
        each = np.broadcast_to(t, shape[:1])
        late, single = np.append(1.0, TABLE[:-1]), TABLE / np.append(1.0, TABLE[:-1])

        def mixed(signal, spread, each=each, x0=x0, noise=noise):
            return np.stack([signal[k] * a + spread[k] * b for k, a, b in zip(each, x0, noise, strict=True)])

        root, rest = np.sqrt(TABLE), np.sqrt(1 - TABLE)
        mistakes = {
            "노이즈의 계수에 제곱근이 빠졌습니다.": mixed(root, 1 - TABLE),
            "x0의 계수에 제곱근이 빠졌습니다.": mixed(TABLE, rest),
            "두 계수에 제곱근이 빠졌습니다.": mixed(TABLE, 1 - TABLE),
            "alpha_bar가 한 스텝 밀렸습니다.": mixed(np.sqrt(late), np.sqrt(1 - late)),
            "alpha_bar가 아니라 한 스텝의 alpha입니다.": mixed(np.sqrt(single), np.sqrt(1 - single)),
            "두 계수가 바뀌었습니다.": mixed(rest, root),
            "모든 샘플에 첫 샘플의 시각을 썼습니다.": root[each[0]] * x0 + rest[each[0]] * noise,
            "모든 샘플에 첫 샘플의 노이즈를 더했습니다.": mixed(root, rest, noise=noise[[0] * len(noise)]),
        }
        if len(set(shape)) == 1:
            mistakes["t의 계수를 샘플 축이 아니라 마지막 축에 곱했습니다."] = (
                root[each] * x0 + rest[each] * noise
            )
        expect_type(got, np.ndarray, case)
        expect_close(got, mixed(root, rest), case, mistakes=mistakes)


@problem("예측의 변환", minutes=5)
def predict(answer):
    """From known x0 and noise: all three kinds of output give both back."""
    rng = default_rng(1)
    shapes = {
        "(3, 3)과 시각 셋": ((3, 3), np.array([2, 18, 9])),
        "(4, 2, 2)와 시각 하나": ((4, 2, 2), 12),
        "(2, 3, 3, 1)과 시각 둘": ((2, 3, 3, 1), np.array([LAST, 1])),
    }
    for name, (shape, t) in shapes.items():
        x0, eps = rng.uniform(-1, 1, shape), rng.normal(size=shape)
        each = np.broadcast_to(t, shape[:1])
        a = np.stack([np.full(shape[1:], np.sqrt(TABLE[k])) for k in each])
        b = np.stack([np.full(shape[1:], np.sqrt(1 - TABLE[k])) for k in each])
        xt = a * x0 + b * eps
        outputs = {"eps": eps, "x0": x0, "v": a * eps - b * x0}
        for kind, output in outputs.items():
            case = f"{kind} 예측, {name}"
            with untouched(case, xt, output, TABLE):
                got = answer(xt, t, output, kind, TABLE)
            found = expect_parts(got, ("x0", "eps"), case)
            mistakes = {
                "x0과 eps의 순서가 바뀌었습니다.": (eps, x0),
                "나눗셈이 빠졌습니다.": (a * x0, b * eps),
                "v의 부호가 반대입니다.": (a * xt + b * output, b * xt - a * output),
                "계수에 제곱근이 빠졌습니다.": ((xt - b**2 * output) / a**2, (xt - a**2 * output) / b**2),
                "모델의 출력을 그대로 돌려주었습니다.": (output, output),
                "출력을 eps로 다루었습니다.": ((xt - b * output) / a, output),
            }
            for place, (part, truth) in enumerate((("x0", x0), ("eps", eps))):
                known = {text: wrong[place] for text, wrong in mistakes.items()}
                expect_type(found[place], np.ndarray, f"{case}, {part}")
                expect_close(found[place], truth, f"{case}, {part}", tol=1e-4, mistakes=known)


@problem("사후 분포", minutes=10)
def posterior(answer):
    """Neighbouring and distant times against Bayes' rule for two Gaussians; at s = 0 there is no doubt left."""
    rng = default_rng(2)
    for t, s in ((1, 0), (2, 1), (11, 10), (LAST, LAST - 1), (LAST, 5), (9, 0), (14, 3)):
        case = f"t={t}, s={s}"
        xt, x0 = rng.normal(size=(3, 2)), rng.uniform(-1, 1, (3, 2))
        with untouched(case, xt, x0, TABLE):
            got = answer(xt, x0, t, s, TABLE)
        mean, variance = expect_parts(got, ("평균", "분산"), case)
        expected_mean, expected = _bayes(xt, x0, t, s)
        ab, before = TABLE[t], TABLE[s]
        near = TABLE[t - 1]
        mistakes = {
            "분산이 아니라 표준편차입니다.": np.sqrt(expected),
            "분산에 (1 - ᾱ_s) / (1 - ᾱ_t)가 빠졌습니다.": 1 - ab / before,
            "분산의 (1 - ᾱ_s) / (1 - ᾱ_t)가 거꾸로입니다.": (1 - ab / before)
            * (1 - ab)
            / max(1 - before, 1e-12),
            "s가 아니라 t - 1의 ᾱ를 썼습니다.": (1 - near) / (1 - ab) * (1 - ab / near),
            "한 스텝의 alpha 대신 alpha_bar를 썼습니다.": (1 - before) / (1 - ab) * (1 - ab),
            "t까지의 ᾱ만으로 구한 분산입니다.": 1 - ab,
        }
        expect_close(variance, expected, f"{case}, 분산", mistakes=mistakes)
        alpha = ab / before
        first, second = np.sqrt(before) * (1 - alpha) / (1 - ab), np.sqrt(alpha) * (1 - before) / (1 - ab)
        mistakes = {
            "두 계수가 바뀌었습니다.": second * x0 + first * xt,
            "x0의 계수가 sqrt(ᾱ_t)입니다. sqrt(ᾱ_s)를 씁니다.": np.sqrt(ab / before) * first * x0
            + second * xt,
            "xt의 계수에 sqrt(alpha) 대신 sqrt(ᾱ_t)를 썼습니다.": first * x0 + np.sqrt(before) * second * xt,
            "1 - ᾱ_t로 나누지 않았습니다.": (1 - ab) * (first * x0 + second * xt),
            "x0의 계수에 제곱근이 빠졌습니다.": np.sqrt(before) * first * x0 + second * xt,
        }
        expect_type(mean, np.ndarray, f"{case}, 평균")
        expect_close(mean, expected_mean, f"{case}, 평균", mistakes=mistakes)


def _bayes(xt, x0, t: int, s: int) -> tuple[np.ndarray, float]:
    """Mean and variance of x_s given x_t and x0: precisions of the prior and of the noisy observation add up."""
    if s == 0:
        return x0, 0.0
    alpha = TABLE[t] / TABLE[s]
    prior, seen = 1 / (1 - TABLE[s]), alpha / (1 - alpha)
    variance = 1 / (prior + seen)
    return variance * (prior * np.sqrt(TABLE[s]) * x0 + seen * xt / np.sqrt(alpha)), variance


@problem("DDIM 한 스텝", minutes=5)
def ddim_step(answer):
    """The spread is eta times that of the posterior, and what it takes the direction gives back."""
    rng = default_rng(3)
    for t, s in ((12, 11), (LAST, 14), (LAST, 6), (9, 2), (5, 0), (1, 0)):
        for eta in (0.0, 0.5, 1.0):
            case = f"t={t}, s={s}, eta={eta:g}"
            x0, eps, noise = rng.uniform(-1, 1, (4, 3)), rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
            xt = np.sqrt(TABLE[t]) * x0 + np.sqrt(1 - TABLE[t]) * eps
            with untouched(case, x0, eps, noise, TABLE), np.errstate(all="ignore"):
                got = answer(x0, eps, t, s, TABLE, eta, noise)
            before, alpha = TABLE[s], TABLE[t] / TABLE[s]
            spread = eta * np.sqrt(_bayes(xt, x0, t, s)[1])

            def step(sigma=spread, less=spread**2, x0=x0, eps=eps, noise=noise, before=before):
                rest = np.sqrt(max(1 - before - less, 0))
                return np.sqrt(before) * x0 + rest * eps + sigma * noise

            full = np.sqrt(_bayes(xt, x0, t, s)[1])
            short, wide = eta * np.sqrt(1 - alpha), eta * np.sqrt((1 - before) / (1 - TABLE[t]))
            mistakes = {
                "방향의 계수에서 σ²을 빼지 않았습니다.": step(less=0),
                "새 노이즈를 더하지 않았습니다.": step(sigma=0),
                "σ가 아니라 σ²을 곱했습니다.": step(sigma=spread**2),
                "방향의 계수에서 σ²이 아니라 σ를 뺐습니다.": step(less=spread),
                "eta는 제곱근 밖에서 곱합니다.": step(np.sqrt(eta) * full, eta * full**2),
                "eta를 쓰지 않았습니다.": step(full, full**2),
                "σ에 (1 - ᾱ_s) / (1 - ᾱ_t)가 빠졌습니다.": step(short, short**2),
                "σ에 1 - ᾱ_t / ᾱ_s가 빠졌습니다.": step(wide, wide**2),
                "s가 아니라 t의 ᾱ를 썼습니다.": xt,
                "s가 아니라 t - 1로 갔습니다.": step(0, 0, before=TABLE[t - 1]),
            }
            expect_type(got, np.ndarray, case)
            expect_close(got, step(), case, mistakes=mistakes)


@problem("시간 격자", minutes=5)
def times(answer):
    """Every number of steps of small T, and those that samplers use: whole numbers, evenly from T to 0."""
    cases = [(T, steps) for T in (1, 2, 7, 10) for steps in range(1, T + 1)]
    cases += [(1000, steps) for steps in (1, 4, 7, 30, 50, 999, 1000)]
    for T, steps in cases:
        case = f"T={T}, {steps}스텝"
        got = answer(T, steps)
        expect_type(got, np.ndarray, case)
        got = expect_integers(got, case)
        why = " 스텝이 n번이면 시각은 n + 1개입니다." if got.shape == (steps,) else ""
        expect(
            got.shape == (steps + 1,),
            f"{case}: 시각이 {steps + 1}개여야 하는데 모양이 {got.shape}입니다.{why}",
        )
        expect(
            got[0] == T and got[-1] == 0,
            f"{case}: 첫 시각은 {T}, 마지막 시각은 0이어야 하는데 {got[0]}, {got[-1]}입니다.",
        )
        exact = np.array([T - T * k / steps for k in range(steps + 1)])
        far = np.abs(got - exact) > 0.5 + 1e-9
        if far.any():
            k = int(far.argmax())
            text = f"{case}: {k}번째 시각은 {exact[k]:.4g}에 가장 가까운 정수여야 하는데 {got[k]}입니다."
            floored = np.array_equal(got, np.floor(exact)) or np.array_equal(got, np.ceil(exact))
            expect(False, text + (" 버림과 올림 대신 반올림하세요." if floored else ""))


@problem("정확한 노이즈 제거기", minutes=10)
def denoise(answer):
    """One Gaussian, mixtures against a numerical integral, points in many dimensions where exp() underflows."""
    rng = default_rng(4)
    line = np.array([[-1.5], [0.2], [2.0]])
    weights = np.array([0.2, 0.5, 0.3])
    plane, pictures = rng.normal(size=(5, 2)), rng.uniform(-1, 1, (6, 3000))
    cases = {
        "정규 분포 하나": (np.array([[0.7, -0.3]]), np.array([1.0]), 0.5),
        "1차원 혼합": (line, weights, 0.4),
        "표준편차가 작은 1차원 혼합": (line, weights, 0.05),
        "2차원 혼합": (plane, np.array([0.1, 0.3, 0.05, 0.35, 0.2]), 0.3),
        "점 다섯 개 (std=0)": (plane, np.array([0.1, 0.3, 0.05, 0.35, 0.2]), 0.0),
        "3,000차원의 점 여섯 개 (std=0)": (pictures, np.array([0.3, 0.1, 0.1, 0.2, 0.2, 0.1]), 0.0),
    }
    for name, (centers, share, std) in cases.items():
        for t in (1, 4, 12, LAST):
            case = f"{name}, t={t}"
            which = rng.integers(0, len(centers), 7)
            x0 = centers[which] + std * rng.normal(size=(7, centers.shape[1]))
            xt = np.sqrt(TABLE[t]) * x0 + np.sqrt(1 - TABLE[t]) * rng.normal(size=x0.shape)
            with untouched(case, xt, TABLE, centers, share), np.errstate(all="ignore"):
                got = answer(xt, t, TABLE, centers, share, std)
            expect_type(got, np.ndarray, case)
            expect(
                got.dtype.kind == "f" and np.isfinite(got).all(),
                f"{case}: 유한하지 않은 값이 있습니다. exp를 계산하기 전에 로짓에서 가장 큰 값을 빼세요.",
            )

            given = xt, t, centers, share, std

            def mistakes(given=given):
                xt, t, centers, share, std = given
                even = np.full(len(share), 1 / len(share))
                return {
                    "가중치 weights가 빠졌습니다.": _denoised(xt, t, centers, even, std),
                    "거리를 잴 때 중심에 sqrt(ᾱ_t)를 곱하지 않았습니다.": _denoised(*given, scaled=False),
                    "거리의 제곱은 v가 아니라 2v로 나눕니다.": _denoised(*given, factor=1.0),
                    "확률로 평균하지 않고 가장 가까운 중심을 골랐습니다.": _denoised(*given, factor=1e-9),
                    "중심의 평균만 구했습니다. 성분마다 조건부 평균이 있습니다.": _denoised(
                        *given, inner=False
                    ),
                    "std가 빠졌습니다.": _denoised(xt, t, centers, share, 0.0),
                    "v에 ᾱ_t·std²이 빠졌습니다.": _denoised(*given, wide=False),
                }

            expect_close(got, _denoised(*given), case, tol=1e-4, mistakes=mistakes)
            if centers.shape[1] == 1:
                expect_close(got, _integrated(*given), f"{case}, 적분", tol=1e-4)


def _denoised(
    xt, t, centers, weights, std, factor: float = 2.0, inner=True, scaled=True, wide=True
) -> np.ndarray:
    """The mean of x0 given xt, one sample at a time: each component's own mean by the probability it has."""
    signal = np.sqrt(TABLE[t])
    v = wide * TABLE[t] * std**2 + 1 - TABLE[t]
    found = []
    for x in xt:
        logits = [
            np.log(w) - ((x - (signal if scaled else 1) * c) ** 2).sum() / (factor * v)
            for w, c in zip(weights, centers, strict=True)
        ]
        odds = np.exp(np.array(logits) - max(logits))
        means = [c + inner * signal * std**2 / v * (x - signal * c) for c in centers]
        found.append(sum(p * m for p, m in zip(odds / odds.sum(), means, strict=True)))
    return np.array(found)


def _integrated(xt, t, centers, weights, std) -> np.ndarray:
    """The same in one dimension by the integral over x0 that defines it."""
    grid = np.linspace(-5, 5, 20_001)
    density = sum(
        w * np.exp(-((grid - c) ** 2) / (2 * std**2)) for w, c in zip(weights, centers, strict=True)
    )
    seen = np.exp(-((xt - np.sqrt(TABLE[t]) * grid) ** 2) / (2 * (1 - TABLE[t])))  # (N, points of the grid)
    return ((seen * density) @ grid / (seen @ density))[:, None]


@problem("역방향 과정", minutes=10)
def sample(answer):
    """Paths without noise against a reference; with noise, moments on Gaussian data, whose law is exact."""
    rng = default_rng(5)
    centers, weights = rng.normal(size=(4, 2)), np.array([0.1, 0.4, 0.3, 0.2])
    start = rng.normal(size=(6, 2))
    grids = {
        "모든 시각": np.arange(LAST, -1, -1),
        "성긴 격자": np.array([LAST, 13, 12, 5, 1, 0]),
        "한 스텝": np.array([LAST, 0]),
        "중간에서 멈추는 격자": np.array([LAST, 15, 9]),
        "중간에서 시작하는 격자": np.array([9, 4, 0]),
    }
    for name, grid in grids.items():
        case = f"{name}, eta=0"
        asked = []

        def model(x, t, asked=asked):
            asked.append(int(t))
            return _denoised(np.asarray(x), int(t), centers, weights, 0.3)

        with untouched(case, start, grid, TABLE):
            got = answer(start, model, grid, TABLE, 0.0, default_rng(0))
        expect_type(got, np.ndarray, case)
        shape = (len(grid), *start.shape)
        why = (
            " x_T부터 마지막까지 모두 쌓습니다."
            if got.shape in (start.shape, (len(grid) - 1, *shape[1:]))
            else ""
        )
        expect(got.shape == shape, f"{case}: 모양이 {shape}이어야 하는데 {got.shape}입니다.{why}")
        expect(
            asked == list(grid[:-1]),
            f"{case}: 모델을 시각 {_short(grid[:-1])}에서 한 번씩 불러야 하는데 {_short(asked)}에서 불렀습니다.",
        )
        expected = _path(start, model, grid)
        nearer = _path(start, model, grid, before=lambda t, s: t - 1)
        mistakes = {
            "s로 격자의 다음 시각이 아니라 t - 1을 썼습니다.": nearer,
            "순서가 거꾸로입니다. x_T가 첫 번째입니다.": expected[::-1],
        }
        expect_close(got, expected, case, tol=1e-4, mistakes=mistakes)
    for name in ("모든 시각", "성긴 격자", "중간에서 시작하는 격자"):
        for eta in (0.4, 1.0):
            _expect_law(answer, grids[name], eta, f"{name}, eta={eta:g}")
    _expect_target(answer)


def _short(values) -> str:
    text = [str(int(v)) for v in values]
    return "[" + ", ".join(text if len(text) < 7 else [*text[:5], "…"]) + "]"


def _path(x, model, grid, before=lambda t, s: s) -> np.ndarray:
    """The path without noise: the noise that the model sees stays, only its share falls."""
    path = [x]
    for t, s in zip(grid[:-1], grid[1:], strict=True):
        s = before(t, s)
        x0 = model(path[-1], t)
        share = np.sqrt((1 - TABLE[s]) / (1 - TABLE[t]))
        path.append(share * path[-1] + (np.sqrt(TABLE[s]) - share * np.sqrt(TABLE[t])) * x0)
    return np.array(path)


def _gaussian(x, t, table, mean: float, std: float):
    """The exact denoiser of normally distributed data."""
    v = table[t] * std**2 + 1 - table[t]
    return mean + np.sqrt(table[t]) * std**2 / v * (x - np.sqrt(table[t]) * mean)


def _expect_law(answer, grid, eta: float, case: str) -> None:
    """All samples start in one point, so what they are spread by is the noise; the model is linear in x."""
    mean, std, begin = 0.7, 0.5, 1.3
    start = np.full((SAMPLES, 2), begin)
    with np.errstate(all="ignore"):
        path = answer(start, lambda x, t: _gaussian(x, t, TABLE, mean, std), grid, TABLE, eta, default_rng(7))
    expect_type(path, np.ndarray, case)
    expect(path.shape == (len(grid), SAMPLES, 2), f"{case}: 모양이 {path.shape}입니다.")
    expect(np.isfinite(path).all(), f"{case}: 유한하지 않은 값이 있습니다. 제곱근 안이 음수인지 보세요.")
    center, variance = begin, 0.0
    for k, (t, s) in enumerate(zip(grid[:-1], grid[1:], strict=True), 1):
        spread = eta * np.sqrt(_bayes(0.0, 0.0, t, s)[1])
        away = np.sqrt((1 - TABLE[s] - spread**2) / (1 - TABLE[t]))
        gain = np.sqrt(TABLE[s]) - away * np.sqrt(TABLE[t])
        at_zero, at_one = (_gaussian(x, t, TABLE, mean, std) for x in (0.0, 1.0))
        slope = away + gain * (at_one - at_zero)
        center, variance = slope * center + gain * at_zero, slope**2 * variance + spread**2
        got, where = path[k], f"{case}, 시각 {s}"
        across = got.std(0)
        if variance > 0:
            expect(
                across.max() > 1e-6,
                f"{where}: 샘플이 모두 같습니다. 샘플마다 다른 노이즈를 새로 뽑으세요.",
            )
            both = np.corrcoef(got.T)[0, 1]
            expect(
                abs(both) < 0.9,
                f"{where}: 두 좌표가 함께 움직입니다(상관 {both:.2f}). x와 모양이 같은 노이즈를 뽑으세요.",
            )
        expect(
            abs(got.mean() - center) < MOMENT_TOL,
            f"{where}: 평균이 {center:.3f} 근처여야 하는데 {got.mean():.3f}입니다.",
        )
        wanted = np.sqrt(variance)
        why = ""
        if s == 0:
            why = " 마지막 스텝에서 노이즈를 더하지 않았는지, 스텝마다 새 노이즈를 뽑는지 보세요."
        expect(
            abs(across - wanted).max() < MOMENT_TOL * max(wanted, 0.3),
            f"{where}: 표준편차가 {wanted:.3f} 근처여야 하는데 {across.mean():.3f}입니다.{why}",
        )


def _expect_target(answer) -> None:
    """The target that the problem states: 1,000 steps bring the mean and spread of normal data within 1 %."""
    T, mean, std = 1000, 0.7, 0.5
    table = np.cumprod(np.append(1.0, 1 - _betas("linear", T)[1:]))
    start = default_rng(8).normal(size=(2000, 1))
    start = (start - start.mean()) / start.std()
    got = answer(
        start,
        lambda x, t: _gaussian(x, t, table, mean, std),
        np.arange(T, -1, -1),
        table,
        0.0,
        default_rng(9),
    )
    expect_type(got, np.ndarray, "정규 분포")
    last = got[-1]
    for name, value, wanted in (("평균", last.mean(), mean), ("표준편차", last.std(), std)):
        expect(
            abs(value / wanted - 1) < 0.01,
            f"정규 분포, 1,000스텝: {name}의 오차가 1% 아래여야 하는데 {wanted}가 {value:.4f}로 나왔습니다.",
        )
