"""The Llama of a checkpoint with a paged cache: one step computes any tokens of any sequences together.

A step has N tokens. Each knows its position and its sequence, and a sequence knows its blocks, so a piece of a prompt
and the next tokens of other sequences are rows of the same matrices. The keys and values of all N are written first;
then each row attends to what lies before it in its own blocks. Block 0 and sequence 0 stand for nothing: padding is
written there.

Between the attentions a layer is two parts, before and after it, with the same shapes in every layer. XLA compiles
them once for each number of rows, for all models of these sizes in the process; with the ops of
:mod:`llm_server.native` a row reads its blocks where they lie.

Shapes: rows N, sequences S, blocks of a table M, outputs K, width d, query heads H, key-value heads G, head size D.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import tensorflow as tf

from llm_server import native
from llm_server.weights import Checkpoint, Quantized
from tf_study.models.llama import Config

ROWS = (1, 2, 4, 8, 16, 32, 64)  # numbers of rows that XLA compiles; others are padded to the next


@dataclass(frozen=True)
class Stretch:
    """What a step computes of one sequence: tokens from position ``start`` on.

    ``table``: its blocks, with room for them. ``gives``: the logits after the last of them are asked for.
    """

    tokens: Sequence[int]
    start: int
    table: Sequence[int]
    gives: bool


class PagedLlama:
    """Weights, cache and step.

    Args:
        checkpoint: sizes and weights.
        blocks: of the cache, the null block among them.
        size: tokens a block.
        context: most tokens of a sequence.
        xla: compile the parts between the attentions; a model in 4 bits has an op of its own there instead.
        ops: use the native ops where they can be built.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        blocks: int,
        size: int = 16,
        context: int = 2048,
        xla: bool = False,
        ops: bool = True,
    ):
        c = self.config = checkpoint.config
        self.blocks, self.size, self.xla = blocks, size, xla
        # The native ops write into memory of the CPU.
        library = native.library() if ops and not tf.config.get_visible_devices("GPU") else None
        self._matmul = library.llm_server_w4 if library else None
        self._attend = library.llm_server_paged if library and c.head_dim % native.LANES == 0 else None
        tensors = checkpoint.tensors
        self._embedding = tf.constant(tensors["model.embed_tokens.weight"])  # (V, d)
        head = tensors["model.embed_tokens.weight" if c.tie_embeddings else "lm_head.weight"]
        # (d, V) is multiplied faster than (V, d): with 16 rows in 22 ms instead of 39, SmolLM2 on one core.
        self._head = tf.constant(np.ascontiguousarray(head.T))
        self._norm = tf.constant(tensors["model.norm.weight"])
        self._layers = [self._layer(tensors, f"model.layers.{i}.") for i in range(c.layers)]
        angles = np.outer(np.arange(context), checkpoint.frequencies())
        self._cos, self._sin = (
            tf.constant(np.cos(angles), tf.float32),
            tf.constant(np.sin(angles), tf.float32),
        )
        # Each has memory of its own from the start: the native op writes without asking who else reads it.
        shape = (blocks, c.kv_heads, size, c.head_dim)
        self._keys, self._values = ([tf.Variable(tf.zeros(shape)) for _ in range(c.layers)] for _ in range(2))
        self._quantized = any(isinstance(part, tuple) for part in self._layers[0])
        if self._compiled:
            self._before, self._after = _compiled_parts(c)
        else:
            self._before, self._after = (partial(part, c, self._multiply) for part in (_before, _after))
        index = tf.TensorSpec([None], tf.int32)
        self._graph = tf.function(
            self._step,
            input_signature=[index, index, index, tf.TensorSpec([None, None], tf.int32), index],
            autograph=False,
        )

    @property
    def _compiled(self) -> bool:
        return self.xla and not self._quantized

    def warm_up(self, most: int, report: Callable[[str], None] = lambda line: None) -> None:
        """Trace and compile what steps of up to ``most`` tokens need.

        Args:
            most: tokens.
            report: told of each part as it is done.
        """
        numbers = [rows for rows in ROWS if rows < most] + [_padded(most)] if self._compiled else [1, most]
        for done, rows in enumerate(numbers, 1):
            self.step([Stretch([0], 0, (0,), True)] * rows)
            report(f"[{done}/{len(numbers)}] {rows}토큰 스텝을 준비했습니다.")

    def step(self, stretches: Sequence[Stretch]) -> np.ndarray:
        """Compute stretches, write their keys and values, and return the logits (K, V) of those that give some."""
        counts = [len(stretch.tokens) for stretch in stretches]
        total = sum(counts)
        rows = _padded(total) if self._compiled else total
        tokens, positions, sequences = np.zeros((3, rows), np.int32)
        tokens[:total] = np.concatenate([stretch.tokens for stretch in stretches])
        positions[:total] = np.concatenate(
            [stretch.start + np.arange(count) for stretch, count in zip(stretches, counts, strict=True)]
        )
        sequences[:total] = np.repeat(np.arange(1, len(stretches) + 1), counts)
        tables = np.zeros((len(stretches) + 1, max(len(stretch.table) for stretch in stretches)), np.int32)
        for row, stretch in enumerate(stretches, 1):
            tables[row, : len(stretch.table)] = stretch.table
        ends = np.cumsum(counts, dtype=np.int32) - 1
        outputs = ends[[stretch.gives for stretch in stretches]]
        return self._graph(*map(tf.constant, (tokens, positions, sequences, tables, outputs))).numpy()

    def _layer(self, tensors, prefix: str) -> tuple:
        """Return the gains and joined matrices of a layer: norm, qkv, out, norm, gate and up, down."""

        def matrix(*names):
            return self._matrix([tensors[f"{prefix}{name}.weight"] for name in names])

        return (
            tf.constant(tensors[f"{prefix}input_layernorm.weight"]),
            matrix(*(f"self_attn.{letter}_proj" for letter in "qkv")),
            matrix("self_attn.o_proj"),
            tf.constant(tensors[f"{prefix}post_attention_layernorm.weight"]),
            matrix("mlp.gate_proj", "mlp.up_proj"),
            matrix("mlp.down_proj"),
        )

    def _matrix(self, parts: Sequence[np.ndarray | Quantized]):
        """Return matrices (n, o) side by side: one tensor, or words, scales, zeros and the number of columns."""
        if self._matmul is None or not all(isinstance(part, Quantized) for part in parts):
            whole = [part.matrix() if isinstance(part, Quantized) else part for part in parts]
            return tf.constant(np.concatenate(whole, 1))
        codes, zeros, scales = (
            np.concatenate([getattr(part, key) for part in parts], 1) for key in ("codes", "zeros", "scales")
        )
        spare = ((0, 0), (0, -codes.shape[1] % native.COLUMNS))
        grid = (tf.constant(np.pad(part.astype(np.float32), spare)) for part in (scales, zeros))
        return tf.constant(native.pack(np.pad(codes, spare))), *grid, codes.shape[1]

    def _step(self, tokens, positions, sequences, tables, outputs):
        """tokens, positions, sequences (N,), tables (S, M), outputs (K,) rows → logits (K, V)."""
        cos, sin = tf.gather(self._cos, positions)[:, None], tf.gather(self._sin, positions)[:, None]
        x = tf.gather(self._embedding, tokens)  # (N, d)
        attend = self._native_attention if self._attend else self._attention
        for (norm, qkv, out, norm2, up, down), keys, values in zip(
            self._layers, self._keys, self._values, strict=True
        ):
            q, k, v = self._before(x, norm, qkv, cos, sin)
            mixed = attend(q, k, v, keys, values, tables, sequences, positions)
            x = self._after(x, mixed, out, norm2, up, down)
        last = _rms(tf.gather(x, outputs), self._norm, self.config.eps)
        return tf.matmul(last, self._head)

    def _native_attention(self, q, k, v, keys, values, tables, sequences, positions):
        mixed = self._attend(
            q=q, k=k, v=v, keys=keys, values=values, tables=tables, sequence=sequences, position=positions
        )
        return tf.ensure_shape(mixed, (None, self.config.heads, self.config.head_dim))

    def _attention(self, q, k, v, keys, values, tables, sequences, positions):
        """q (N, H, D), new k and v (N, G, D) → (N, H, D).

        Write, gather the blocks of each row, then a softmax over blocks and places.
        """
        c = self.config
        block = tf.gather_nd(tables, tf.stack([sequences, positions // self.size], 1))
        at = [tf.broadcast_to(part, tf.shape(k)[:2]) for part in (
            block[:, None], tf.range(c.kv_heads), positions[:, None] % self.size)]  # fmt: skip
        keys.scatter_nd_update(tf.stack(at, 2), k)
        values.scatter_nd_update(tf.stack(at, 2), v)
        own = tf.gather(tables, sequences)  # (N, M)
        k, v = tf.gather(keys, own), tf.gather(values, own)  # (N, M, G, size, D)
        q = tf.reshape(q, (-1, 1, c.kv_heads, c.heads // c.kv_heads, c.head_dim))
        scores = tf.matmul(q, k, transpose_b=True) / c.head_dim**0.5  # (N, M, G, H / G, size)
        places = tf.reshape(tf.range(tf.shape(tables)[1] * self.size), (1, -1, 1, 1, self.size))
        seen = places <= tf.reshape(positions, (-1, 1, 1, 1, 1))
        scores = tf.where(seen, scores, -1e9)
        weights = tf.exp(scores - tf.reduce_max(scores, (1, 4), keepdims=True))
        mixed = tf.reduce_sum(tf.matmul(weights, v), 1) / tf.reduce_sum(weights, (1, 4))[..., None]
        return tf.reshape(mixed, (-1, c.heads, c.head_dim))

    def _multiply(self, x, matrix):
        if not isinstance(matrix, tuple):
            return tf.matmul(x, matrix)
        words, scales, zeros, columns = matrix
        return tf.ensure_shape(self._matmul(x=x, q=words, s=scales, z=zeros), (None, words.shape[1]))[
            :, :columns
        ]


@cache
def _compiled_parts(c: Config):
    """Return the two parts of a layer, which XLA compiles."""
    return [
        tf.function(partial(part, c, tf.matmul), autograph=False, jit_compile=True)
        for part in (_before, _after)
    ]


def _before(c: Config, multiply: Callable, x, norm, qkv, cos, sin):
    """x (N, d) → queries (N, H, D), keys and values (N, G, D), turned by their positions."""
    joined = tf.reshape(multiply(_rms(x, norm, c.eps), qkv), (-1, c.heads + 2 * c.kv_heads, c.head_dim))
    q, k, v = tf.split(joined, [c.heads, c.kv_heads, c.kv_heads], 1)
    return _turn(q, cos, sin), _turn(k, cos, sin), v


def _after(c: Config, multiply: Callable, x, mixed, out, norm, up, down):
    """x (N, d), mixed (N, H, D) → the layer's output (N, d)."""
    x += multiply(tf.reshape(mixed, (-1, c.heads * c.head_dim)), out)
    gate, linear = tf.split(multiply(_rms(x, norm, c.eps), up), 2, 1)
    return x + multiply(tf.nn.silu(gate) * linear, down)


def _rms(x, gain, eps: float):
    return x * tf.math.rsqrt(tf.reduce_mean(x * x, -1, keepdims=True) + eps) * gain


def _turn(x, cos, sin):
    """x (N, heads, D), cos and sin (N, 1, D / 2): RoPE with pairs half a head apart."""
    first, second = tf.split(x, 2, -1)
    return tf.concat([first * cos - second * sin, second * cos + first * sin], -1)


def _padded(rows: int) -> int:
    return next((number for number in ROWS if number >= rows), rows)
