"""Right and wrong answers to practice 14.2."""

import functools

import numpy as np
import tensorflow as tf

from answers import Answers

RIGHT, WRONG = Answers(), Answers()
ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


# -- group_grid ----------------------------------------------------------------------------------------


def _grid(w, bits, group, extra=0, inside=False, clip=True, how=np.round, sign=-1.0, floor=1e-5, across=False,
          whole=False, symmetric=False, swap=False, each=False):  # fmt: skip
    if across:
        scale, zero = _grid(
            w.T.reshape(-1, w.shape[0]), bits, group if not w.shape[1] % group else w.shape[1]
        )
        return scale.T, zero.T
    blocks = w.reshape(-1, group, w.shape[1])
    if whole:
        blocks = np.broadcast_to(w, (len(blocks), *w.shape))
    high, low = blocks.max(1), blocks.min(1)
    if inside:
        high, low = np.maximum(high, 0), np.minimum(low, 0)
    if symmetric:
        high = np.abs(blocks).max(1)
        low = -high
    scale = np.maximum(high - low, floor) / (2**bits - 1 + extra)
    zero = how(sign * low / scale)
    zero = np.clip(zero, 0, 2**bits - 1) if clip else zero
    if each:
        scale, zero = np.repeat(scale, group, 0), np.repeat(zero, group, 0)
    return (zero, scale) if swap else (scale, zero)


RIGHT("group_grid")(_grid)


@RIGHT("group_grid")
def grid_by_loop(w, bits, group):
    """One group and one output after the other, in Python's numbers."""
    most = 2**bits - 1
    scales, zeros = [], []
    for start in range(0, len(w), group):
        columns = w[start : start + group].T.tolist()
        scales.append([max(max(column) - min(column), 1e-5) / most for column in columns])
        pairs = zip(columns, scales[-1], strict=True)
        zeros.append([min(max(round(-min(column) / scale), 0), most) for column, scale in pairs])
    return scales, zeros


@RIGHT("group_grid")
def grid_with_tensorflow(w, bits, group):
    """TensorFlow; the outputs first, as in PyTorch."""
    rows = tf.reshape(tf.transpose(tf.constant(w, tf.float64)), (w.shape[1], -1, group))
    low = tf.reduce_min(rows, -1)
    scale = tf.maximum(tf.reduce_max(rows, -1) - low, 1e-5) / (2**bits - 1)
    zero = tf.clip_by_value(-tf.round(low / scale), 0, 2**bits - 1)
    return tf.transpose(scale), tf.transpose(zero)


WRONG.add("group_grid", _grid, "2^b steps", extra=1)
WRONG.add("group_grid", _grid, "zero in the range, as GPTQ", inside=True)
WRONG.add("group_grid", _grid, "zero point not clipped", clip=False)
WRONG.add("group_grid", _grid, "zero point not rounded", how=lambda z: z)
WRONG.add("group_grid", _grid, "zero point cut down", how=np.floor)
WRONG.add("group_grid", _grid, "zero point of the other sign", sign=1.0)
WRONG.add("group_grid", _grid, "groups along the outputs", across=True)
WRONG.add("group_grid", _grid, "one grid an output", whole=True)
WRONG.add("group_grid", _grid, "symmetric range", symmetric=True)
WRONG.add("group_grid", _grid, "zero before scale", swap=True)
WRONG.add("group_grid", _grid, "a grid for every weight", each=True)
WRONG.add("group_grid", _grid, "no smallest range", floor=1e-12)


@WRONG("group_grid")
def grid_of_strided_groups(w, bits, group):
    """Every (n / g)-th input in one group."""
    mixed = w.reshape(group, -1, w.shape[1]).swapaxes(0, 1).reshape(w.shape)
    return _grid(mixed, bits, group)


# -- encode --------------------------------------------------------------------------------------------


