"""A small Llama with a few loud channels, and texts that it writes itself, for practice 14.2 and its graders.

Trained models have channels whose activations are ten or a hundred times the others'; random weights have none, so
they are planted here: in the gains of the norms and in the columns of ``up``. The perplexity of a model on its own
texts is the lowest that any model can reach, so every change of its weights can only cost.
"""

import functools

import numpy as np
import tensorflow as tf
from numpy.random import default_rng

from tf_study.models.llama import Config, Llama

SIZES = Config(vocab=96, width=64, layers=3, heads=4, kv_heads=2, hidden=128)
LOUD, TIMES = 4, 10.0  # how many channels of each kind are louder, and how many times


def _loud(rng, size: int) -> np.ndarray:
    """Return factors (size,) whose mean square is 1."""
    factors = np.ones(size)
    factors[rng.permutation(size)[:LOUD]] = TIMES
    return factors / np.sqrt(np.mean(factors**2))


def llama(seed: int) -> Llama:
    """Return the model; its weights depend on ``seed`` alone."""
    model, rng = Llama(SIZES), default_rng(seed)
    draw = lambda shape, size=1.0: size * rng.normal(size=shape) / shape[0] ** 0.5  # noqa: E731
    model.embedding.embeddings.assign(rng.normal(size=(SIZES.vocab, SIZES.width)))
    for block in model.blocks:
        a, f = block.attention, block.feed_forward
        for norm in (block.attention_norm, block.feed_forward_norm):
            norm.gain.assign(_loud(rng, SIZES.width))
        for layer, size in ((a.query, 1), (a.key, 1), (a.value, 1), (a.out, 1.5), (f.gate, 1), (f.down, 3)):
            layer.kernel.assign(draw(layer.kernel.shape, size))
        f.up.kernel.assign(draw(f.up.kernel.shape) * _loud(rng, SIZES.hidden))
    model.head.kernel.assign(draw(model.head.kernel.shape, 2.5))
    return model


@functools.cache
def _writer(config: Config):
    """Return a model that writes in place of all of its size, and the step that draws a token: one graph for them all."""
    model = Llama(config)
    state = tf.TensorSpec((None, config.kv_heads, None, config.head_dim))
    number = tf.TensorSpec((), tf.int32)
    signature = [tf.TensorSpec((None, 1), tf.int32), [(state, state)] * config.layers, number, number]

    @functools.partial(tf.function, input_signature=signature, autograph=False)
    def step(token, cache, start, seed):
        logits, cache = model(token, cache=cache, start=start)
        drawn = tf.random.stateless_categorical(logits[:, -1], 1, (seed, start), dtype=tf.int32)
        return drawn, cache

    return model, step


def write(model: Llama, rows: int, length: int, seed: int) -> np.ndarray:
    """Return texts that ``model`` draws token by token, int32 of shape (rows, length)."""
    c = model.config
    writer, step = _writer(c)
    writer.set_weights(model.get_weights())
    first = default_rng(seed).integers(0, c.vocab, (rows, 1)).astype(np.int32)
    empty = tf.zeros((rows, c.kv_heads, 0, c.head_dim))
    tokens, cache = [tf.constant(first)], [(empty, empty)] * c.layers
    for start in range(length - 1):
        token, cache = step(tokens[-1], cache, start, seed)
        tokens.append(token)
    return tf.concat(tokens, 1).numpy()


def inputs(model: Llama, rows: np.ndarray) -> list[dict[str, np.ndarray]]:
    """Return what the layers of each block see, (tokens, in): of query, key and value; of gate and up; of down."""
    seen, x = [], model.embedding(rows)
    for block in model.blocks:
        f, h = block.feed_forward, block.attention_norm(x)
        x += block.attention(h)[0]
        u = block.feed_forward_norm(x)
        middle = tf.nn.silu(f.gate(u)) * f.up(u)
        x += f.down(middle)
        parts = {"query": h, "gate": u, "down": middle}
        seen.append({name: part.numpy().reshape(-1, part.shape[-1]) for name, part in parts.items()})
    return seen


NORMS = ("attention_norm", "feed_forward_norm")
ATTENTION, FEED_FORWARD = ("query", "key", "value", "out"), ("gate", "up", "down")


def _variables(block) -> dict:
    found = {name: getattr(block, name).gain for name in NORMS}
    found |= {name: getattr(block.attention, name).kernel for name in ATTENTION}
    return found | {name: getattr(block.feed_forward, name).kernel for name in FEED_FORWARD}


def read(block) -> dict[str, np.ndarray]:
    """Return the gains (d,) and kernels (in, out) of a block by name."""
    return {name: variable.numpy() for name, variable in _variables(block).items()}


def put(block, weights: dict[str, np.ndarray]) -> None:
    """Write what :func:`read` returns into a block."""
    for name, variable in _variables(block).items():
        variable.assign(weights[name])
