"""Right and wrong answers to practice 11.2."""

import numpy as np

from answers import Answers
from tf_study import mini_triton

RIGHT, WRONG = Answers(), Answers()
tl = mini_triton.language
INF = float("inf")
LOG2E = 1.4426950408889634
M0, M1, W0, W1 = 0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85


# -- softmax -------------------------------------------------------------------------------------------


def _softmax(
    x,
    out,
    cols,
    BLOCK: tl.constexpr,
    other=-INF,
    maximum=True,
    divide=True,
    store_mask=True,
    load_mask=True,
    again=False,
    log=False,
    column=False,
    row=True,
):
    offs = tl.arange(0, BLOCK)
    at = tl.program_id(0) * cols * row + offs
    if column:
        at = tl.program_id(0) + offs * cols
    mask = offs < cols
    v = tl.load(x + at, mask, other) if load_mask else tl.load(x + at)
    e = tl.exp(v - tl.max(v, 0)) if maximum else tl.exp(v)
    if again:
        e = tl.exp(tl.load(x + at, mask, other) - tl.max(v, 0))
    y = e / tl.sum(e, 0) if divide else e
    y = tl.log(y) if log else y
    if store_mask:
        tl.store(out + at, y, mask)
    else:
        tl.store(out + at, y)


RIGHT("softmax")(_softmax)


@RIGHT("softmax")
def softmax_base_two(x, out, cols, BLOCK: tl.constexpr):
    """Powers of two, a reciprocal, pointers moved first, keywords."""
    row = tl.program_id(axis=0)
    x += row * cols
    out += row * cols
    offs = tl.arange(0, BLOCK)
    v = tl.load(x + offs, mask=offs < cols, other=-INF) * LOG2E
    e = tl.exp2(v - tl.max(v, axis=0))
    tl.store(out + offs, e * (1.0 / tl.sum(e, axis=0)), mask=offs < cols)


@RIGHT("softmax")
def softmax_where(x, out, cols, BLOCK: tl.constexpr):
    """Pad by hand and store through a block of pointers."""
    offs = tl.arange(0, BLOCK)
    inside = offs < cols
    place = tl.program_id(0) * cols + offs
    v = tl.where(inside, tl.load(x + place, inside), -INF)
    e = tl.where(inside, tl.exp(v - tl.max(v, 0)), 0.0)
    target = out + place
    tl.store(target, e / tl.sum(e, 0), inside)


WRONG.add("softmax", _softmax, "no maximum", maximum=False)
WRONG.add("softmax", _softmax, "pad with zeros", other=0.0)
WRONG.add("softmax", _softmax, "no division", divide=False)
WRONG.add("softmax", _softmax, "store without a mask", store_mask=False)
WRONG.add("softmax", _softmax, "load without a mask", load_mask=False)
WRONG.add("softmax", _softmax, "read the row twice", again=True)
WRONG.add("softmax", _softmax, "logarithm", log=True)
WRONG.add("softmax", _softmax, "columns for rows", column=True)
WRONG.add("softmax", _softmax, "always the first row", row=False)


@WRONG("softmax")
def softmax_row_by_block(x, out, cols, BLOCK: tl.constexpr):
    """Rows BLOCK apart."""
    offs = tl.arange(0, BLOCK)
    at = tl.program_id(0) * BLOCK + offs
    v = tl.load(x + at, offs < cols, -INF)
    e = tl.exp(v - tl.max(v, 0))
    tl.store(out + at, e / tl.sum(e, 0), offs < cols)


@WRONG("softmax")
def softmax_returned(x, out, cols, BLOCK: tl.constexpr):
    """Return the result instead of storing it."""
    offs = tl.arange(0, BLOCK)
    v = tl.load(x + tl.program_id(0) * cols + offs, offs < cols, -INF)
    e = tl.exp(v - tl.max(v, 0))
    return e / tl.sum(e, 0)


