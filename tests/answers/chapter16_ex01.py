"""Right and wrong answers to practice 16.1."""

import keras
import numpy as np
import tensorflow as tf

from answers import Answers
from tf_study.models.llama import RMSNorm, linear, rope_frequencies

RIGHT, WRONG = Answers(), Answers()


# -- cache_bytes ---------------------------------------------------------------------------------------


def _bytes(config, size, rope=True, twice=False, per_head=False, layers=True, queries=False, pair=2, own_dim=True,
           known=0, latent=True, rope_per_head=False):  # fmt: skip
    heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
    if latent and "kv_lora_rank" in config:
        position = config["qk_rope_head_dim"] * (heads if rope_per_head else 1)
        numbers = (
            (config["kv_lora_rank"] + rope * position) * (2 if twice else 1) * (heads if per_head else 1)
        )
    else:
        dim = config["hidden_size"] // heads
        dim = config.get("head_dim", dim) if own_dim else dim
        numbers = pair * (heads if queries else groups) * dim
    return numbers * (known or size) * (config["num_hidden_layers"] if layers else 1)


RIGHT("cache_bytes")(_bytes)


@RIGHT("cache_bytes")
def cache_bytes_by_shapes(config, size):
    """The shapes of one token's tensors, their elements counted."""
    if config.get("kv_lora_rank"):
        shapes = [(1, config["kv_lora_rank"]), (1, config["qk_rope_head_dim"])]
    else:
        dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        shapes = [(config["num_key_value_heads"], dim)] * 2
    return sum(np.prod(shape) for shape in shapes) * size * config["num_hidden_layers"]


@RIGHT("cache_bytes")
def cache_bytes_layer_by_layer(config, size):
    """A sum over the layers."""
    total = 0
    for _ in range(config["num_hidden_layers"]):
        try:
            total += size * config["kv_lora_rank"] + size * config["qk_rope_head_dim"]
        except KeyError:
            dim = config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])
            total += 2 * size * config["num_key_value_heads"] * dim
    return total


WRONG.add("cache_bytes", _bytes, "d_c only", rope=False)
WRONG.add("cache_bytes", _bytes, "counted for keys and for values", twice=True)
WRONG.add("cache_bytes", _bytes, "LMCache PR 694", twice=True, rope=False)
WRONG.add("cache_bytes", _bytes, "times the heads", per_head=True)
WRONG.add("cache_bytes", _bytes, "a position key a head", rope_per_head=True)
WRONG.add("cache_bytes", _bytes, "GQA with query heads", queries=True)
WRONG.add("cache_bytes", _bytes, "MLA taken for GQA", latent=False)
WRONG.add("cache_bytes", _bytes, "values forgotten", pair=1)
WRONG.add("cache_bytes", _bytes, "head_dim not read", own_dim=False)
WRONG.add("cache_bytes", _bytes, "one layer", layers=False)
WRONG.add("cache_bytes", _bytes, "always two bytes", known=2)
WRONG.add("cache_bytes", _bytes, "numbers for bytes", known=1)


# -- compress ------------------------------------------------------------------------------------------


def _rms(a, eps=1e-6):
    return tf.sqrt(tf.reduce_mean(a * a, -1, keepdims=True) + eps)


def _compressed(
    x, w_down, gain, norm="c", swap=False, gained=True, centre=False, total=False, eps=1e-6, axis=-1
):
    both, rank = tf.matmul(x, w_down), gain.shape[0]
    c, kr = both[..., :rank], both[..., rank:]
    if swap:
        c, kr = both[..., -rank:], both[..., :-rank]
    if norm == "both":
        return c / _rms(both) * gain, kr / _rms(both)
    if norm == "none":
        return c, kr
    c = c - tf.reduce_mean(c, -1, keepdims=True) if centre else c
    mean = tf.reduce_sum if total else tf.reduce_mean
    c = c * tf.math.rsqrt(mean(c * c, axis, keepdims=True) + eps)
    return c * gain if gained else c, kr / _rms(kr) if norm == "each" else kr


RIGHT("compress")(_compressed)