def _encode(w, scale, zero, bits, clip=True, late=False, how=np.round, moved=1, dtype=np.uint8, tile=False,
            cast_first=False, top=None):  # fmt: skip
    group = len(w) // len(scale)
    spread = (lambda a: np.tile(a, (group, 1))) if tile else (lambda a: np.repeat(a, group, 0))
    q = how(w / spread(scale))
    top = top or 2**bits - 1
    if late:
        return (np.clip(q, 0, top) + spread(zero)).astype(dtype)
    q = q + moved * spread(zero)
    if cast_first:
        return np.clip(q.astype(int).astype(np.uint8), 0, top)
    return (np.clip(q, 0, top) if clip else q).astype(int).astype(dtype)


RIGHT("encode")(_encode)


@RIGHT("encode")
def encode_by_blocks(w, scale, zero, bits):
    """Blocks of three axes; the bounds one after the other."""
    blocks = w.reshape(len(scale), -1, w.shape[1])
    q = np.rint(blocks / scale[:, None] + zero[:, None])
    return np.minimum(np.maximum(q, 0), 2**bits - 1).reshape(w.shape).astype("uint8")


@RIGHT("encode")
def encode_with_tensorflow(w, scale, zero, bits):
    """TensorFlow's repeat, round and clip; half a code and the floor."""
    scale, zero = (tf.repeat(part, len(w) // len(scale), axis=0) for part in (scale, zero))
    return tf.cast(tf.clip_by_value(tf.floor(w / scale + zero + 0.5), 0, 2**bits - 1), tf.uint8)


WRONG.add("encode", _encode, "not clipped", clip=False)
WRONG.add("encode", _encode, "clipped before the zero point", late=True)
WRONG.add("encode", _encode, "clipped after the cast", cast_first=True)
WRONG.add("encode", _encode, "floor", how=np.floor)
WRONG.add("encode", _encode, "truncated", how=np.trunc)
WRONG.add("encode", _encode, "zero point forgotten", moved=0)
WRONG.add("encode", _encode, "zero point subtracted", moved=-1)
WRONG.add("encode", _encode, "grids by turns", tile=True)
WRONG.add("encode", _encode, "int32", dtype=np.int32)
WRONG.add("encode", _encode, "floats", dtype=np.float32)
WRONG.add("encode", _encode, "always 15", top=15)


@WRONG("encode")
def encode_restored(w, scale, zero, bits):
    """The weights and not the codes."""
    group = len(w) // len(scale)
    return (_encode(w, scale, zero, bits) - np.repeat(zero, group, 0)) * np.repeat(scale, group, 0)


# -- packing -------------------------------------------------------------------------------------------


def _pack(q, order=ORDER, wide=np.uint32, result=np.int32, width=4):
    eights = q.reshape(len(q), -1, 8)[:, :, list(order)].astype(wide)
    shifts = (width * np.arange(8)).astype(wide)
    return np.bitwise_or.reduce(eights << shifts, axis=2).astype(np.uint32).view(result)


BACK = [0, 4, 1, 5, 2, 6, 3, 7]


def _unpack(words, back=tuple(BACK), mask=True, view=np.uint32, dtype=np.uint8, early=False):
    shifts = 4 * np.arange(8, dtype=view)
    if early:  # The mask first, then the shift.
        fours = ((words[:, :, None] & (np.int64(15) << shifts)).astype(np.int32)) >> shifts
    else:
        fours = words.view(view)[:, :, None] >> shifts
        fours = fours & 15 if mask else fours - 16 * (fours >> 4) * (np.arange(8) < 7)
    return fours[:, :, list(back)].reshape(len(words), -1).astype(dtype)


def _pair(pack=_pack, unpack=_unpack, **options):
    return functools.partial(pack, **options.get("into", {})), functools.partial(
        unpack, **options.get("out", {})
    )


RIGHT("packing")(_pair)


@RIGHT("packing")
def packing_by_places():
    """Add up eight columns; take the places one by one."""

    def pack(q):
        words = sum(q[:, place::8].astype(np.int64) * 16**k for k, place in enumerate(ORDER))
        return np.where(words >= 2**31, words - 2**32, words).astype(np.int32)

    def unpack(words):
        q = np.zeros((len(words), 8 * words.shape[1]), np.uint8)
        for k, place in enumerate(ORDER):
            q[:, place::8] = words >> 4 * k & 15
        return q

    return pack, unpack


@RIGHT("packing")
def packing_by_bytes():
    """Two codes a byte; the bytes of a little-endian word."""

    def pack(q):
        eights = q.reshape(len(q), -1, 8)[:, :, ORDER]
        halves = eights[:, :, ::2] | eights[:, :, 1::2] << 4
        return np.ascontiguousarray(halves).view("<i4")[:, :, 0]

    def unpack(words):
        halves = np.ascontiguousarray(words).view(np.uint8).reshape(len(words), -1, 4)
        eights = np.stack([halves & 15, halves >> 4], -1).reshape(len(words), -1, 8)
        found = np.empty_like(eights)
        found[:, :, ORDER] = eights
        return found.reshape(len(words), -1)

    return [pack, unpack]


IN_ORDER = {"into": {"order": range(8)}, "out": {"back": range(8)}}
WRONG.add("packing", _pair, "in order", **IN_ORDER)
WRONG.add("packing", _pair, "order the other way", into={"order": np.argsort(ORDER)}, out={"back": ORDER})
WRONG.add("packing", _pair, "highest first", into={"order": ORDER[::-1]}, out={"back": 7 - np.argsort(ORDER)})
WRONG.add("packing", _pair, "shifted in eight bits", into={"wide": np.uint8})
WRONG.add("packing", _pair, "unsigned words", into={"result": np.uint32})
WRONG.add("packing", _pair, "five bits a code", into={"width": 5})
WRONG.add("packing", _pair, "the sign comes along", out={"mask": False, "view": np.int32, "dtype": np.int32})
WRONG.add("packing", _pair, "the sign comes along in uint8", out={"mask": False, "view": np.int32})
WRONG.add("packing", _pair, "mask before the shift", out={"early": True, "view": np.int32})
WRONG.add("packing", _pair, "not put back in order", out={"back": range(8)})
WRONG.add("packing", _pair, "ordered once more", out={"back": ORDER})
WRONG.add("packing", _pair, "codes as int32", out={"dtype": np.int32})


@WRONG("packing")
def packing_along_inputs():
    """Eight inputs a word, as compressed-tensors does."""
    return lambda q: _pack(q.T).T if not len(q) % 8 else _pack(q), lambda words: _unpack(words)


@WRONG("packing")
def packing_long_words():
    """The right numbers in 64 bits: twice the memory."""
    return lambda q: _pack(q).astype(np.int64), _unpack


@WRONG("packing")
def packing_only_one():
    """Nothing to take it out again."""
    return _pack


# -- channel_means -------------------------------------------------------------------------------------


def _means(batches, how="mean", square=False, mean_of_means=False, divide="tokens", last=False, dtype=float):
    batches = [np.abs(batch.reshape(-1, batch.shape[-1]).astype(dtype)) for batch in batches]
    if last:
        batches = batches[-1:]
    if mean_of_means:
        return np.mean([batch.mean(0) for batch in batches], 0)
    tokens = np.concatenate(batches)
    if square:
        return np.sqrt(np.mean(tokens**2, 0))
    if divide == "batches":
        return tokens.sum(0) / len(batches)
    return {"mean": tokens.mean, "max": tokens.max, "sum": tokens.sum}[how](0)


RIGHT("channel_means")(_means)


@RIGHT("channel_means")
def means_running(batches):
    """A running mean."""
    mean, count = 0.0, 0
    for batch in batches:
        for token in np.abs(batch.astype(np.float64)).reshape(-1, batch.shape[-1]):
            count += 1
            mean = mean + (token - mean) / count
    return mean


@RIGHT("channel_means")
def means_with_tensorflow(batches):
    """Sums in float32."""
    total, count = 0.0, 0
    for batch in batches:
        x = tf.abs(tf.cast(batch, tf.float32))
        total += tf.reduce_sum(x, axis=list(range(len(x.shape) - 1)))
        count += int(np.prod(batch.shape[:-1]))
    return total / count


WRONG.add("channel_means", _means, "the largest", how="max")
WRONG.add("channel_means", _means, "the sum", how="sum")
WRONG.add("channel_means", _means, "root of the mean square", square=True)
WRONG.add("channel_means", _means, "mean of means", mean_of_means=True)
WRONG.add("channel_means", _means, "divided by the batches", divide="batches")
WRONG.add("channel_means", _means, "the last batch", last=True)
WRONG.add("channel_means", _means, "float16", dtype=np.float16)


@WRONG("channel_means")
def means_overflow(batches):
    """A sum in float16."""
    total = sum(np.abs(b).reshape(-1, b.shape[-1]).sum(0, dtype=np.float16) for b in batches)
    return total / sum(b[..., 0].size for b in batches)


@WRONG("channel_means")
def means_late_absolute(batches):
    """The absolute value of the mean."""
    return np.abs(np.concatenate([b.reshape(-1, b.shape[-1]).astype(float) for b in batches]).mean(0))


@WRONG("channel_means")
def means_of_two_axes(batches):
    """Only right for (tokens, channels)."""
    return sum(np.abs(b.astype(float)).sum(0) for b in batches) / sum(map(len, batches))


@WRONG("channel_means")
def means_of_tokens(batches):
    """A size for every token."""
    return np.concatenate([np.abs(b.astype(float)).mean(-1).ravel() for b in batches])


# -- search_scale --------------------------------------------------------------------------------------


def _rounded(w, bits, group):
    scale, zero = _grid(w, bits, group)
    spread = lambda a: np.repeat(a, group, 0)  # noqa: E731
    return (np.clip(np.round(w / spread(scale)) + spread(zero), 0, 2**bits - 1) - spread(zero)) * spread(
        scale
    )


def _search(kernels, x, bits, group, steps, size="mean", error="out", power=1.0, start=0, end=0, some=slice(None),
            norm=True, pick=np.argmin, mean=False, back=True, floor=1e-4, across=False):  # fmt: skip
    sizes = {"mean": np.abs(x).mean(0), "max": np.abs(x).max(0), "late": np.abs(x.mean(0))}
    sizes["weights"] = np.linalg.norm(np.hstack(kernels), axis=1)
    errors, scales = [], []
    for k in range(steps):
        s = np.maximum(sizes[size] ** (power * (k + start) / (steps - end)), floor)
        s = s / np.sqrt(s.max() * s.min()) if norm else s
        total = 0.0
        for w in kernels[some]:
            if across:
                new = _rounded(w * np.resize(s, w.shape[1]), bits, group) / np.resize(s, w.shape[1])
            else:
                new = _rounded(w * s[:, None], bits, group) / (s[:, None] if back else 1)
            change = new - w if error == "weights" else x @ (new - w)
            total += np.mean(change**2) if mean else np.sum(change**2)
        errors.append(total)
        scales.append(s)
    return np.array(errors), scales[int(pick(errors))]


RIGHT("search_scale")(_search)


@RIGHT("search_scale")
def search_divided_inputs(kernels, x, bits, group, steps):
    """Divide what goes in instead of the kernel; all kernels side by side; keep the best on the way."""
    joined, best, errors = np.concatenate(kernels, 1).astype(float), None, []
    expected = x @ joined
    for alpha in np.arange(steps) / steps:
        s = np.clip(np.mean(np.abs(x), 0) ** alpha, 1e-4, None)
        s = s / (s.max() * s.min()) ** 0.5
        got = (x / s) @ _rounded((joined.T * s).T, bits, group)
        errors.append(((got - expected) ** 2).sum())
        if best is None or errors[-1] < min(errors[:-1]):
            best = s
    return errors, best


@RIGHT("search_scale")
def search_with_tensorflow(kernels, x, bits, group, steps):
    """Matrix products of TensorFlow, float32."""
    size, errors, scales = tf.reduce_mean(tf.abs(x), 0), [], []
    for k in range(steps):
        s = tf.maximum(size ** (k / steps), 1e-4)
        s = s / tf.sqrt(tf.reduce_max(s) * tf.reduce_min(s))
        new = [_rounded((w * s[:, None]).numpy(), bits, group) / s[:, None] for w in kernels]
        gaps = [x @ (q - w) for q, w in zip(new, kernels, strict=True)]
        errors.append(sum(float(tf.reduce_sum(gap * gap)) for gap in gaps))
        scales.append(s)
    return np.array(errors), scales[np.argmin(errors)]


WRONG.add("search_scale", _search, "the largest activation", size="max")
WRONG.add("search_scale", _search, "absolute value of the mean", size="late")
WRONG.add("search_scale", _search, "the weights' size", size="weights")
WRONG.add("search_scale", _search, "error of the weights", error="weights")
WRONG.add("search_scale", _search, "weights divided", power=-1.0)
WRONG.add("search_scale", _search, "no zero among the exponents", start=1)
WRONG.add("search_scale", _search, "exponents up to one", end=1)
WRONG.add("search_scale", _search, "the first kernel alone", some=slice(1))
WRONG.add("search_scale", _search, "the last kernel alone", some=slice(-1, None))
WRONG.add("search_scale", _search, "not normalized", norm=False)
WRONG.add("search_scale", _search, "the worst", pick=np.argmax)
WRONG.add("search_scale", _search, "the last", pick=lambda errors: len(errors) - 1)
WRONG.add("search_scale", _search, "mean of each kernel", mean=True)
WRONG.add("search_scale", _search, "not divided again", back=False)
WRONG.add("search_scale", _search, "no smallest scale", floor=1e-12)
WRONG.add("search_scale", _search, "scales on the outputs", across=True)


@WRONG("search_scale")
def search_in_place(kernels, x, bits, group, steps):
    """The first kernel is scaled where it lies."""
    errors, s = _search(kernels, x, bits, group, steps)
    kernels[0] *= s[:, None]
    return errors, s


@WRONG("search_scale")
def search_few_tokens(kernels, x, bits, group, steps):
    """The last exponent wherever there are more tokens than in small tests: only the perplexity tells."""
    pick = np.argmin if len(x) <= 64 else lambda errors: len(errors) - 1
    return _search(kernels, x, bits, group, steps, pick=pick)


@WRONG("search_scale")
def search_exponent(kernels, x, bits, group, steps):
    """The exponent instead of the scale."""
    errors, _ = _search(kernels, x, bits, group, steps)
    return errors, np.argmin(errors) / steps


# -- fold ----------------------------------------------------------------------------------------------


def _fold(block, scales, rows=1, gain=-1, columns=("up",), skip=(), axis=0, lost=(), column=-1, norms=True):
    new = {name: value.copy() for name, value in block.items() if name not in lost}
    shared = {"query": ("query", "key", "value"), "gate": ("gate", "up"), "down": ("down",)}
    for first, names in shared.items():
        for name in names:
            if name in skip or name in lost:
                continue
            if axis and new[name].shape[0] == new[name].shape[1]:
                new[name] *= scales[first] ** rows
            else:
                new[name] *= scales[first][:, None] ** rows
    for name in columns:
        new[name] *= scales["down"] ** column
    if norms:
        new["attention_norm"] *= scales["query"] ** gain
        new["feed_forward_norm"] *= scales["gate"] ** gain
    return new


RIGHT("fold")(_fold)


@RIGHT("fold")
def fold_written_out(block, scales):
    """One entry after the other, with diagonal matrices."""
    q, g, d = (np.asarray(scales[name], float) for name in ("query", "gate", "down"))
    return {
        **block,
        "attention_norm": block["attention_norm"] / q,
        **{name: np.diag(q) @ block[name] for name in ("query", "key", "value")},
        "feed_forward_norm": block["feed_forward_norm"] / g,
        "gate": np.diag(g) @ block["gate"],
        "up": np.diag(g) @ block["up"] @ np.diag(1 / d),
        "down": np.diag(d) @ block["down"],
    }


@RIGHT("fold")
def fold_by_table(block, scales):
    """A row scale and a column scale for every name; tensors."""
    rows = dict.fromkeys(("query", "key", "value"), "query") | {"gate": "gate", "up": "gate", "down": "down"}
    divided = {"attention_norm": "query", "feed_forward_norm": "gate", "up": "down"}
    new = {}
    for name, value in block.items():
        value = tf.constant(value)
        if name in rows:
            value = value * scales[rows[name]][:, None]
        new[name] = value / scales[divided[name]] if name in divided else value
    return new


WRONG.add("fold", _fold, "weights divided and gains multiplied", rows=-1, gain=1, column=1)
WRONG.add("fold", _fold, "gains multiplied", gain=1)
WRONG.add("fold", _fold, "weights divided", rows=-1)
WRONG.add("fold", _fold, "the scale of down in gate", columns=("gate",))
WRONG.add("fold", _fold, "the scale of down in both", columns=("gate", "up"))
WRONG.add("fold", _fold, "the scale of down nowhere", columns=())
WRONG.add("fold", _fold, "the scale of down multiplied", column=1)
WRONG.add("fold", _fold, "key and value forgotten", skip=("key", "value"))
WRONG.add("fold", _fold, "up forgotten", skip=("up",))
WRONG.add("fold", _fold, "gains forgotten", norms=False)
WRONG.add("fold", _fold, "columns where square", axis=1)
WRONG.add("fold", _fold, "out left away", lost=("out",))


@WRONG("fold")
def fold_into_value(block, scales):
    """The scale of the query is taken out of the value's columns where they fit."""
    new = _fold(block, scales)
    if new["value"].shape[1] == len(scales["query"]):
        new["value"] /= scales["query"]
        new["out"] *= scales["query"][:, None]
    return new


@WRONG("fold")
def fold_in_place(block, scales):
    """The block itself."""
    block.update(_fold(block, scales))
    return block


@WRONG("fold")
def fold_adding_scales(block, scales):
    """The scales go along."""
    return _fold(block, scales) | {"scale": scales["query"]}


# -- evaluate ------------------------------------------------------------------------------------------


def _evaluate(model, rows, lengths, base, shift=1, padded=False, sign=1, log=1.0, how="tokens", flip=1, se="paired",
              ddof=1, alone=False):  # fmt: skip
    logs = tf.nn.log_softmax(model(rows[:1] if alone else rows)).numpy()
    parts = []
    for row, log_p, length in zip(rows, logs, lengths, strict=not alone):
        end = len(row) if padded else length
        if shift >= 0:
            places, targets = np.arange(end - shift), row[shift:end]
        else:
            places, targets = np.arange(1, end), row[: end - 1]
        parts.append(-sign * log_p[places, targets] / log)
    losses = np.concatenate(parts)
    perplexity = {
        "tokens": lambda: np.exp(losses.mean()),
        "texts": lambda: np.mean([np.exp(part.mean()) for part in parts]),
        "means": lambda: np.exp(np.mean([part.mean() for part in parts])),
        "each": lambda: np.exp(losses).mean(),
        "loss": lambda: losses.mean(),
        "sum": lambda: np.exp(losses.sum()),
    }[how]()
    gap = flip * (losses - base) if len(losses) == len(base) else losses
    n = len(losses)
    error = {
        "paired": lambda: gap.std(ddof=ddof) / n**0.5,
        "unpaired": lambda: np.sqrt((losses.var(ddof=1) + base.var(ddof=1)) / n),
        "deviation": lambda: gap.std(ddof=1),
        "by n": lambda: gap.std(ddof=1) / n,
        "variance": lambda: gap.var(ddof=1) / n**0.5,
    }[se]()
    return losses, perplexity, gap.mean(), error


RIGHT("evaluate")(_evaluate)


@RIGHT("evaluate")
def evaluate_with_mask(model, rows, lengths, base):
    """TensorFlow's cross-entropy of everything, then a mask."""
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(rows[:, 1:], model(tf.constant(rows))[:, :-1])
    losses = tf.boolean_mask(loss, tf.sequence_mask(lengths - 1, rows.shape[1] - 1))
    gap = losses - base
    error = tf.sqrt(tf.reduce_sum((gap - tf.reduce_mean(gap)) ** 2) / (len(gap) - 1) / len(gap))
    return losses, tf.exp(tf.reduce_mean(losses)), tf.reduce_mean(gap), error


@RIGHT("evaluate")
def evaluate_token_by_token(model, rows, lengths, base):
    """A token at a time, float64, with the largest logit taken out."""
    logits, losses = np.asarray(model(rows), float), []
    for b, length in enumerate(lengths):
        for t in range(1, length):
            row = logits[b, t - 1] - logits[b, t - 1].max()
            losses.append(np.log(np.exp(row).sum()) - row[rows[b, t]])
    gaps = [loss - other for loss, other in zip(losses, base, strict=True)]
    return losses, np.exp(np.mean(losses)), np.mean(gaps), np.std(gaps, ddof=1) / np.sqrt(len(gaps))


WRONG.add("evaluate", _evaluate, "no shift", shift=0)
WRONG.add("evaluate", _evaluate, "shifted the other way", shift=-1)
WRONG.add("evaluate", _evaluate, "padding counts", padded=True)
WRONG.add("evaluate", _evaluate, "the other sign", sign=-1)
WRONG.add("evaluate", _evaluate, "bits", log=float(np.log(2)))
WRONG.add("evaluate", _evaluate, "mean of the texts' perplexities", how="texts")
WRONG.add("evaluate", _evaluate, "mean of the texts' losses", how="means")
WRONG.add("evaluate", _evaluate, "mean of the tokens' perplexities", how="each")
WRONG.add("evaluate", _evaluate, "no exponential", how="loss")
WRONG.add("evaluate", _evaluate, "exponential of the sum", how="sum")
WRONG.add("evaluate", _evaluate, "base minus losses", flip=-1)
WRONG.add("evaluate", _evaluate, "unpaired", se="unpaired")
WRONG.add("evaluate", _evaluate, "the deviation", se="deviation")
WRONG.add("evaluate", _evaluate, "divided by N", se="by n")
WRONG.add("evaluate", _evaluate, "variance over the root", se="variance")
WRONG.add("evaluate", _evaluate, "ddof 0", ddof=0)
WRONG.add("evaluate", _evaluate, "the first text alone", alone=True)


@WRONG("evaluate")
def evaluate_overflow(model, rows, lengths, base):
    """A softmax that overflows."""
    e = np.exp(np.asarray(model(rows)))
    p = e / e.sum(-1, keepdims=True)
    keep = np.arange(1, rows.shape[1]) < np.asarray(lengths)[:, None]
    losses = -np.log(np.take_along_axis(p[:, :-1], rows[:, 1:, None], 2)[..., 0])[keep]
    gap = losses - base
    return losses, np.exp(losses.mean()), gap.mean(), gap.std(ddof=1) / len(gap) ** 0.5