@WRONG("softmax")
def softmax_of_the_library(x, out, cols, BLOCK: tl.constexpr):
    """A function that Triton has and the emulation has not."""
    offs = tl.arange(0, BLOCK)
    at = tl.program_id(0) * cols + offs
    tl.store(out + at, tl.softmax(tl.load(x + at, offs < cols, -INF)), offs < cols)


@WRONG("softmax")
def softmax_method(x, out, cols, BLOCK: tl.constexpr):
    """A method of Triton's tensors."""
    offs = tl.arange(0, BLOCK)
    at = tl.program_id(0) * cols + offs
    v = tl.load(x + at, offs < cols, -INF).to(tl.float32)
    tl.store(out + at, v, offs < cols)


@WRONG("softmax")
def softmax_of_arrays(x, out, cols, BLOCK: tl.constexpr):
    """Take the pointers for arrays."""
    out[:] = np.exp(x) / np.exp(x).sum(1, keepdims=True)


# -- philox --------------------------------------------------------------------------------------------


def _philox(
    counter,
    key,
    rounds=10,
    wide=True,
    bump="after",
    wrap=True,
    swap=False,
    order=(0, 1),
    constants=(M0, M1),
    xor=True,
    dtype=np.uint32,
    fixed=None,
    axis=-1,
):
    words = np.moveaxis(np.asarray(counter).astype(np.uint64), -1, 0)
    c0, c1, c2, c3 = words
    k0, k1 = (int(key[i]) for i in order)
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    for _ in range(fixed or rounds):
        if bump == "before":
            k0, k1 = (k0 + W0) & 0xFFFFFFFF, (k1 + W1) & 0xFFFFFFFF
        a, b = np.uint64(constants[0]) * c0, np.uint64(constants[1]) * c2
        if not wide:
            a, b = a & low, b & low
        high_a, low_a, high_b, low_b = a >> half, a & low, b >> half, b & low
        if swap:
            high_a, low_a, high_b, low_b = low_a, high_a, low_b, high_b
        c0, c2 = high_b ^ np.uint64(k0), high_a ^ np.uint64(k1)
        if xor:
            c0, c2 = c0 ^ c1, c2 ^ c3
        c1, c3 = low_b, low_a
        if bump == "after":
            k0, k1 = k0 + W0, k1 + W1
            if wrap:
                k0, k1 = k0 & 0xFFFFFFFF, k1 & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis).astype(dtype)


RIGHT("philox")(_philox)


@RIGHT("philox")
def philox_by_integers(counter, key, rounds=10):
    """Python's integers, one counter after the other."""
    counter = np.asarray(counter)
    found = []
    for words in counter.reshape(-1, 4):
        c, (k0, k1) = [int(word) for word in words], key
        for _ in range(rounds):
            a, b = M0 * c[0], M1 * c[2]
            c = [(b >> 32) ^ c[1] ^ k0, b % 2**32, (a >> 32) ^ c[3] ^ k1, a % 2**32]
            k0, k1 = (k0 + W0) % 2**32, (k1 + W1) % 2**32
        found.append(c)
    return np.array(found, np.uint32).reshape(counter.shape)


@RIGHT("philox")
def philox_by_views(counter, key, rounds=10):
    """Products seen as pairs of words, keys as an array that wraps."""
    c = np.array(counter).astype(np.uint32)
    keys = np.array(key, np.uint64).astype(np.uint32)
    factors = np.array([M1, M0], np.uint64)
    for _ in range(rounds):
        product = np.ascontiguousarray(c[..., [2, 0]].astype(np.uint64) * factors)
        parts = np.stack([product >> np.uint64(32), product & np.uint64(0xFFFFFFFF)], -1).astype(np.uint32)
        parts[..., 0] ^= c[..., [1, 3]] ^ keys
        c = parts.reshape(*c.shape[:-1], 4)
        keys = keys + np.array([W0, W1], np.uint32)
    return c


