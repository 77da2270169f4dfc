"""Right and wrong answers to practice 17.1."""

from itertools import product
from math import prod

import keras
import numpy as np
import tensorflow as tf

from answers import Answers

RIGHT, WRONG = Answers(), Answers()


# -- patchify ------------------------------------------------------------------------------------------


def _patchify(video, patch, order, tokens=(1, 3, 5), inner=(2, 4, 6), other=False, move=True, near=True):
    B, T, H, W, C = video.shape
    pt, ph, pw = patch
    if near:
        x = tf.reshape(video, (B, T // pt, pt, H // ph, ph, W // pw, pw, C))
    else:
        x = tf.reshape(video, (B, pt, T // pt, ph, H // ph, pw, W // pw, C))
        tokens, inner = inner, tokens
    channels_first = (order == "hunyuan") != other
    axes = (0, *tokens, *((7, *inner) if channels_first else (*inner, 7)))
    if move:
        x = tf.transpose(x, axes)
    return tf.reshape(x, (B, T // pt * (H // ph) * (W // pw), pt * ph * pw * C))


RIGHT("patchify")(_patchify)


@RIGHT("patchify")
def patchify_with_names(video, patch, order):
    """Names instead of axes."""
    inside = "cijk" if order == "hunyuan" else "ijkc"
    split = [part for side, p in zip(video.shape[1:4], patch, strict=True) for part in (side // p, p)]
    x = tf.reshape(video, (len(video), *split, video.shape[-1]))
    return tf.reshape(tf.einsum(f"btihjwkc->bthw{inside}", x), (len(video), prod(split[::2]), -1))


@RIGHT("patchify")
def patchify_by_slices(video, patch, order):
    """Block by block."""
    grid = [side // p for side, p in zip(video.shape[1:4], patch, strict=True)]
    found = []
    for t, h, w in product(*map(range, grid)):
        (a, b, c), (i, j, k) = patch, (t * patch[0], h * patch[1], w * patch[2])
        block = video[:, i : i + a, j : j + b, k : k + c]
        if order == "hunyuan":
            block = tf.einsum("btijc->bctij", block)
        found.append(tf.reshape(block, (len(block), -1)))
    return tf.stack(found, 1)


@RIGHT("patchify")
def patchify_with_library(video, patch, order):
    """TensorFlow's own patches, then the channels first."""
    x = tf.extract_volume_patches(video, [1, *patch, 1], [1, *patch, 1], "VALID")
    x = tf.reshape(x, (len(video), -1, prod(patch), video.shape[-1]))
    if order == "hunyuan":
        x = tf.linalg.matrix_transpose(x)
    return tf.reshape(x, (*x.shape[:2], -1))


WRONG.add("patchify", _patchify, "the other order", other=True)
WRONG.add("patchify", _patchify, "reshape without transpose", move=False)
WRONG.add("patchify", _patchify, "tokens in the order row, column, frame", tokens=(3, 5, 1))
WRONG.add("patchify", _patchify, "tokens in the order frame, column, row", tokens=(1, 5, 3))
WRONG.add("patchify", _patchify, "columns before rows inside", inner=(2, 6, 4))
WRONG.add("patchify", _patchify, "frames last inside", inner=(4, 6, 2))
WRONG.add("patchify", _patchify, "distant pixels", near=False)


@WRONG("patchify")
def patchify_always_dit(video, patch, order):
    """Ignore the order."""
    return _patchify(video, patch, "dit")


@WRONG("patchify")
def patchify_patch_axes(video, patch, order):
    """Keep the three axes of the grid."""
    grid = [side // p for side, p in zip(video.shape[1:4], patch, strict=True)]
    x = _patchify(video, patch, order)
    return tf.reshape(x, (len(x), *grid, -1))


@WRONG("patchify")
def patchify_numpy(video, patch, order):
    """NumPy: right numbers, no gradient."""
    return tf.constant(_patchify(video.numpy(), patch, order).numpy())


@WRONG("patchify")
def patchify_joins_clips(video, patch, order):
    """One long sequence for the batch."""
    x = _patchify(video, patch, order)
    return tf.reshape(x, (1, -1, x.shape[-1]))


# -- unpatchify ----------------------------------------------------------------------------------------


def _unpatchify(tokens, patch, grid, order, other=False, move=True, places=(0, 1, 2), inner=(0, 1, 2)):
    B, n = len(tokens), [grid[a] for a in places]
    C = tokens.shape[-1] // prod(patch)
    full = [g * p for g, p in zip(grid, patch, strict=True)]
    if not move:
        return tf.reshape(tokens, (B, *full, C))
    size = [patch[a] for a in inner]
    at = {axis: 1 + places.index(axis) for axis in range(3)}
    if (order == "hunyuan") != other:
        x, channel, start = tf.reshape(tokens, (B, *n, C, *size)), 4, 5
    else:
        x, channel, start = tf.reshape(tokens, (B, *n, *size, C)), 7, 4
    axes = [0]
    for axis in range(3):
        axes += [at[axis], start + inner.index(axis)]
    return tf.reshape(tf.transpose(x, [*axes, channel]), (B, *full, C))


RIGHT("unpatchify")(_unpatchify)


@RIGHT("unpatchify")
def unpatchify_with_names(tokens, patch, grid, order):
    """Names instead of axes."""
    C = tokens.shape[-1] // prod(patch)
    inside, sizes = ("cijk", (C, *patch)) if order == "hunyuan" else ("ijkc", (*patch, C))
    x = tf.einsum(f"bthw{inside}->btihjwkc", tf.reshape(tokens, (len(tokens), *grid, *sizes)))
    return tf.reshape(x, (len(tokens), *(g * p for g, p in zip(grid, patch, strict=True)), C))


@RIGHT("unpatchify")
def unpatchify_by_concat(tokens, patch, grid, order):
    """Blocks side by side, rows below rows, frames after frames."""
    C = tokens.shape[-1] // prod(patch)
    blocks = []
    for n in range(tokens.shape[1]):
        if order == "dit":
            blocks.append(tf.reshape(tokens[:, n], (-1, *patch, C)))
        else:
            blocks.append(tf.transpose(tf.reshape(tokens[:, n], (-1, C, *patch)), (0, 2, 3, 4, 1)))
    for axis in (2, 1, 0):
        step = grid[axis]
        blocks = [tf.concat(blocks[k : k + step], axis + 1) for k in range(0, len(blocks), step)]
    return blocks[0]


WRONG.add("unpatchify", _unpatchify, "the other order", other=True)
WRONG.add("unpatchify", _unpatchify, "reshape without transpose", move=False)
WRONG.add("unpatchify", _unpatchify, "tokens in the order row, column, frame", places=(1, 2, 0))
WRONG.add("unpatchify", _unpatchify, "tokens in the order frame, column, row", places=(0, 2, 1))
WRONG.add("unpatchify", _unpatchify, "columns before rows inside", inner=(0, 2, 1))
WRONG.add("unpatchify", _unpatchify, "frames last inside", inner=(1, 2, 0))


@WRONG("unpatchify")
def unpatchify_always_hunyuan(tokens, patch, grid, order):
    """Ignore the order."""
    return _unpatchify(tokens, patch, grid, "hunyuan")


@WRONG("unpatchify")
def unpatchify_numpy(tokens, patch, grid, order):
    """NumPy: right numbers, no gradient."""
    return _unpatchify(tokens.numpy(), patch, grid, order).numpy()


@WRONG("unpatchify")
def unpatchify_channels_first(tokens, patch, grid, order):
    """Channels in front."""
    return tf.transpose(_unpatchify(tokens, patch, grid, order), (0, 4, 1, 2, 3))


@WRONG("unpatchify")
def unpatchify_grey(tokens, patch, grid, order):
    """One channel, the rest of the numbers in the batch."""
    B = len(tokens)
    x = _unpatchify(tf.reshape(tokens, (-1, tokens.shape[1], prod(patch))), patch, grid, order)
    return tf.reshape(x, (B, *x.shape[1:4], -1))


# -- token_grid ----------------------------------------------------------------------------------------


def _token_grid(clip, stride, patch, check=True, causal=True, add=1, patched=True, swap=False, space=False):
    (T, H, W), (st, sh, sw), (pt, ph, pw) = clip, stride, patch
    latent = [(T - 1) // st + add if causal else T // st, H // sh, W // sw]
    if space and ((H - 1) % sh or (W - 1) % sw):
        raise ValueError("나누어떨어지지 않습니다.")
    if check and ((T - 1) % st or H % sh or W % sw or any(n % p for n, p in zip(latent, patch, strict=True))):
        raise ValueError("나누어떨어지지 않습니다.")
    if patched:
        latent = [latent[0] // pt, latent[1] // ph, latent[2] // pw]
    return (latent[0], latent[2], latent[1]) if swap else tuple(latent)


RIGHT("token_grid")(_token_grid)


@RIGHT("token_grid")
def token_grid_by_divmod(clip, stride, patch):
    """One axis after the other; the first frame taken off."""
    found = []
    for axis, (side, s, p) in enumerate(zip(clip, stride, patch, strict=True)):
        first = int(axis == 0)
        latent, rest = divmod(side - first, s)
        count, left = divmod(latent + first, p)
        if rest or left:
            raise ValueError(side)
        found.append(count)
    return found


@RIGHT("token_grid")
def token_grid_in_numpy(clip, stride, patch):
    """Arrays: s - 1 frames are put in front of the first."""
    padded = np.array(clip) + [stride[0] - 1, 0, 0]
    whole = np.array(stride)
    if (padded % whole).any() or (padded // whole % patch).any():
        raise ValueError("크기")
    return padded // whole // np.array(patch)


WRONG.add("token_grid", _token_grid, "T / M", causal=False, check=False)
WRONG.add("token_grid", _token_grid, "(T - 1) / M", add=0, check=False)
WRONG.add("token_grid", _token_grid, "not patched", patched=False)
WRONG.add("token_grid", _token_grid, "height and width swapped", swap=True)
WRONG.add("token_grid", _token_grid, "the causal rule everywhere", space=True)
WRONG.add("token_grid", _token_grid, "nothing refused", check=False)


@WRONG("token_grid")
def token_grid_length(clip, stride, patch):
    """The product."""
    return prod(_token_grid(clip, stride, patch))


@WRONG("token_grid")
def token_grid_division(clip, stride, patch):
    """Real numbers."""
    return tuple(float(n) for n in _token_grid(clip, stride, patch))


@WRONG("token_grid")
def token_grid_asserts(clip, stride, patch):
    """Another error than the one asked for."""
    try:
        return _token_grid(clip, stride, patch)
    except ValueError:
        return None


@WRONG("token_grid")
def token_grid_forgets_latent(clip, stride, patch):
    """Refuse pixels that do not divide, but not latents."""
    (T, H, W), (st, sh, sw) = clip, stride
    if (T - 1) % st or H % sh or W % sw:
        raise ValueError("크기")
    return _token_grid(clip, stride, patch, check=False)


# -- positions -----------------------------------------------------------------------------------------


def _positions(grid, start=0, columns=(0, 1, 2), rows=(0, 1, 2), dtype="int32"):
    axes = np.meshgrid(*(np.arange(n) for n in grid), indexing="ij")
    places = np.stack(axes, -1).transpose(*rows, 3).reshape(-1, 3)
    return places[:, columns].astype(dtype) + np.array(start, dtype)


RIGHT("positions")(_positions)


@RIGHT("positions")
def positions_by_loop(grid):
    """Token by token."""
    T, H, W = grid
    return np.array([[t, h, w] for t in range(T) for h in range(H) for w in range(W)])


@RIGHT("positions")
def positions_by_division(grid):
    """From the token's number."""
    T, H, W = grid
    n = tf.range(T * H * W)
    return tf.stack([n // (H * W), n // W % H, n % W], 1).numpy()


@RIGHT("positions")
def positions_from_numpy(grid):
    """NumPy's own enumeration."""
    return np.argwhere(np.ones(grid, bool))


WRONG.add("positions", _positions, "from 1", start=1)
WRONG.add("positions", _positions, "columns (H, W, T)", columns=(1, 2, 0))
WRONG.add("positions", _positions, "columns (W, H, T)", columns=(2, 1, 0))
WRONG.add("positions", _positions, "columns (T, W, H)", columns=(0, 2, 1))
WRONG.add("positions", _positions, "time is the fastest", rows=(1, 2, 0))
WRONG.add("positions", _positions, "rows are the fastest", rows=(0, 2, 1))
WRONG.add("positions", _positions, "meshgrid's default", rows=(1, 0, 2))
WRONG.add("positions", _positions, "real numbers", dtype="float32")


@WRONG("positions")
def positions_list(grid):
    """A list, which later cells cannot calculate with."""
    return positions_by_loop(grid).tolist()


@WRONG("positions")
def positions_scaled(grid):
    """From 0 to 1."""
    return _positions(grid) / np.maximum(np.array(grid) - 1, 1)


@WRONG("positions")
def positions_flat(grid):
    """The token's number, three times."""
    return np.repeat(np.arange(prod(grid))[:, None], 3, 1)


@WRONG("positions")
def positions_transposed(grid):
    """An axis a row."""
    return _positions(grid).T


# -- rope_angles ---------------------------------------------------------------------------------------


def _angles(places, dims, theta=256.0, divide=None, sign=-1, columns=(0, 1, 2), start=0, step=2, twice=False, check=True, dtype="float32"):  # fmt: skip
    if check and any(d % 2 for d in dims):
        raise ValueError("짝수")
    places = np.asarray(places)[:, columns] + start
    found = []
    for axis, d in enumerate(dims):
        size = d if divide is None else divide(d, sum(dims))
        frequency = theta ** (sign * np.arange(0, d, 2) / size * step / 2)
        found.append(places[:, axis : axis + 1] * frequency)
    found = np.concatenate(found, 1).astype(dtype)
    return np.repeat(found, 2, 1) if twice else found


RIGHT("rope_angles")(_angles)


@RIGHT("rope_angles")
def angles_in_tensorflow(places, dims, theta=256.0):
    """Powers as exponentials of logarithms, an outer product."""
    parts = []
    for axis, d in enumerate(dims):
        half, odd = divmod(d, 2)
        if odd:
            raise ValueError(f"{d}")
        speed = tf.exp(-tf.range(half, dtype=tf.float32) / half * tf.math.log(float(theta)))
        parts.append(tf.einsum("n,i->ni", tf.cast(places[:, axis], tf.float32), speed))
    return tf.concat(parts, -1).numpy()


@RIGHT("rope_angles")
def angles_at_once(places, dims, theta=256.0):
    """One multiplication: each pair knows its axis and its speed."""
    if sum(d % 2 for d in dims):
        raise ValueError("홀수")
    axis = np.repeat([0, 1, 2], np.array(dims) // 2)
    speed = np.concatenate([1 / theta ** np.linspace(0, 1, d // 2, endpoint=False) for d in dims])
    return np.float32(places[:, axis] * speed)


WRONG.add("rope_angles", _angles, "width of the head in the exponent", divide=lambda d, total: total)
WRONG.add("rope_angles", _angles, "a third of the head in the exponent", divide=lambda d, total: total / 3)
WRONG.add("rope_angles", _angles, "last exponent is 1", divide=lambda d, total: max(d - 2, 1))
WRONG.add("rope_angles", _angles, "half the exponent", step=1)
WRONG.add("rope_angles", _angles, "faster and faster", sign=1)
WRONG.add("rope_angles", _angles, "columns (H, W, T)", columns=(1, 2, 0))
WRONG.add("rope_angles", _angles, "columns (W, H, T)", columns=(2, 1, 0))
WRONG.add("rope_angles", _angles, "time for all axes", columns=(0, 0, 0))
WRONG.add("rope_angles", _angles, "from 1", start=1)
WRONG.add("rope_angles", _angles, "every angle twice", twice=True)
WRONG.add("rope_angles", _angles, "odd widths taken", check=False)
WRONG.add("rope_angles", _angles, "float64", dtype="float64")


@WRONG("rope_angles")
def angles_of_language_models(places, dims, theta=10000.0):
    """The base of language models."""
    return _angles(places, dims, theta)


@WRONG("rope_angles")
def angles_fixed_base(places, dims, theta=256.0):
    """Ignore theta."""
    return _angles(places, dims)


@WRONG("rope_angles")
def angles_equal_thirds(places, dims, theta=256.0):
    """The same width for every axis, whatever dims."""
    _angles(places, dims)
    return _angles(places, [sum(dims) // 6 * 2] * 3, theta)


@WRONG("rope_angles")
def angles_continued(places, dims, theta=256.0):
    """One falling series over all three axes."""
    if any(d % 2 for d in dims):
        raise ValueError("짝수")
    axis = np.repeat([0, 1, 2], np.array(dims) // 2)
    return np.float32(places[:, axis] * theta ** (-np.arange(len(axis)) / len(axis)))


# -- rotate --------------------------------------------------------------------------------------------


def _rotate(x, angles, half=False, back=False, heads=False, swap=False, mix=True, minus=True):
    angles = -angles if back else angles
    angles = angles if heads else angles[:, None]
    cos, sin = tf.cos(angles), tf.sin(angles)
    if swap:
        cos, sin = sin, cos
    a, b = tf.split(x, 2, -1) if half else (x[..., ::2], x[..., 1::2])
    first, second = (a * cos - b * sin if minus else a * cos + b * sin), b * cos + a * sin
    if half or not mix:
        return tf.concat([first, second], -1)
    return tf.reshape(tf.stack([first, second], -1), x.shape)


RIGHT("rotate")(_rotate)


@RIGHT("rotate")
def rotate_complex(x, angles):
    """Complex numbers."""
    pairs = tf.reshape(x, (*x.shape[:-1], -1, 2))
    z = tf.complex(pairs[..., 0], pairs[..., 1])
    z *= tf.complex(tf.cos(angles), tf.sin(angles))[:, None]
    return tf.reshape(tf.stack([tf.math.real(z), tf.math.imag(z)], -1), x.shape)


@RIGHT("rotate")
def rotate_with_repeats(x, angles):
    """As diffusers does it: cosines and sines twice, pairs turned by a quarter."""
    cos, sin = (tf.repeat(f(angles), 2, axis=-1)[:, None] for f in (tf.cos, tf.sin))
    pairs = tf.reshape(x, (*x.shape[:-1], -1, 2))
    quarter = tf.reshape(tf.stack([-pairs[..., 1], pairs[..., 0]], -1), x.shape)
    return x * cos + quarter * sin


@RIGHT("rotate")
def rotate_by_matrices(x, angles):
    """A 2x2 matrix for every token and pair."""
    c, s = tf.cos(angles), tf.sin(angles)
    matrices = tf.stack([tf.stack([c, -s], -1), tf.stack([s, c], -1)], -2)  # (N, D / 2, 2, 2)
    pairs = tf.reshape(x, (*x.shape[:-1], -1, 2))
    return tf.reshape(tf.einsum("npij,...nhpj->...nhpi", matrices, pairs), x.shape)


WRONG.add("rotate", _rotate, "halves instead of neighbours", half=True)
WRONG.add("rotate", _rotate, "the other way", back=True)
WRONG.add("rotate", _rotate, "sine and cosine swapped", swap=True)
WRONG.add("rotate", _rotate, "not put back in pairs", mix=False)
WRONG.add("rotate", _rotate, "a sign lost", minus=False)


@WRONG("rotate")
def rotate_heads(x, angles):
    """Angles along the heads where that is possible."""
    return _rotate(x, angles, heads=x.shape[-3] == x.shape[-2])


@WRONG("rotate")
def rotate_numpy(x, angles):
    """NumPy: no gradient."""
    return tf.constant(_rotate(x.numpy(), angles).numpy())


@WRONG("rotate")
def rotate_nothing(x, angles):
    """The input."""
    return tf.identity(x)


@WRONG("rotate")
def rotate_float64(x, angles):
    """Another dtype."""
    return _rotate(tf.cast(x, tf.float64), tf.cast(angles, tf.float64))


@WRONG("rotate")
def rotate_stopped(x, angles):
    """The gradient stopped."""
    return tf.stop_gradient(_rotate(x, angles))


# -- pack ----------------------------------------------------------------------------------------------


def _pack(grids, length=None, causal=False, restart=True, start=0, columns=(0, 1, 2), rest="alone", refuse=True, whole=False, frame=False, wrong=False, kind=bool):  # fmt: skip
    places, whose, before = [], [], 0
    for k, grid in enumerate(grids):
        places.append(_positions(grid) + [0 if restart else before, 0, 0])
        before += grid[0]
        whose += [k] * prod(grid)
    free = 0 if length is None else length - len(whose)
    if free < 0:
        if refuse:
            raise ValueError("들어가지 않습니다.")
        free = 0
    fill = {"alone": range(-free, 0), "together": [-1] * free, "last": [len(grids) - 1] * free}
    whose = np.array(whose + list(fill.get(rest, fill["alone"])))
    places = np.concatenate([*places, np.zeros((free, 3), int)]).astype(int)[:, columns] + start
    mask = whose[:, None] == whose
    if rest == "blind":
        mask &= whose >= 0
    if whole:
        mask = np.ones_like(mask)
    if causal:
        mask &= np.tri(len(mask), dtype=bool)
    if frame:
        mask &= places[:, None, 0] == places[:, 0]
    return places, (~mask if wrong else mask).astype(kind)


RIGHT("pack")(_pack)


@RIGHT("pack")
def pack_by_blocks(grids, length=None):
    """Write the blocks into an empty mask."""
    total = sum(prod(grid) for grid in grids)
    size = length or total
    if size < total:
        raise ValueError("길이")
    mask, places, start = np.eye(size, dtype=bool), np.zeros((size, 3), np.int32), 0
    for grid in grids:
        stop = start + prod(grid)
        mask[start:stop, start:stop] = True
        places[start:stop] = positions_by_loop(grid)
        start = stop
    return places, mask


@RIGHT("pack")
def pack_in_tensorflow(grids, length=None):
    """Tensors: a clip's number for every token; repeats, padding."""
    sizes = [prod(grid) for grid in grids]
    whose = tf.repeat(tf.range(len(grids)), sizes)
    places = tf.concat([positions_by_division(grid) for grid in grids], 0)
    if length is not None:
        free = length - len(whose)
        if free < 0:
            raise ValueError("길이")
        whose = tf.concat([whose, len(grids) + tf.range(free)], 0)
        places = tf.pad(places, ((0, free), (0, 0)))
    return places.numpy(), (whose[:, None] == whose[None]).numpy()


WRONG.add("pack", _pack, "causal inside the clips", causal=True)
WRONG.add("pack", _pack, "causal, clips not told apart", causal=True, whole=True)
WRONG.add("pack", _pack, "all see all", whole=True)
WRONG.add("pack", _pack, "frames go on counting", restart=False)
WRONG.add("pack", _pack, "from 1", start=1)
WRONG.add("pack", _pack, "columns (H, W, T)", columns=(1, 2, 0))
WRONG.add("pack", _pack, "only the same frame", frame=True)
WRONG.add("pack", _pack, "true where nothing may be seen", wrong=True)
WRONG.add("pack", _pack, "what is left over sees itself together", rest="together")
WRONG.add("pack", _pack, "what is left over belongs to the last clip", rest="last")
WRONG.add("pack", _pack, "what is left over sees nothing", rest="blind")
WRONG.add("pack", _pack, "too many taken", refuse=False)
WRONG.add("pack", _pack, "numbers instead of booleans", kind=float)


@WRONG("pack")
def pack_additive(grids, length=None):
    """Zero and minus a billion."""
    places, mask = _pack(grids, length)
    return places, np.where(mask, 0.0, -1e9)


@WRONG("pack")
def pack_ignores_length(grids, length=None):
    """Never longer than the clips."""
    _pack(grids, length)
    return _pack(grids)


# -- SpatioTemporalPatcher -----------------------------------------------------------------------------


class _Patcher(keras.layers.Layer):
    order, layout, turn, columns, after = "hunyuan", "qkv", (1, 1, 0), (0, 1, 2), False
    pack_options, same_theta = {}, False

    def __init__(self, patch, dims, heads, theta=256.0):
        super().__init__()
        self.patch, self.dims, self.heads, self.theta = tuple(patch), tuple(dims), heads, theta
        self.embed = keras.layers.Dense(heads * sum(dims))
        self.qkv = keras.layers.Dense(3 * heads * sum(dims))
        self.built = True

    def place(self, grids, length):
        return _pack(grids, length, **self.pack_options)

    def call(self, clips, length=None):
        tokens, grids = [], []
        for clip in clips:
            tokens.append(_patchify(clip[None], self.patch, self.order)[0])
            grids.append(tuple(n // p for n, p in zip(clip.shape[:3], self.patch, strict=True)))
        places, mask = self.place(grids, length)
        x = tf.concat(tokens, 0)
        x = self.embed(tf.pad(x, ((0, len(places) - len(x)), (0, 0))))
        theta = 256.0 if self.same_theta else self.theta
        angles = _angles(places[:, self.columns], self.dims, theta)
        if self.after:
            x = tf.reshape(_rotate(tf.reshape(x, (len(x), self.heads, -1)), angles), x.shape)
        parts = self.split(self.qkv(x))
        parts = [_rotate(part, angles) if on else part for part, on in zip(parts, self.turn, strict=True)]
        return (*parts, mask)

    def split(self, mixed):
        if self.layout == "heads":
            return tf.unstack(tf.reshape(mixed, (len(mixed), self.heads, 3, -1)), axis=2)
        return tf.unstack(tf.reshape(mixed, (len(mixed), 3, self.heads, -1)), axis=1)


RIGHT("SpatioTemporalPatcher")(_Patcher)


@RIGHT("SpatioTemporalPatcher")
class PatcherOneByOne(_Patcher):
    """Every clip for itself; then put one after the other."""

    def call(self, clips, length=None):
        found, grids = [], []
        for clip in clips:
            tokens = patchify_with_names(clip[None], self.patch, "hunyuan")[0]
            grids.append([clip.shape[a] // self.patch[a] for a in range(3)])
            q, k, v = tf.split(self.qkv(self.embed(tokens)), 3, -1)
            q, k, v = (tf.reshape(part, (len(part), self.heads, -1)) for part in (q, k, v))
            angles = angles_in_tensorflow(positions_by_division(grids[-1]), self.dims, self.theta)
            found.append((rotate_complex(q, angles), rotate_complex(k, angles), v))
        _, mask = pack_by_blocks(grids, length)
        free = len(mask) - sum(map(prod, grids))
        joined = [tf.concat(part, 0) for part in zip(*found, strict=True)]
        return [tf.pad(part, ((0, free), (0, 0), (0, 0))) for part in joined] + [mask]


@RIGHT("SpatioTemporalPatcher")
class PatcherBuilt(keras.layers.Layer):
    """Another class: the embedding as a strided convolution of the same kernel."""

    def __init__(self, patch, dims, heads, theta=256.0):
        super().__init__()
        self.args, self.heads, self.theta = (patch, dims), heads, theta
        self.embed = keras.layers.Dense(heads * sum(dims))
        self.qkv = keras.layers.Dense(3 * heads * sum(dims))
        self.built = True

    def call(self, clips, length=None):
        patch, dims = self.args
        channels, width = clips[0].shape[-1], self.heads * sum(dims)
        if not self.embed.built:
            self.embed.build((None, channels * prod(patch)))
        kernel = tf.reshape(self.embed.kernel, (channels, *patch, width))
        kernel = tf.transpose(kernel, (1, 2, 3, 0, 4))
        maps = [tf.nn.conv3d(clip[None], kernel, (1, *patch, 1), "VALID")[0] for clip in clips]
        places, mask = pack_in_tensorflow([tuple(m.shape[:3]) for m in maps], length)
        x = tf.concat([tf.reshape(m, (-1, width)) for m in maps], 0) + self.embed.bias
        x = tf.pad(x, ((0, len(places) - len(x)), (0, 0)))
        parts = tf.reshape(self.qkv(x), (len(x), 3 * self.heads, -1))
        angles = angles_at_once(places, dims, self.theta)
        q, k, v = tf.split(parts, 3, axis=1)
        return rotate_with_repeats(q, angles), rotate_by_matrices(k, angles), v, mask


def _wrong(what, **options):
    WRONG.add("SpatioTemporalPatcher", _Patcher, what, **options)


_wrong("not rotated", turn=(0, 0, 0))
_wrong("values rotated, too", turn=(1, 1, 1))
_wrong("keys not rotated", turn=(1, 0, 0))
_wrong("tokens rotated instead of queries and keys", turn=(0, 0, 0), after=True)
_wrong("the other order inside a patch", order="dit")
_wrong("heads before q, k, v", layout="heads")
_wrong("places as (H, W, T)", columns=(1, 2, 0))
_wrong("frames go on counting", pack_options={"restart": False})
_wrong("causal mask", pack_options={"causal": True})
_wrong("all see all", pack_options={"whole": True})
_wrong("the default base whatever theta", same_theta=True)


@WRONG("SpatioTemporalPatcher")
class PatcherRemembers(_Patcher):
    """Places of the first call kept for all."""

    kept = None

    def place(self, grids, length):
        self.kept = self.kept or _pack(grids, length)
        return self.kept


@WRONG("SpatioTemporalPatcher")
class PatcherFirstGrid(_Patcher):
    """Each clip has the places of a clip of one long line."""

    def place(self, grids, length):
        return _pack([(prod(grid), 1, 1) for grid in grids], length)


@WRONG("SpatioTemporalPatcher")
class PatcherWithoutEmbedding(_Patcher):
    """Frozen embedding."""

    def __init__(self, patch, dims, heads, theta=256.0):
        super().__init__(patch, dims, heads, theta)
        self.embed.trainable = False


@WRONG("SpatioTemporalPatcher")
class PatcherNumpy(_Patcher):
    """NumPy on the way: nothing is learned."""

    def split(self, mixed):
        return super().split(mixed.numpy())


@WRONG("SpatioTemporalPatcher")
class PatcherTwoEmbeddings(_Patcher):
    """An embedding of the wrong width."""

    def __init__(self, patch, dims, heads, theta=256.0):
        super().__init__(patch, dims, heads, theta)
        self.embed = keras.layers.Dense(sum(dims))
