"""The Llama decoder in Keras: pre-norm, RMSNorm, rotary positions, grouped-query attention and SwiGLU.

Built step by step in lecture 12.1. The weights are laid out as in transformers' ``LlamaForCausalLM``, see
:func:`load_torch`. Layers are built when they are made: ``Llama(config).count_params()`` needs no input.

Shapes: batch B, new tokens T, keys S, width d, query heads H, key-value heads G, head size D, vocabulary V.
Sources: Touvron et al. 2023 (arXiv:2302.13971), Grattafiori et al. 2024 (2407.21783), Zhang and Sennrich 2019
(RMSNorm, 1910.07467), Su et al. 2021 (RoPE, 2104.09864), Ainslie et al. 2023 (GQA, 2305.13245), Shazeer 2020
(SwiGLU, 2002.05202).
"""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

Cache = tuple[tf.Tensor, tf.Tensor]  # Keys and values of one layer, each (B, G, S, D).
# Initializers of kernels and of the embedding.
_START = ContextVar("start", default=("glorot_uniform", "uniform"))


@dataclass(frozen=True)
class Config:
    """Sizes of a Llama; ``head_dim`` 0 stands for ``width // heads``."""

    vocab: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    hidden: int
    head_dim: int = 0
    rope_base: float = 10000.0
    eps: float = 1e-5
    tie_embeddings: bool = False

    def __post_init__(self):
        if not self.head_dim:
            object.__setattr__(self, "head_dim", self.width // self.heads)
        if self.heads % self.kv_heads or self.head_dim % 2:
            raise ValueError("heads must be a multiple of kv_heads, and head_dim even")


# Grattafiori et al. 2024, table 3 and section 3.2.
LLAMA3_8B = Config(128256, 4096, 32, 32, 8, hidden=14336, rope_base=500000.0)
LLAMA3_70B = Config(128256, 8192, 80, 64, 8, hidden=28672, rope_base=500000.0)


def parameter_parts(c: Config) -> dict[str, int]:
    """Return the number of parameters of each part of the whole model, in closed form."""
    return {
        "embedding": c.vocab * c.width,
        "attention": c.layers * 2 * c.width * c.head_dim * (c.heads + c.kv_heads),
        "feed_forward": c.layers * 3 * c.width * c.hidden,
        "norm": (2 * c.layers + 1) * c.width,
        "head": 0 if c.tie_embeddings else c.vocab * c.width,
    }


def parameter_count(config: Config) -> int:
    """Return the number of parameters in closed form: 8,030,261,248 for Llama 3 8B."""
    return sum(parameter_parts(config).values())


def hf_sizes(config: Config) -> dict:
    """Return the same sizes as keyword arguments of transformers' ``LlamaConfig`` and its relatives."""
    return dict(
        vocab_size=config.vocab,
        hidden_size=config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.kv_heads,
        head_dim=config.head_dim,
        intermediate_size=config.hidden,
        rope_theta=config.rope_base,
        rms_norm_eps=config.eps,
        tie_word_embeddings=config.tie_embeddings,
    )


def rope_frequencies(head_dim: int, base: float = 10000.0) -> tf.Tensor:
    """Return the angle per position of each pair, ``base ** (-2i / D)`` for i = 0 .. D/2 - 1, shape (D/2,)."""
    return tf.constant(base ** (-np.arange(0, head_dim, 2) / head_dim), tf.float32)


def rotate(x: tf.Tensor, positions: tf.Tensor, frequencies: tf.Tensor) -> tf.Tensor:
    """Turn pairs of coordinates by ``position * frequency`` (RoPE).

    The pairs are (x[i], x[i + D/2]), the half-split layout of Hugging Face. The paper and Meta's own weights
    pair (x[2i], x[2i + 1]); both agree after a permutation of the columns of W_q and W_k.
    x (..., T, D), positions (T,) or broadcastable to (..., T), frequencies (D/2,).
    """
    angles = tf.cast(positions, tf.float32)[..., None] * frequencies  # (T, D/2)
    cos, sin = tf.cast(tf.cos(angles), x.dtype), tf.cast(tf.sin(angles), x.dtype)
    first, second = tf.split(x, 2, axis=-1)
    return tf.concat([first * cos - second * sin, second * cos + first * sin], -1)


def rows_times(x: tf.Tensor, matrix: tf.Tensor, transposed: bool = False) -> tf.Tensor:
    """Return ``x @ matrix`` for x (..., n), as one product of two matrices."""
    n, outputs = matrix.shape[::-1] if transposed else matrix.shape
    flat = tf.matmul(tf.reshape(x, (-1, n)), matrix, transpose_b=transposed)
    *batch, _ = x.shape if x.shape.is_fully_defined() else tf.unstack(tf.shape(x))
    return tf.reshape(flat, (*batch, outputs))


class Linear(keras.layers.Dense):
    """A dense layer without bias or activation: outside of graphs in two thirds of the time that Keras's own takes."""

    def call(self, x):
        """x (..., inputs) → (..., outputs)."""
        return rows_times(x, self.kernel)


def linear(inputs: int, outputs: int) -> Linear:
    """Return a built dense layer without bias, (..., inputs) → (..., outputs)."""
    layer = Linear(outputs, use_bias=False, kernel_initializer=_START.get()[0])
    layer.build((None, inputs))
    return layer


class RMSNorm(keras.layers.Layer):
    """Divide by the root mean square of the last axis (in float32), times a learned gain."""

    def __init__(self, width: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.gain = self.add_weight(shape=(width,), initializer="ones", name="gain")
        self.built = True

    def call(self, x):
        a = tf.cast(x, tf.float32)
        a *= tf.math.rsqrt(tf.reduce_mean(a * a, -1, keepdims=True) + self.eps)
        return tf.cast(a, x.dtype) * self.gain


class Attention(keras.layers.Layer):
    """Causal self-attention with rotary positions; query head h reads key-value head h // (H / G).

    With ``window`` a query sees only itself and the ``window - 1`` positions before it; ``frequencies`` (D/2,)
    stand in for those of ``config.rope_base``.
    """

    def __init__(self, config: Config, window: int | None = None, frequencies: tf.Tensor | None = None):
        super().__init__()
        c, self.config, self.window = config, config, window
        self.frequencies = rope_frequencies(c.head_dim, c.rope_base) if frequencies is None else frequencies
        self.query = linear(c.width, c.heads * c.head_dim)
        self.key = linear(c.width, c.kv_heads * c.head_dim)
        self.value = linear(c.width, c.kv_heads * c.head_dim)
        self.out = linear(c.heads * c.head_dim, c.width)
        self.built = True

    def call(self, x, cache: Cache | None = None, start=0):
        """x (B, T, d) from position ``start`` on → ((B, T, d), keys and values); the cache may lack old ones."""
        c, (batch, length) = self.config, (tf.shape(x)[0], tf.shape(x)[1])
        split = (batch, length, c.kv_heads, -1, c.head_dim)
        positions = start + tf.range(length)  # (T,)
        q = tf.einsum("btgrd->bgrtd", tf.reshape(self.query(x), split))  # (B, G, H/G, T, D)
        k, v = (tf.einsum("btgrd->bgtd", tf.reshape(f(x), split)) for f in (self.key, self.value))
        q, k = rotate(q, positions, self.frequencies), rotate(k, positions, self.frequencies)
        if cache is not None:
            k, v = tf.concat([cache[0], k], 2), tf.concat([cache[1], v], 2)  # (B, G, S, D)
        distance = positions[:, None] - tf.range(start + length - tf.shape(k)[2], start + length)  # (T, S)
        seen = (distance >= 0) & (distance < (self.window or tf.int32.max))
        scores = tf.einsum("bgrtd,bgsd->bgrts", q, k) / c.head_dim**0.5
        weights = tf.nn.softmax(tf.where(seen, tf.cast(scores, tf.float32), -1e9))  # (B, G, H/G, T, S)
        mixed = tf.einsum("bgrts,bgsd->btgrd", tf.cast(weights, x.dtype), v)
        return self.out(tf.reshape(mixed, (batch, length, c.heads * c.head_dim))), (k, v)


class SwiGLU(keras.layers.Layer):
    """Gated feed-forward network, (..., d) → (..., d): ``down(silu(gate(x)) * up(x))``."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.gate, self.up, self.down = linear(width, hidden), linear(width, hidden), linear(hidden, width)
        self.built = True

    def call(self, x):
        return self.down(tf.nn.silu(self.gate(x)) * self.up(x))

    def load_torch(self, state: Mapping) -> None:
        """Copy ``gate_proj.weight``, ``up_proj.weight`` and ``down_proj.weight`` from a state dict."""
        for name, layer in (("gate", self.gate), ("up", self.up), ("down", self.down)):
            layer.kernel.assign(np.asarray(state[f"{name}_proj.weight"]).T)


class Block(keras.layers.Layer):
    """Pre-norm block.

    Args:
        config: its sizes.
        feed_forward: a layer (B, T, d) → (B, T, d) in place of :class:`SwiGLU`.
        attention: a layer called as :class:`Attention` is, which returns its output (B, T, d) and a cache of
            its own kind, in place of ``Attention(config)``.
    """

    def __init__(self, config: Config, feed_forward=None, attention=None):
        super().__init__()
        self.attention_norm = RMSNorm(config.width, config.eps)
        self.attention = Attention(config) if attention is None else attention
        self.feed_forward_norm = RMSNorm(config.width, config.eps)
        self.feed_forward = SwiGLU(config.width, config.hidden) if feed_forward is None else feed_forward
        self.built = True

    def call(self, x, cache: Cache | None = None, start=0):
        mixed, cache = self.attention(self.attention_norm(x), cache=cache, start=start)
        x += mixed
        return x + self.feed_forward(self.feed_forward_norm(x)), cache


class Llama(keras.Model):
    """Tokens → logits.

    Args:
        config: its sizes.
        feed_forward: the index of a block → its feed-forward layer, or ``None`` for :class:`SwiGLU`.
        attention: the index of a block → its attention, or ``None`` for ``Attention(config)``; for instance
            ``lambda index: Attention(config, window=5)``. See :class:`Block`.
    """

    def __init__(
        self, config: Config, feed_forward: Callable | None = None, attention: Callable | None = None
    ):
        super().__init__()
        feed_forward, attention = (make or (lambda index: None) for make in (feed_forward, attention))
        self.config = config
        self.embedding = keras.layers.Embedding(config.vocab, config.width, _START.get()[1])
        self.embedding.build()
        self.blocks = [Block(config, feed_forward(i), attention(i)) for i in range(config.layers)]
        self.norm = RMSNorm(config.width, config.eps)
        self.head = None if config.tie_embeddings else linear(config.width, config.vocab)
        self.built = True

    def call(self, tokens, cache: list[Cache] | None = None, start=0):
        """tokens (B, T) from position ``start`` on → (logits (B, T, V), one cache per block)."""
        x, new = self.hidden(tokens, cache, start)
        return self.logits(x), new

    def hidden(self, tokens, cache: list[Cache] | None = None, start=0):
        """What the logits are computed from, as :meth:`call`: (x (B, T, d), one cache per block)."""
        x, new = self.embedding(tokens), list(cache or [None] * len(self.blocks))
        for i, block in enumerate(self.blocks):
            x, new[i] = block(x, cache=new[i], start=start)
        return self.norm(x), new

    def logits(self, x):
        """x (..., d) of :meth:`hidden` → logits (..., V)."""
        return self.head(x) if self.head else rows_times(x, self.embedding.embeddings, transposed=True)


def load_torch(model: Llama, state: Mapping) -> None:
    """Copy the state dict of a ``LlamaForCausalLM`` into ``model``; torch itself is not imported.

    An injected feed-forward layer needs a method ``load_torch(state)``, which gets the entries of its block
    under ``mlp.`` or ``block_sparse_moe.`` without that prefix. A missing entry raises ``KeyError``, one that is
    left over or has another shape ``ValueError``.
    """
    state = {name: np.asarray(value) for name, value in state.items()}
    model.embedding.embeddings.assign(state.pop("model.embed_tokens.weight"))
    model.norm.gain.assign(state.pop("model.norm.weight"))
    if model.head:
        model.head.kernel.assign(state["lm_head.weight"].T)
    state.pop("lm_head.weight", None)  # Also there when it is tied to the embedding.
    for index, block in enumerate(model.blocks):
        prefix, a = f"model.layers.{index}.", block.attention
        block.attention_norm.gain.assign(state.pop(f"{prefix}input_layernorm.weight"))
        block.feed_forward_norm.gain.assign(state.pop(f"{prefix}post_attention_layernorm.weight"))
        for letter, layer in zip("qkvo", (a.query, a.key, a.value, a.out), strict=True):
            layer.kernel.assign(state.pop(f"{prefix}self_attn.{letter}_proj.weight").T)
        inner = [name for name in state if name.startswith((f"{prefix}mlp.", f"{prefix}block_sparse_moe."))]
        block.feed_forward.load_torch({name.split(".", 4)[4]: state.pop(name) for name in inner})
    if state:
        raise ValueError(f"left over in the state dict: {sorted(state)}")


def loaded(config: Config, state: Mapping, feed_forward: Callable | None = None) -> Llama:
    """Return a ``Llama(config, feed_forward)`` that has the weights of a state dict, see :func:`load_torch`.

    Nothing is drawn at random for it, which takes longer than loading does: 2 seconds for 135 million weights.
    """
    token = _START.set(("zeros", "zeros"))
    try:
        model = Llama(config, feed_forward)
    finally:
        _START.reset(token)
    load_torch(model, state)
    return model


def torch_state(model: Llama) -> dict[str, np.ndarray]:
    """Return the weights as the state dict of a ``LlamaForCausalLM``, as NumPy arrays: the inverse of :func:`load_torch`.

    Only for models with the feed-forward and attention layers of this module.
    """
    embedding = model.embedding.embeddings.numpy()
    state = {"model.embed_tokens.weight": embedding, "model.norm.weight": model.norm.gain.numpy()}
    state["lm_head.weight"] = model.head.kernel.numpy().T if model.head else embedding
    for index, block in enumerate(model.blocks):
        prefix, a, f = f"model.layers.{index}.", block.attention, block.feed_forward
        state[f"{prefix}input_layernorm.weight"] = block.attention_norm.gain.numpy()
        state[f"{prefix}post_attention_layernorm.weight"] = block.feed_forward_norm.gain.numpy()
        for letter, layer in zip("qkvo", (a.query, a.key, a.value, a.out), strict=True):
            state[f"{prefix}self_attn.{letter}_proj.weight"] = layer.kernel.numpy().T
        for name, layer in (("gate", f.gate), ("up", f.up), ("down", f.down)):
            state[f"{prefix}mlp.{name}_proj.weight"] = layer.kernel.numpy().T
    return state