@WRONG("compress")
def compress_with_a_layer(x, w_down, gain):
    """The package's layer with the gain copied into it: right numbers, but the gain would never be trained."""
    rank = gain.shape[0]
    norm = RMSNorm(rank, 1e-6)
    norm.gain.assign(gain)
    c, kr = tf.split(x @ w_down, [rank, w_down.shape[1] - rank], -1)
    return norm(c), kr


@RIGHT("compress")
def compress_in_two_products(x, w_down, gain):
    """Two matrices cut out of one, and einsum; a list."""
    rank = len(gain)
    c = tf.einsum("btd,dc->btc", x, w_down[:, :rank])
    kr = tf.einsum("btd,dr->btr", x, w_down[:, rank:])
    size = tf.norm(c, axis=-1, keepdims=True) ** 2 / rank
    return [c * gain / tf.sqrt(size + 1e-6), kr]


@RIGHT("compress")
def compress_with_keras(x, w_down, gain):
    """Keras' own function."""
    both, rank = keras.ops.matmul(x, w_down), gain.shape[0]
    return keras.ops.rms_normalization(both[..., :rank], gain, axis=-1, epsilon=1e-6), both[..., rank:]


WRONG.add("compress", _compressed, "norm over both", norm="both")
WRONG.add("compress", _compressed, "no norm", norm="none")
WRONG.add("compress", _compressed, "the position key normalised, too", norm="each")
WRONG.add("compress", _compressed, "split reversed", swap=True)
WRONG.add("compress", _compressed, "gain forgotten", gained=False)
WRONG.add("compress", _compressed, "LayerNorm", centre=True)
WRONG.add("compress", _compressed, "length one", total=True)
WRONG.add("compress", _compressed, "no epsilon", eps=0.0)
WRONG.add("compress", _compressed, "a large epsilon", eps=1e-3)
WRONG.add("compress", _compressed, "norm over the tokens", axis=1)


@WRONG("compress")
def compress_joined(x, w_down, gain):
    """One tensor instead of two."""
    return tf.concat(_compressed(x, w_down, gain), -1)


@WRONG("compress")
def compress_with_numpy(x, w_down, gain):
    """Right numbers, no gradient."""
    return [tf.constant(part.numpy()) for part in _compressed(x, w_down, gain)]


# -- decoupled_rope ------------------------------------------------------------------------------------


