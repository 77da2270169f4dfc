"""Learning from preferences in Keras: sequence log-probabilities, LoRA adapters, DPO with an SFT term.

Built step by step in lecture 15.4, where each piece is compared with TRL and PEFT.
Shapes: rows N, positions T, width of a layer's input I and output O, rank R.
Sources: Rafailov et al. 2023 (DPO, arXiv:2305.18290), Hu et al. 2021 (LoRA, 2106.09685), Pang et al. 2024
(the SFT term, 2404.19733).
"""

import functools
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from tf_study import optimizers
from tf_study.models.llama import Config, Llama


class Lora(keras.layers.Layer):
    """A dense layer, frozen, plus ``alpha / rank`` times x A B; B starts at 0, so nothing changes at first.

    Args:
        dense: a built layer without activation, kernel (I, O).
        rank: R; A is (I, R), B (R, O).
        alpha: strength.
        seed: of A, drawn as PEFT draws it (uniform, variance 1 / (3 I)).
    """

    def __init__(self, dense: keras.layers.Dense, rank: int, alpha: float, seed: int):
        super().__init__()
        inputs, outputs = dense.kernel.shape
        self.dense, self.scale = dense, alpha / rank
        dense.kernel.trainable = False
        start = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform", seed=seed)
        self.a = self.add_weight(shape=(inputs, rank), initializer=start, name="a")
        self.b = self.add_weight(shape=(rank, outputs), initializer="zeros", name="b")
        self.built = True

    def call(self, x):
        # The kernels are added first: the graph is smaller, and for layers as narrow as these also its work.
        y = keras.ops.matmul(x, self.dense.kernel + self.scale * (self.a @ self.b))
        return y if self.dense.bias is None else y + self.dense.bias


def log_probabilities(model: Callable, tokens: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Return log p(answer | question), summed over the masked tokens, (N,).

    Args:
        model: tokens (N, T) → (logits (N, T, V), anything).
        tokens: (N, T).
        mask: (N, T), 1 where a token counts; it is predicted at the position before it.
    """
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tokens[:, 1:], model(tokens[:, :-1])[0])
    return -tf.reduce_sum(losses * mask[:, 1:], 1)


def adapted(model: Llama, rank: int = 8, alpha: float = 16.0) -> Llama:
    """Return a copy of a model with an adapter at each dense layer of each block; only adapters are trainable."""
    copy, seed = Llama(model.config), 0
    copy.set_weights(model.get_weights())
    for weight in copy.weights:
        weight.trainable = False
    for block in copy.blocks:
        for part, names in (
            (block.attention, ("query", "key", "value", "out")),
            (block.feed_forward, ("gate", "up", "down")),
        ):
            for name in names:
                setattr(part, name, Lora(getattr(part, name), rank, alpha, seed))
                seed += 1
    return copy


def dpo(
    model: Llama,
    chosen: tuple[np.ndarray, np.ndarray],
    rejected: tuple[np.ndarray, np.ndarray],
    *,
    beta: float = 0.1,
    sft: float = 1.0,
    steps: int = 60,
    batch: int = 32,
    rate: float = 1e-3,
    rank: int = 8,
    seed: int = 0,
) -> tuple[Llama, np.ndarray]:
    """Teach a copy of a model to prefer one answer to another.

    The loss is -log sigma(beta (chosen - rejected)), where each is log p minus that of ``model`` itself, plus
    ``sft`` times the mean over the rows of -log p(chosen) per token.

    Args:
        model: the start, and the reference.
        chosen: tokens and mask, each (N, T).
        rejected: the same for the other answers to the same questions.
        beta: of DPO.
        sft: weight of the second term.
        steps: of Adam.
        batch: pairs a step, drawn with replacement.
        rate: of Adam.
        rank: of the adapters, whose alpha is 16.
        seed: of the drawing.

    Returns:
        The model with adapters, and (steps, 3): DPO's term, mean change of log p(chosen) and of log p(rejected).
    """
    tuned, student = adapted(model, rank), _Student(model.config, rank)
    student.start(tuned, rate)
    # Chosen, rejected, chosen, ...: (2 N, T), without the positions that are empty in all rows.
    tokens, masks = (
        np.stack(parts, 1).reshape(-1, parts[0].shape[1]) for parts in zip(chosen, rejected, strict=True)
    )
    end = tokens.any(0).nonzero()[0][-1] + 1
    tokens, masks = tokens[:, :end], masks[:, :end]
    reference = log_probabilities(model, tokens, masks).numpy()
    random, history = np.random.default_rng(seed), []
    for _ in range(steps):
        pairs = random.integers(0, len(chosen[0]), batch)
        rows = np.stack([2 * pairs, 2 * pairs + 1], 1).ravel()
        history.append(student.step(tokens[rows], masks[rows], reference[rows], beta, sft).numpy())
    tuned.set_weights(student.model.get_weights())
    return tuned, np.array(history)


@functools.cache
class _Student:
    """Learns in place of all models of one size, so that the graph of a step is made once for all their trainings."""

    def __init__(self, config: Config, rank: int):
        self.model, self.optimizer = adapted(Llama(config), rank), optimizers.Adam()
        self.optimizer.build(self.model.trainable_variables)

    def start(self, model: Llama, rate: float) -> None:
        """Become ``model``, with nothing learnt yet."""
        self.model.set_weights(model.get_weights())
        for variable in self.optimizer.variables:
            variable.assign(tf.zeros_like(variable))
        self.optimizer.learning_rate = rate

    @tf.function(
        input_signature=[  # One graph for rows of any length and for all betas.
            tf.TensorSpec((None, None), tf.int32),
            tf.TensorSpec((None, None)),
            tf.TensorSpec((None,)),
            tf.TensorSpec(()),
            tf.TensorSpec(()),
        ],
        autograph=False,
    )
    def step(self, tokens, masks, reference, beta, sft):
        with tf.GradientTape() as tape:
            now = log_probabilities(self.model, tokens, masks)
            change = tf.reshape(now - reference, (-1, 2))
            preference = tf.reduce_mean(tf.nn.softplus(-beta * (change[:, 0] - change[:, 1])))
            loss = preference - sft * tf.reduce_mean(now[::2] / tf.reduce_sum(masks[::2], 1))
        variables = self.model.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        return tf.concat([[preference], tf.reduce_mean(change, 0)], 0)