WRONG.add("philox", _philox, "products of 32 bits", wide=False)
WRONG.add("philox", _philox, "no change of the key", bump="never")
WRONG.add("philox", _philox, "change the key before the first round", bump="before")
WRONG.add("philox", _philox, "keys grow beyond 32 bits", wrap=False)
WRONG.add("philox", _philox, "high and low swapped", swap=True)
WRONG.add("philox", _philox, "keys swapped", order=(1, 0))
WRONG.add("philox", _philox, "constants swapped", constants=(M1, M0))
WRONG.add("philox", _philox, "no xor with the neighbours", xor=False)
WRONG.add("philox", _philox, "words of 64 bits", dtype=np.uint64)
WRONG.add("philox", _philox, "signed words", dtype=np.int32)
WRONG.add("philox", _philox, "always ten rounds", fixed=10)
WRONG.add("philox", _philox, "words on the first axis", axis=0)


@WRONG("philox")
def philox_wrapping(counter, key, rounds=10):
    """Multiply the uint32 that came in."""
    c0, c1, c2, c3 = np.moveaxis(np.asarray(counter).astype(np.uint32), -1, 0)
    k0, k1 = (np.uint32(k) for k in key)
    for _ in range(rounds):
        a, b = np.uint32(M0) * c0, np.uint32(M1) * c2
        c0, c1, c2, c3 = (b >> 16) ^ c1 ^ k0, b, (a >> 16) ^ c3 ^ k1, a
    return np.stack([c0, c1, c2, c3], -1)


@WRONG("philox")
def philox_one_after_the_other(counter, key, rounds=10):
    """Use the new c0 and c1 for the new c2 and c3."""
    c0, c1, c2, c3 = np.moveaxis(np.asarray(counter).astype(np.uint64), -1, 0)
    k0, k1 = key
    for _ in range(rounds):
        b = np.uint64(M1) * c2
        c0 = (b >> np.uint64(32)) ^ c1 ^ np.uint64(k0)
        c1 = b & np.uint64(0xFFFFFFFF)
        a = np.uint64(M0) * c0
        c2 = (a >> np.uint64(32)) ^ c3 ^ np.uint64(k1)
        c3 = a & np.uint64(0xFFFFFFFF)
        k0, k1 = (k0 + W0) & 0xFFFFFFFF, (k1 + W1) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], -1).astype(np.uint32)


# -- softmax_dropout -----------------------------------------------------------------------------------


def _dropout(
    x,
    out,
    cols,
    seed,
    p,
    BLOCK: tl.constexpr,
    other=-INF,
    maximum=True,
    scale="divide",
    compare="ge",
    stride="cols",
    first=False,
    renormalize=False,
    store_mask=True,
    moved_seed=False,
):
    row, offs = tl.program_id(0), tl.arange(0, BLOCK)
    at, mask = row * cols + offs, offs < cols
    v = tl.load(x + at, mask, other)
    if moved_seed:
        seed = seed + row
    u = tl.rand(seed, {"cols": at, "none": offs, "block": row * BLOCK + offs}[stride])
    keep = {"ge": u >= p, "gt": u > p, "lt": u < p}[compare]
    if first:
        v = tl.where(mask, tl.where(keep, v / (1 - p), 0.0), -INF)
        keep = offs >= 0
        p = 0.0
    e = tl.exp(v - tl.max(v, 0)) if maximum else tl.exp(v)
    if renormalize:
        e = tl.where(keep, e, 0.0)
        scale = "none"
    y = e / tl.sum(e, 0)
    y = {"divide": y / (1 - p), "multiply": y * (1 - p), "none": y}[scale]
    y = tl.where(keep, y, 0.0)
    if store_mask:
        tl.store(out + at, y, mask)
    else:
        tl.store(out + at, y)


RIGHT("softmax_dropout")(_dropout)


@RIGHT("softmax_dropout")
def dropout_by_one_scale(x, out, cols, seed, p, BLOCK: tl.constexpr):
    """One division a row, the mask as a factor."""
    row = tl.program_id(0)
    offs = tl.arange(0, BLOCK)
    v = tl.load(x + row * cols + offs, mask=offs < cols, other=-INF)
    e = tl.exp(v - tl.max(v, axis=0))
    scale = 1.0 / (tl.sum(e, axis=0) * (1 - p))
    keep = tl.cast(tl.rand(seed, row * cols + offs) >= p, tl.float32)
    tl.store(out + row * cols + offs, keep * e * scale, mask=offs < cols)