def _rotated(x, positions, layout="stay", sign=1.0, base=10000.0, size=0):
    width = x.shape[-1]
    angles = tf.cast(positions, tf.float32)[:, None] * rope_frequencies(size or width, base)[: width // 2]
    cos, sin = tf.cos(angles), sign * tf.sin(angles)
    first, second = tf.split(x, 2, -1) if layout == "half" else (x[..., 0::2], x[..., 1::2])
    pair = first * cos - second * sin, second * cos + first * sin
    return tf.reshape(tf.stack(pair, -1), x.shape) if layout == "stay" else tf.concat(pair, -1)


def _rope(q, kr, start, part="end", key=True, query=True, per_head=False, offset=True, head_axis=False, wide=False,
          **options):  # fmt: skip
    length, rope = kr.shape[1:]
    positions = tf.range(length) + (start if offset else 0)
    options |= {"size": q.shape[-1]} if wide else {}
    turned = _rotated(kr, positions, **options) if key else kr
    if per_head:
        turned = tf.repeat(turned[:, None], q.shape[1], 1)
    if not query:
        return q, turned
    if part == "all":
        return _rotated(q, positions, **options), turned
    if part == "front":
        return tf.concat([_rotated(q[..., :rope], positions, **options), q[..., rope:]], -1), turned
    still, moved = q[..., :-rope], q[..., -rope:]
    if head_axis:
        moved = _rotated(tf.transpose(moved, (0, 2, 1, 3)), start + tf.range(q.shape[1]))
        return tf.concat([still, tf.transpose(moved, (0, 2, 1, 3))], -1), turned
    return tf.concat([still, _rotated(moved, positions, **options)], -1), turned


RIGHT("decoupled_rope")(_rope)


@RIGHT("decoupled_rope")
def decoupled_rope_complex(q, kr, start):
    """Complex numbers, as in DeepSeek's own code."""
    length, rope = kr.shape[1:]
    angles = tf.range(start, start + length, dtype=tf.float32)[:, None] * rope_frequencies(rope)
    spin = tf.complex(tf.cos(angles), tf.sin(angles))

    def turn(x):
        turned = tf.complex(x[..., ::2], x[..., 1::2]) * spin
        return tf.reshape(tf.stack([tf.math.real(turned), tf.math.imag(turned)], -1), x.shape)

    return tf.concat([q[..., :-rope], turn(q[..., -rope:])], -1), turn(kr)


@RIGHT("decoupled_rope")
def decoupled_rope_matrices(q, kr, start):
    """One block-diagonal matrix a position."""
    length, rope = kr.shape[1:]
    angles = (start + np.arange(length))[:, None] * 10000.0 ** (-np.arange(0, rope, 2) / rope)
    even, odd = np.arange(0, rope, 2), np.arange(1, rope, 2)
    turns = np.zeros((length, rope, rope), "f")
    turns[:, even, even] = turns[:, odd, odd] = np.cos(angles)
    turns[:, odd, even], turns[:, even, odd] = np.sin(angles), -np.sin(angles)
    moved = tf.einsum("tij,bhtj->bhti", turns, q[..., -rope:])
    return [tf.concat([q[..., :-rope], moved], -1), tf.einsum("tij,btj->bti", turns, kr)]


@RIGHT("decoupled_rope")
def decoupled_rope_partner(q, kr, start):
    """Each coordinate times its cosine, plus its partner times a signed sine."""
    length, rope = kr.shape[1:]
    rates = tf.repeat(rope_frequencies(rope), 2)
    angles = tf.cast(start + tf.range(length), tf.float32)[:, None] * rates
    signs = tf.constant([-1.0, 1.0] * (rope // 2))
    partner = np.arange(rope) ^ 1
    turn = lambda x: x * tf.cos(angles) + tf.gather(x, partner, axis=-1) * signs * tf.sin(angles)  # noqa: E731
    return tf.concat([q[..., :-rope], turn(q[..., -rope:])], -1), turn(kr)


WRONG.add("decoupled_rope", _rope, "half split", layout="half")
WRONG.add("decoupled_rope", _rope, "gathered in halves", layout="gathered")
WRONG.add("decoupled_rope", _rope, "start ignored", offset=False)
WRONG.add("decoupled_rope", _rope, "a key per head", per_head=True)
WRONG.add("decoupled_rope", _rope, "the content turned, too", part="all")
WRONG.add("decoupled_rope", _rope, "the front of the query turned", part="front")
WRONG.add("decoupled_rope", _rope, "the query not turned", query=False)
WRONG.add("decoupled_rope", _rope, "the key not turned", key=False)
WRONG.add("decoupled_rope", _rope, "the other direction", sign=-1.0)
WRONG.add("decoupled_rope", _rope, "turned by the head's number", head_axis=True)
WRONG.add("decoupled_rope", _rope, "rates of the whole query's width", wide=True)
WRONG.add("decoupled_rope", _rope, "another base", base=500000.0)


@WRONG("decoupled_rope")
def decoupled_rope_with_numpy(q, kr, start):
    """Right numbers, no gradient through the key."""
    turned, key = _rope(q, kr, start)
    return turned, tf.constant(key.numpy())


# -- naive and absorbed --------------------------------------------------------------------------------


def _weights(scores, start, visible="past", axis=-1):
    length, seen = scores.shape[-2:]
    first = {"past": start, "no offset": 0, "all": seen}[visible]
    hidden = tf.range(seen) > first + tf.range(length)[:, None]
    return tf.nn.softmax(tf.where(hidden, tf.constant(-1e9, scores.dtype), scores), axis)


def _split_up(w_up, heads, nope, layout="heads"):
    rank, value = w_up.shape[0], w_up.shape[1] // heads - nope
    if layout == "blocks":
        keys, values = tf.split(w_up, [heads * nope, heads * value], -1)
        return tf.reshape(keys, (rank, heads, nope)), tf.reshape(values, (rank, heads, value))
    if layout == "last":
        whole = tf.transpose(tf.reshape(w_up, (rank, -1, heads)), (0, 2, 1))
    else:
        whole = tf.reshape(w_up, (rank, heads, -1))
    if layout == "values first":
        return whole[..., value:], whole[..., :value]
    return whole[..., :nope], whole[..., -nope:] if layout == "as many" else whole[..., nope:]


def _joined(out, merge="btv"):
    """(B, H, T, d_v) → (B, T, H d_v)"""
    batch, heads, length, value = out.shape
    out = tf.transpose(out, (0, 2, 1, 3)) if merge == "btv" else out
    return tf.reshape(out, (batch, length, heads * value))


def _scale(q, kr, c, v, scale):
    rope = kr.shape[-1]
    sizes = {"right": q.shape[-1], "nope": q.shape[-1] - rope, "value": v, "rank": c.shape[-1], "none": 1}
    return sizes.get(scale, c.shape[-1] + rope) ** 0.5


def _expanded(q, c, kr, w_up, start, layout="heads", scale="right", rope=True, merge="btv", **options):
    heads, nope = q.shape[1], q.shape[-1] - kr.shape[-1]
    w_uk, w_uv = _split_up(w_up, heads, nope, layout)
    keys, values = tf.einsum("bsc,chn->bhsn", c, w_uk), tf.einsum("bsc,chv->bhsv", c, w_uv)
    scores = tf.einsum("bhtn,bhsn->bhts", q[..., :nope], keys)
    if rope:
        scores += tf.einsum("bhtr,bsr->bhts", q[..., nope:], kr)
    weights = _weights(scores / _scale(q, kr, c, w_uv.shape[-1], scale), start, **options)
    return _joined(weights @ values, merge)


def _folded(
    q, c, kr, w_up, start, layout="heads", scale="right", rope=True, merge="btv", back=None, **options
):
    heads, nope = q.shape[1], q.shape[-1] - kr.shape[-1]
    w_uk, w_uv = _split_up(w_up, heads, nope, layout)
    latent = tf.einsum("bhtn,chn->bhtc", q[..., :nope], w_uk)
    scores = tf.einsum("bhtc,bsc->bhts", latent, c)
    if rope:
        scores += tf.einsum("bhtr,bsr->bhts", q[..., nope:], kr)
    weights = _weights(scores / _scale(q, kr, c, w_uv.shape[-1], scale), start, **options)
    mixed = tf.einsum("bhts,bsc->bhtc", weights, c)
    return _joined(tf.einsum("bhtc,chv->bhtv", mixed, w_uk if back == "keys" else w_uv), merge)


RIGHT("naive")(_expanded)
RIGHT("absorbed")(_folded)
RIGHT("naive")(_folded)  # The same numbers.


@RIGHT("naive")
def naive_one_key(q, c, kr, w_up, start):
    """One key of d_n + d_R numbers a head, as in DeepSeek's code, and a mask that is added."""
    batch, heads, length, size = q.shape
    seen, nope = c.shape[1], size - kr.shape[-1]
    kv = tf.transpose(tf.reshape(c @ w_up, (batch, seen, heads, -1)), (0, 2, 1, 3))
    shared = tf.broadcast_to(kr[:, None], (batch, heads, seen, kr.shape[-1]))
    keys = tf.concat([kv[..., :nope], shared], -1)
    scores = tf.matmul(q, keys, transpose_b=True) * size**-0.5
    scores += -1e9 * (1 - tf.linalg.band_part(tf.ones((length, seen)), -1, start))
    out = tf.nn.softmax(scores) @ kv[..., nope:]
    return tf.reshape(tf.transpose(out, (0, 2, 1, 3)), (batch, length, -1))


@RIGHT("naive")
def naive_head_by_head(q, c, kr, w_up, start):
    """A loop over the heads; the softmax by hand."""
    heads, nope, out = q.shape[1], q.shape[-1] - kr.shape[-1], []
    for one, w in enumerate(tf.split(w_up, heads, 1)):
        k, v = (c @ w)[..., :nope], (c @ w)[..., nope:]
        scores = tf.matmul(q[:, one], tf.concat([k, kr], -1), transpose_b=True) / q.shape[-1] ** 0.5
        past = np.arange(c.shape[1]) <= start + np.arange(q.shape[2])[:, None]
        scores = tf.where(past, scores, -np.inf)
        weights = tf.exp(scores - tf.reduce_max(scores, -1, keepdims=True))
        out.append(weights / tf.reduce_sum(weights, -1, keepdims=True) @ v)
    return tf.concat(out, -1)


@RIGHT("absorbed")
def absorbed_as_one_key(q, c, kr, w_up, start):
    """Multi-query attention: one key of d_c + d_R numbers, all heads' queries in one matrix."""
    batch, heads, length, size = q.shape
    nope = size - kr.shape[-1]
    w_uk, w_uv = _split_up(w_up, heads, nope)
    latent = q[..., :nope] @ tf.transpose(w_uk, (1, 2, 0))
    queries = tf.reshape(tf.concat([latent, q[..., nope:]], -1), (batch, heads * length, -1))
    scores = tf.matmul(queries, tf.concat([c, kr], -1), transpose_b=True) / size**0.5
    weights = _weights(tf.reshape(scores, (batch, heads, length, -1)), start)
    mixed = tf.reshape(weights, (batch, heads * length, -1)) @ c
    out = tf.reshape(mixed, (batch, heads, length, -1)) @ tf.transpose(w_uv, (1, 0, 2))
    return tf.reshape(tf.transpose(out, (0, 2, 1, 3)), (batch, length, -1))


@RIGHT("absorbed")
def absorbed_head_by_head(q, c, kr, w_up, start):
    """A loop over the heads."""
    heads, nope, out = q.shape[1], q.shape[-1] - kr.shape[-1], []
    for one, w in enumerate(tf.split(w_up, heads, 1)):
        latent = tf.matmul(q[:, one, :, :nope], w[:, :nope], transpose_b=True)
        scores = tf.matmul(latent, c, transpose_b=True) + tf.matmul(q[:, one, :, nope:], kr, transpose_b=True)
        out.append(_weights(scores / q.shape[-1] ** 0.5, start) @ c @ w[:, nope:])
    return tf.concat(out, -1)


RIGHT("absorbed")(tf.function(_folded))

for _name, _answer in (("naive", _expanded), ("absorbed", _folded)):
    WRONG.add(_name, _answer, "scale of d_n", scale="nope")
    WRONG.add(_name, _answer, "scale of d_v", scale="value")
    WRONG.add(_name, _answer, "no scale", scale="none")
    WRONG.add(_name, _answer, "mask without offset", visible="no offset")
    WRONG.add(_name, _answer, "no mask", visible="all")
    WRONG.add(_name, _answer, "softmax over the queries", axis=-2)
    WRONG.add(_name, _answer, "W_UV for W_UK", layout="values first")
    WRONG.add(_name, _answer, "heads in the last axis", layout="last")
    WRONG.add(_name, _answer, "all keys before all values", layout="blocks")
    WRONG.add(_name, _answer, "values of as many columns as keys", layout="as many")
    WRONG.add(_name, _answer, "position term lost", rope=False)
    WRONG.add(_name, _answer, "heads not moved", merge="bhv")
WRONG.add("absorbed", _folded, "scale of d_c", scale="rank")
WRONG.add("absorbed", _folded, "scale of d_c and d_R", scale="both")
WRONG.add("absorbed", _folded, "W_UK on the way back", back="keys")
WRONG("absorbed")(naive_one_key)  # Right numbers, but all keys and values are there.
WRONG("absorbed")(naive_head_by_head)
WRONG.add("absorbed", tf.function(_expanded), "expanded in a function that the graph calls")


@WRONG("naive", "absorbed")
def attention_of_values(q, c, kr, w_up, start):
    """Sizes read as values of tensors, which a graph does not have."""
    length, seen = (int(tf.shape(x)[-2]) for x in (q, c))
    return _folded(q, c, kr, w_up, seen - length)


@WRONG("naive", "absorbed")
def attention_with_numpy(*given):
    """Right numbers, no gradient."""
    return tf.constant(_folded(*given).numpy())


@WRONG("naive")
def naive_unstable(q, c, kr, w_up, start):
    """Exponentials of large scores."""
    heads, nope = q.shape[1], q.shape[-1] - kr.shape[-1]
    w_uk, w_uv = _split_up(w_up, heads, nope)
    scores = tf.einsum("bhtn,chn,bsc->bhts", q[..., :nope], w_uk, c)
    scores = (scores + tf.einsum("bhtr,bsr->bhts", q[..., nope:], kr)) / q.shape[-1] ** 0.5
    past = np.arange(c.shape[1]) <= start + np.arange(q.shape[2])[:, None]
    weights = tf.where(past, tf.exp(scores), 0.0)
    weights /= tf.reduce_sum(weights, -1, keepdims=True)
    return _joined(weights @ tf.einsum("bsc,chv->bhsv", c, w_uv))


@WRONG("absorbed")
def absorbed_copied(q, c, kr, w_up, start):
    """Right numbers, but every head has a copy of the cache."""
    batch, heads, length, size = q.shape
    nope = size - kr.shape[-1]
    w_uk, w_uv = _split_up(w_up, heads, nope)
    copies = tf.repeat(c[:, None], heads, 1)
    latent = q[..., :nope] @ tf.transpose(w_uk, (1, 2, 0))
    scores = tf.matmul(latent, copies, transpose_b=True) + tf.einsum("bhtr,bsr->bhts", q[..., nope:], kr)
    return _joined(_weights(scores / size**0.5, start) @ copies @ tf.transpose(w_uv, (1, 0, 2)))


@WRONG("absorbed")
def absorbed_keys_only(q, c, kr, w_up, start):
    """Right numbers, but the values are expanded."""
    heads, nope = q.shape[1], q.shape[-1] - kr.shape[-1]
    w_uk, w_uv = _split_up(w_up, heads, nope)
    scores = tf.einsum("bhtc,bsc->bhts", tf.einsum("bhtn,chn->bhtc", q[..., :nope], w_uk), c)
    scores += tf.einsum("bhtr,bsr->bhts", q[..., nope:], kr)
    return _joined(_weights(scores / q.shape[-1] ** 0.5, start) @ tf.einsum("bsc,chv->bhsv", c, w_uv))


# -- MLA -----------------------------------------------------------------------------------------------


class _Layer(keras.layers.Layer):
    """The given weights; what may go wrong is a class attribute."""

    keep, restart, lost, joined, masked, gained, asked = "latents", False, (), True, True, True, True

    def __init__(self, width, heads, kv_rank, nope, rope, value, attention=_folded):
        super().__init__()
        self.heads, self.nope, self.attention = heads, nope, attention
        self.query, self.down = linear(width, heads * (nope + rope)), linear(width, kv_rank + rope)
        self.gain = self.add_weight(shape=(kv_rank,), initializer="ones", name="gain")
        self.up, self.out = linear(kv_rank, heads * (nope + value)), linear(heads * value, width)
        self.built = True

    def call(self, x, cache=None, start=0):
        q = tf.reshape(self.query(x), (*x.shape[:2], self.heads, -1))
        down, gain = tf.convert_to_tensor(self.down.kernel), tf.convert_to_tensor(self.gain)
        c, kr = _compressed(x, down, gain, gained=self.gained)
        raw = (self.down(x)[..., : c.shape[-1]], kr)
        q, kr = _rope(tf.transpose(q, (0, 2, 1, 3)), kr, 0 if self.restart else start)
        new = {"latents": (c, kr), "raw c": (raw[0], kr), "still key": (c, raw[1])}.get(self.keep, (c, kr))
        if cache is not None and self.joined:
            pairs = enumerate(zip(cache, new, strict=True))
            new = tuple(b if i in self.lost else tf.concat([a, b], 1) for i, (a, b) in pairs)
        up = tf.convert_to_tensor(self.up.kernel)
        seen = new[0].shape[1]
        attend = self.attention if self.asked else _folded
        mixed = attend(q, *new, up, start if self.masked else seen)
        if self.keep == "expanded":
            kv = tf.reshape(new[0] @ up, (*new[0].shape[:2], self.heads, -1))
            kv = tf.transpose(kv, (0, 2, 1, 3))
            return self.out(mixed), (kv[..., : self.nope], kv[..., self.nope :])
        return self.out(mixed), self.packed(new)

    def packed(self, cache):
        return cache


RIGHT("MLA")(_Layer)


@RIGHT("MLA")
class MlaOfTheCachesLength(_Layer):
    """The position is read off the cache, and the cache is a list."""

    def call(self, x, cache=None, start=0):
        past = 0 if cache is None else cache[0].shape[1]
        q = tf.transpose(tf.reshape(self.query(x), (*x.shape[:2], self.heads, -1)), (0, 2, 1, 3))
        rank = self.gain.shape[0]
        c, kr = self.down(x)[..., :rank], self.down(x)[..., rank:]
        c = keras.ops.rms_normalization(c, self.gain, axis=-1, epsilon=1e-6)
        q, kr = decoupled_rope_complex(q, kr, past)
        if past:
            c, kr = (tf.concat(pair, 1) for pair in zip(cache, (c, kr), strict=True))
        return self.out(self.attention(q, c, kr, tf.convert_to_tensor(self.up.kernel), past)), [c, kr]


@RIGHT("MLA")
class MlaWithKeras(_Layer):
    """keras.ops from end to end, and the kernels as they are."""

    def call(self, x, cache=None, start=0):
        ops, (batch, length) = keras.ops, x.shape[:2]
        q = ops.transpose(ops.reshape(self.query(x), (batch, length, self.heads, -1)), (0, 2, 1, 3))
        c, kr = compress_with_keras(x, self.down.kernel, self.gain)
        q, kr = decoupled_rope_partner(q, kr, start)
        parts = [c, kr]
        if cache is not None:
            parts = [ops.concatenate(pair, 1) for pair in zip(cache, parts, strict=True)]
        mixed = self.attention(q, *parts, ops.convert_to_tensor(self.up.kernel), start)
        return ops.matmul(mixed, self.out.kernel), tuple(parts)


WRONG.add("MLA", _Layer, "expanded keys and values cached", keep="expanded")
WRONG.add("MLA", _Layer, "c cached before the norm", keep="raw c")
WRONG.add("MLA", _Layer, "the position key cached before its turn", keep="still key")
WRONG.add("MLA", _Layer, "the position key not appended", lost=(1,))
WRONG.add("MLA", _Layer, "latents overwritten", lost=(0, 1))
WRONG.add("MLA", _Layer, "the cache not looked at", joined=False)
WRONG.add("MLA", _Layer, "positions restart", restart=True)
WRONG.add("MLA", _Layer, "no mask", masked=False)
WRONG.add("MLA", _Layer, "the gain not used", gained=False)
WRONG.add("MLA", _Layer, "an attention of its own", asked=False)


@WRONG("MLA")
class MlaWithOneTensor(_Layer):
    """c and the key in one tensor."""

    def packed(self, cache):
        return tf.concat(cache, -1)


@WRONG("MLA")
class MlaWithoutCache(_Layer):
    """The output alone."""

    def call(self, x, cache=None, start=0):
        return super().call(x, cache, start)[0]


# -- break_even ----------------------------------------------------------------------------------------


def _even(
    S, heads, d_c, d_n, d_rope, d_v, limit=False, times=0, fold_rope=0, unfold_rope=0, twice=2, inverse=False
):
    both = d_n + d_v
    once, more = d_c * both, twice * d_c + fold_rope * d_rope - unfold_rope * d_rope - both
    found = once / more if limit else S * once / (once + S * more)
    found = 1 / found if inverse else found
    return found * heads**times


RIGHT("break_even")(_even)


@RIGHT("break_even")
def break_even_of_two_lines(S, heads, d_c, d_n, d_rope, d_v):
    """Both costs are straight lines in T: where they meet."""
    fixed = S * d_c * heads * (d_n + d_v)
    slope = S * heads * (d_n + d_rope + d_v)
    other = d_c * heads * (d_n + d_v) + S * heads * (2 * d_c + d_rope)
    return fixed / (other - slope)


@RIGHT("break_even")
def break_even_by_numpy(S, heads, d_c, d_n, d_rope, d_v):
    """The root of a polynomial of degree one."""
    naive = np.poly1d([S * (d_n + d_rope + d_v), S * d_c * (d_n + d_v)])
    absorbed = np.poly1d([d_c * (d_n + d_v) + S * (2 * d_c + d_rope), 0])
    return (naive - absorbed).roots[0]


WRONG.add("break_even", _even, "the limit of long contexts", limit=True)
WRONG.add("break_even", _even, "times H", times=1)
WRONG.add("break_even", _even, "divided by H", times=-1)
WRONG.add("break_even", _even, "d_R forgotten in the naive way", fold_rope=1)
WRONG.add("break_even", _even, "d_R forgotten in the absorbed way", unfold_rope=1)
WRONG.add("break_even", _even, "d_c once", twice=1)
WRONG.add("break_even", _even, "inverse", inverse=True)


@WRONG("break_even")
def break_even_whole(S, heads, d_c, d_n, d_rope, d_v):
    """Rounded."""
    return round(_even(S, heads, d_c, d_n, d_rope, d_v))


# -- bytes_per_token -----------------------------------------------------------------------------------


def _measured(
    model, tokens, layers=slice(None), parts=slice(None), kind=None, divide="all", logits=False, of=None
):
    scores, caches = model(tokens)
    chosen = [caches[0]] * len(caches) if layers == "first" else caches[layers]
    found = [np.asarray(part) for cache in chosen for part in cache[parts]]
    found += [np.asarray(scores)] if logits else []
    total = sum(of(part) if of else part.astype(kind).nbytes if kind else part.nbytes for part in found)
    batch, length = np.shape(tokens)
    return total / {"all": batch * length, "batch": batch, "length": length, "none": 1}[divide]


RIGHT("bytes_per_token")(_measured)


@RIGHT("bytes_per_token")
def bytes_per_token_of_types(model, tokens):
    """Elements times the size of the type, the nest flattened."""
    parts = tf.nest.flatten(model(tokens)[1])
    return sum(int(tf.size(part)) * part.dtype.size for part in parts) / np.size(tokens)


@RIGHT("bytes_per_token")
def bytes_per_token_of_the_first(model, tokens):
    """One row, one more token: what it adds."""
    one, two = (model(tokens[:1, :count])[1] for count in (1, 2))
    size = lambda caches: sum(part.numpy().nbytes for part in tf.nest.flatten(caches))  # noqa: E731
    return size(two) - size(one)


WRONG.add("bytes_per_token", _measured, "one layer", layers=slice(1))
WRONG.add("bytes_per_token", _measured, "the last layer", layers=slice(-1, None))
WRONG.add("bytes_per_token", _measured, "the first layer for every layer", layers="first")
WRONG.add("bytes_per_token", _measured, "c alone", parts=slice(1))
WRONG.add("bytes_per_token", _measured, "two tensors at most", parts=slice(2))
WRONG.add("bytes_per_token", _measured, "float64", kind="float64")
WRONG.add("bytes_per_token", _measured, "float32 whatever it is", kind="float32")
WRONG.add("bytes_per_token", _measured, "numbers for bytes", of=np.size)
WRONG.add("bytes_per_token", _measured, "not divided", divide="none")
WRONG.add("bytes_per_token", _measured, "by the batch", divide="batch")
WRONG.add("bytes_per_token", _measured, "by the length", divide="length")
WRONG.add("bytes_per_token", _measured, "the logits, too", logits=True)