@RIGHT("softmax_dropout")
def dropout_by_first_of_four(x, out, cols, seed, p, BLOCK: tl.constexpr):
    """The first block of rand4x; the dropped ones chosen."""
    at = tl.program_id(0) * cols + tl.arange(0, BLOCK)
    inside = tl.arange(0, BLOCK) < cols
    v = tl.load(x + at, inside, -INF) * LOG2E
    u, _, _, _ = tl.rand4x(seed, at)
    e = tl.exp2(v - tl.max(v, 0))
    tl.store(out + at, tl.where(u < p, 0.0, e / tl.sum(e, 0) / (1.0 - p)), inside)


WRONG.add("softmax_dropout", _dropout, "no maximum", maximum=False)
WRONG.add("softmax_dropout", _dropout, "pad with zeros", other=0.0)
WRONG.add("softmax_dropout", _dropout, "multiply by the share that stays", scale="multiply")
WRONG.add("softmax_dropout", _dropout, "no scale", scale="none")
WRONG.add("softmax_dropout", _dropout, "keep what should go", compare="lt")
WRONG.add("softmax_dropout", _dropout, "drop a tie", compare="gt")
WRONG.add("softmax_dropout", _dropout, "the same counters in every row", stride="none")
WRONG.add("softmax_dropout", _dropout, "counters a block apart", stride="block")
WRONG.add("softmax_dropout", _dropout, "dropout before the softmax", first=True)
WRONG.add("softmax_dropout", _dropout, "sum of what is left", renormalize=True)
WRONG.add("softmax_dropout", _dropout, "store without a mask", store_mask=False)
WRONG.add("softmax_dropout", _dropout, "another seed in every row", moved_seed=True)


@WRONG("softmax_dropout")
def dropout_without_dropout(x, out, cols, seed, p, BLOCK: tl.constexpr):
    """Only the softmax."""
    _softmax(x, out, cols, BLOCK)


@WRONG("softmax_dropout")
def dropout_in_two_passes(x, out, cols, seed, p, BLOCK: tl.constexpr):
    """Store the softmax, then load it again."""
    _softmax(x, out, cols, BLOCK)
    at = tl.program_id(0) * cols + tl.arange(0, BLOCK)
    mask = tl.arange(0, BLOCK) < cols
    y = tl.where(tl.rand(seed, at) >= p, tl.load(out + at, mask) / (1 - p), 0.0)
    tl.store(out + at, y, mask)


@WRONG("softmax_dropout")
def dropout_by_numpy(x, out, cols, seed, p, BLOCK: tl.constexpr):
    """A mask of NumPy's generator, which no GPU has."""
    at = tl.program_id(0) * cols + tl.arange(0, BLOCK)
    mask = tl.arange(0, BLOCK) < cols
    v = tl.load(x + at, mask, -INF)
    e = tl.exp(v - tl.max(v, 0))
    keep = np.random.default_rng(seed + tl.program_id(0)).random(BLOCK) >= p
    tl.store(out + at, tl.where(keep, e / tl.sum(e, 0) / (1 - p), 0.0), mask)


# -- softmax_dropout4 ----------------------------------------------------------------------------------


def _words(seed, cols, BLOCK, stride="quarter", order="abcd", signed=False, drop_row=False):
    """The word of every element of the row that runs."""
    quarter = BLOCK // 4
    row = tl.program_id(0)
    start = {"quarter": row * quarter, "block": row * BLOCK, "cols": row * cols // 4, "none": 0}[stride]
    a, b, c, d = tl.randint4x(seed, start + tl.arange(0, quarter))
    if order == "abcd":
        words = tl.reshape(tl.join(tl.join(a, c), tl.join(b, d)), (BLOCK,))
    elif order == "acbd":
        words = tl.reshape(tl.join(tl.join(a, b), tl.join(c, d)), (BLOCK,))
    elif order == "quarters":
        words = tl.reshape(
            tl.trans(tl.reshape(tl.join(tl.join(a, c), tl.join(b, d)), (quarter, 4))), (BLOCK,)
        )
    elif order == "pairs":
        words = tl.reshape(tl.join(tl.join(a, a), tl.join(b, b)), (BLOCK,))
    else:
        words = tl.reshape(tl.join(tl.join(a, a), tl.join(a, a)), (BLOCK,))
    return tl.cast(words, tl.int32, bitcast=True) if signed else words


def _forward4(
    x,
    out,
    cols,
    seed,
    threshold,
    scale,
    BLOCK: tl.constexpr,
    maximum=True,
    other=-INF,
    how="multiply",
    compare="ge",
    store_mask=True,
    **words,
):
    row, offs = tl.program_id(0), tl.arange(0, BLOCK)
    at, mask = row * cols + offs, offs < cols
    v = tl.load(x + at, mask, other)
    e = tl.exp(v - tl.max(v, 0)) if maximum else tl.exp(v)
    y = e / tl.sum(e, 0)
    y = {"multiply": y * scale, "divide": y / scale, "none": y}[how]
    word = _words(seed, cols, BLOCK, **words)
    keep = {"ge": word >= threshold, "gt": word > threshold, "lt": word < threshold}[compare]
    if store_mask:
        tl.store(out + at, tl.where(keep, y, 0.0), mask)
    else:
        tl.store(out + at, tl.where(keep, y, 0.0))


RIGHT("softmax_dropout4")(_forward4)


@RIGHT("softmax_dropout4")
def forward4_interleaved(x, out, cols, seed, threshold, scale, BLOCK: tl.constexpr):
    """tl.interleave, powers of two, one factor a row."""
    row, offs = tl.program_id(0), tl.arange(0, BLOCK)
    v = tl.load(x + row * cols + offs, offs < cols, -INF) * LOG2E
    e = tl.exp2(v - tl.max(v, 0))
    factor = scale / tl.sum(e, 0)
    a, b, c, d = tl.randint4x(seed, row * (BLOCK // 4) + tl.arange(0, BLOCK // 4))
    word = tl.interleave(tl.interleave(a, c), tl.interleave(b, d))
    tl.store(out + row * cols + offs, tl.where(word < threshold, 0.0, e * factor), offs < cols)


@RIGHT("softmax_dropout4")
def forward4_in_a_square(x, out, cols, seed, threshold, scale, BLOCK: tl.constexpr):
    """Work on (BLOCK / 4, 4) elements, the mask joined instead of the words."""
    quarter = BLOCK // 4
    offs = tl.arange(0, quarter)[:, None] * 4 + tl.arange(0, 4)[None, :]
    at = tl.program_id(0) * cols + offs
    v = tl.load(x + at, offs < cols, -INF)
    e = tl.exp(v - tl.max(v))
    words = tl.randint4x(seed, tl.program_id(0) * quarter + tl.arange(0, quarter))
    a, b, c, d = [word >= threshold for word in words]
    keep = tl.reshape(tl.join(tl.join(a, c), tl.join(b, d)), (quarter, 4))
    tl.store(out + at, tl.where(keep, e / tl.sum(e) * scale, 0.0), offs < cols)


WRONG.add("softmax_dropout4", _forward4, "no maximum", maximum=False)
WRONG.add("softmax_dropout4", _forward4, "pad with zeros", other=0.0)
WRONG.add("softmax_dropout4", _forward4, "divide by the scale", how="divide")
WRONG.add("softmax_dropout4", _forward4, "no scale", how="none")
WRONG.add("softmax_dropout4", _forward4, "keep what should go", compare="lt")
WRONG.add("softmax_dropout4", _forward4, "drop a tie", compare="gt")
WRONG.add("softmax_dropout4", _forward4, "store without a mask", store_mask=False)
WRONG.add("softmax_dropout4", _forward4, "signed words", signed=True)
WRONG.add("softmax_dropout4", _forward4, "the same counters in every row", stride="none")
WRONG.add("softmax_dropout4", _forward4, "counters a block apart", stride="block")
WRONG.add("softmax_dropout4", _forward4, "counters that overlap", stride="cols")
WRONG.add("softmax_dropout4", _forward4, "words a c b d", order="acbd")
WRONG.add("softmax_dropout4", _forward4, "a word for each quarter of the row", order="quarters")
WRONG.add("softmax_dropout4", _forward4, "two words", order="pairs")
WRONG.add("softmax_dropout4", _forward4, "one word for four elements", order="one")


@WRONG("softmax_dropout4")
def forward4_one_an_element(x, out, cols, seed, threshold, scale, BLOCK: tl.constexpr):
    """The right mask, with four times the calls."""
    row, offs = tl.program_id(0), tl.arange(0, BLOCK)
    v = tl.load(x + row * cols + offs, offs < cols, -INF)
    e = tl.exp(v - tl.max(v, 0))
    a, b, c, d = tl.randint4x(seed, row * (BLOCK // 4) + offs // 4)
    word = tl.where(offs % 4 < 2, tl.where(offs % 4 == 0, a, b), tl.where(offs % 4 == 2, c, d))
    y = tl.where(word >= threshold, e * (scale / tl.sum(e, 0)), 0.0)
    tl.store(out + row * cols + offs, y, offs < cols)


@WRONG("softmax_dropout4")
def forward4_as_before(x, out, cols, seed, threshold, scale, BLOCK: tl.constexpr):
    """The mask of the kernel before."""
    _dropout(x, out, cols, seed, threshold / 2**32, BLOCK)


@WRONG("softmax_dropout4")
def forward4_floats(x, out, cols, seed, threshold, scale, BLOCK: tl.constexpr):
    """Floats of 31 bits compared with an integer."""
    row, offs = tl.program_id(0), tl.arange(0, BLOCK)
    v = tl.load(x + row * cols + offs, offs < cols, -INF)
    e = tl.exp(v - tl.max(v, 0))
    a, b, c, d = tl.rand4x(seed, row * (BLOCK // 4) + tl.arange(0, BLOCK // 4))
    u = tl.reshape(tl.join(tl.join(a, c), tl.join(b, d)), (BLOCK,))
    y = tl.where(u >= threshold / 4294967296, e * (scale / tl.sum(e, 0)), 0.0)
    tl.store(out + row * cols + offs, y, offs < cols)


# -- softmax_dropout_grad ------------------------------------------------------------------------------


def _backward(
    x,
    grad,
    out,
    cols,
    seed,
    threshold,
    scale,
    BLOCK: tl.constexpr,
    term=True,
    mask_grad=True,
    factor=True,
    inner="dropped",
    weight=True,
    outer=True,
    sign=-1,
    zero=False,
    more=0,
    other=0.0,
    maximum=True,
    store_mask=True,
    **words,
):
    row, offs = tl.program_id(0), tl.arange(0, BLOCK)
    at, mask = row * cols + offs, offs < cols
    v = tl.load(x + at, mask, -INF)
    e = tl.exp(v - tl.max(v, 0)) if maximum else tl.exp(v)
    y = e / tl.sum(e, 0)
    keep = _words(seed + more, cols, BLOCK, **words) >= threshold
    g = tl.load(grad + at, mask, other)
    dropped = tl.where(keep, g * scale if factor else g, 0.0) if mask_grad else g
    part = dropped if inner == "dropped" else g
    total = tl.sum(y * part if weight else tl.where(mask, part, 0.0), 0)
    result = dropped + sign * total if term else dropped
    result = y * result if outer else result
    result = tl.where(keep, result, 0.0) if zero else result
    if store_mask:
        tl.store(out + at, result, mask)
    else:
        tl.store(out + at, result)


RIGHT("softmax_dropout_grad")(_backward)


@RIGHT("softmax_dropout_grad")
def backward_by_the_output(x, grad, out, cols, seed, threshold, scale, BLOCK: tl.constexpr):
    """The sum from the output of the forward pass."""
    row, offs = tl.program_id(0), tl.arange(0, BLOCK)
    at, mask = row * cols + offs, offs < cols
    e = tl.load(x + at, mask, -INF)
    e = tl.exp2((e - tl.max(e, 0)) * LOG2E)
    a, b, c, d = tl.randint4x(seed, row * (BLOCK // 4) + tl.arange(0, BLOCK // 4))
    word = tl.interleave(tl.interleave(a, c), tl.interleave(b, d))
    m = tl.where(word >= threshold, scale, 0.0)
    y = e * (1.0 / tl.sum(e, 0))
    z = y * m
    g = tl.load(grad + at, mask, 0.0)
    tl.store(out + at, z * g - y * tl.sum(z * g, 0), mask)


@RIGHT("softmax_dropout_grad")
def backward_unnormalized(x, grad, out, cols, seed, threshold, scale, BLOCK: tl.constexpr):
    """Divide last."""
    row, offs = tl.program_id(0), tl.arange(0, BLOCK)
    at = row * cols + offs
    v = tl.load(x + at, mask=offs < cols, other=-INF)
    g = tl.load(grad + at, mask=offs < cols, other=0.0) * scale
    a, b, c, d = tl.randint4x(seed, row * (BLOCK // 4) + tl.arange(0, BLOCK // 4))
    word = tl.reshape(tl.join(tl.join(a, c), tl.join(b, d)), (BLOCK,))
    g = tl.where(word < threshold, 0.0, g)
    e = tl.exp(v - tl.max(v, 0))
    total = tl.sum(e, 0)
    tl.store(out + at, e * (g - tl.sum(e * g, 0) / total) / total, mask=offs < cols)


WRONG.add("softmax_dropout_grad", _backward, "a mask from another seed", more=1)
WRONG.add("softmax_dropout_grad", _backward, "no term with the sum", term=False)
WRONG.add("softmax_dropout_grad", _backward, "no mask", mask_grad=False)
WRONG.add("softmax_dropout_grad", _backward, "no scale", factor=False)
WRONG.add("softmax_dropout_grad", _backward, "sum before the dropout", inner="all")
WRONG.add("softmax_dropout_grad", _backward, "sum without y", weight=False)
WRONG.add("softmax_dropout_grad", _backward, "no y in front", outer=False)
WRONG.add("softmax_dropout_grad", _backward, "the wrong sign", sign=1)
WRONG.add("softmax_dropout_grad", _backward, "zero where dropped", zero=True)
WRONG.add("softmax_dropout_grad", _backward, "pad the gradient with minus infinity", other=-INF)
WRONG.add("softmax_dropout_grad", _backward, "no maximum", maximum=False)
WRONG.add("softmax_dropout_grad", _backward, "store without a mask", store_mask=False)
WRONG.add("softmax_dropout_grad", _backward, "words a c b d", order="acbd")
WRONG.add("softmax_dropout_grad", _backward, "the same counters in every row", stride="none")
WRONG.add("softmax_dropout_grad", _backward, "signed words", signed=True)


@WRONG("softmax_dropout_grad")
def backward_with_the_dropped_output(x, grad, out, cols, seed, threshold, scale, BLOCK: tl.constexpr):
    """The output in place of the softmax."""
    row, offs = tl.program_id(0), tl.arange(0, BLOCK)
    at, mask = row * cols + offs, offs < cols
    v = tl.load(x + at, mask, -INF)
    e = tl.exp(v - tl.max(v, 0))
    z = tl.where(_words(seed, cols, BLOCK) >= threshold, e / tl.sum(e, 0) * scale, 0.0)
    g = tl.load(grad + at, mask, 0.0)
    tl.store(out + at, z * (g - tl.sum(z * g, 0)), mask)


@WRONG("softmax_dropout_grad")
def backward_one_an_element(x, grad, out, cols, seed, threshold, scale, BLOCK: tl.constexpr):
    """The counters of the naive kernel."""
    row, offs = tl.program_id(0), tl.arange(0, BLOCK)
    at, mask = row * cols + offs, offs < cols
    v = tl.load(x + at, mask, -INF)
    e = tl.exp(v - tl.max(v, 0))
    y = e / tl.sum(e, 0)
    g = tl.where(tl.randint(seed, at) >= threshold, tl.load(grad + at, mask, 0.0) * scale, 0.0)
    tl.store(out + at, y * (g - tl.sum(y * g, 0)), mask)


# -- design --------------------------------------------------------------------------------------------


def _design(
    rows,
    cols,
    p,
    bits,
    to_integer=round,
    real=True,
    sign=1,
    block=True,
    per=128,
    forward=8,
    backward=12,
    eager=38,
    each_row=True,
    percent=1,
    keys=None,
):
    levels = 2**bits
    threshold = to_integer(p * levels)
    stays = 1 - threshold / levels if real else 1 - p
    size = rows * cols
    wide = 1 << (cols - 1).bit_length() if block else cols
    found = {
        "threshold": threshold,
        "scale": 1 / stays,
        "bias": sign * percent * ((1 - threshold / levels) / (1 - p) - 1),
        "calls": (rows if each_row else 1) * wide * bits // per,
        "fused": (forward + backward) * size,
        "separate": eager * size,
    }
    return found if keys is None else {key: found[key] for key in keys}


RIGHT("design")(_design)


@RIGHT("design")
def design_by_levels(rows, cols, p, bits):
    """Levels that stay; NumPy's numbers."""
    kept = 2**bits - int(np.rint(p * 2**bits))
    block = 2 ** int(np.ceil(np.log2(cols)))
    return dict(
        threshold=np.int64(2**bits - kept),
        scale=np.float64(2**bits / kept),
        bias=(kept - (1 - p) * 2**bits) / ((1 - p) * 2**bits),
        calls=rows * (block // (128 // bits)),
        fused=4 * rows * cols * (1 + 1) + 4 * rows * cols * (2 + 1),
        separate=np.int64(rows) * cols * ((4 + 4) + (4 + 4 + 1) + (4 + 1 + 4) + (4 + 4 + 4)),
    )


@RIGHT("design")
def design_with_a_loop(rows, cols, p, bits):
    """Double the block; the scale first."""
    block = 1
    while block < cols:
        block *= 2
    threshold = int(p * 2**bits + 0.5)
    scale = 1 / (1 - threshold / 2**bits)
    row = block / (128 / bits)
    return {
        "bias": 1 / scale / (1 - p) - 1,
        "scale": scale,
        "threshold": threshold,
        "separate": 38 * rows * cols,
        "fused": 20 * rows * cols,
        "calls": rows * row,
    }


WRONG.add("design", _design, "round down", to_integer=int)
WRONG.add("design", _design, "round up", to_integer=lambda t: -int(-t // 1))
WRONG.add("design", _design, "scale by the wanted p", real=False)
WRONG.add("design", _design, "the wrong sign of the bias", sign=-1)
WRONG.add("design", _design, "the bias in percent", percent=100)
WRONG.add("design", _design, "calls for the columns alone", block=False)
WRONG.add("design", _design, "32 bits a call", per=32)
WRONG.add("design", _design, "calls of one row", each_row=False)
WRONG.add("design", _design, "no backward pass", backward=0)
WRONG.add("design", _design, "a saved mask", backward=13)
WRONG.add("design", _design, "elements for bytes", forward=2, backward=3)
WRONG.add("design", _design, "masks of four bytes", eager=44)
WRONG.add("design", _design, "no masks", eager=36)
WRONG.add("design", _design, "no separate backward pass", eager=17)
WRONG.add("design", _design, "a key is missing", keys=["threshold", "scale", "bias", "calls", "fused"])


@WRONG("design")
def design_as_tuple(rows, cols, p, bits):
    """A tuple."""
    return tuple(_design(rows, cols, p, bits).values())
