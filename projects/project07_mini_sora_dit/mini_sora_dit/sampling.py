"""Drawing: one loop for both solvers, one clip for every seed, and clips longer than the network's own.

The flow's velocity is integrated from noise (t = 0) to the clip (t = 1). Euler's method and the two-step method of
Adams and Bashforth add the same things with other weights, which :func:`plan` writes down: the noisy latent, the
velocity, and the velocity one step earlier.

What is known of a clip, its first frame or the end of the piece before it, is put on the path from its noise to its
latent at every step, and stays as it is. A clip that is longer than the network's own is drawn in pieces, each of which
begins with the last :data:`OVERLAP` frames of the one before.

A clip's noise comes from its own seed, and the networks always see :data:`ROWS` clips: so a seed gives the same bits
alone or among others where oneDNN computes (TensorFlow's default on x86); elsewhere the last bits may differ.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from mini_sora_dit.settings import Wish
from tf_study import cli, video
from tf_study.diffusion import TIME_SCALE
from tf_study.errors import StudyError
from tf_study.models.causal_vae import SPACE, TIME, CausalAutoencoder
from tf_study.models.video_dit import VideoDiT

ROWS = 4  # clips that the networks see at a time
START = 3  # number of the first piece's noise, as in tf_study.video; later pieces count on
KNOWN = 2  # latent frames that a piece takes over, which are
OVERLAP = TIME * (KNOWN - 1) + 1  # frames
NOW, AFTER, FORWARD, BEFORE = range(4)  # columns of a plan


def plan(solver: str, steps: int) -> np.ndarray:
    """Return one row a step, float32 (steps, 4): its times, and the weights of the velocity and of the one before."""
    times = np.linspace(0, 1, steps + 1)
    rows = np.zeros((steps, 4))
    rows[:, NOW], rows[:, AFTER], rows[:, FORWARD] = times[:-1], times[1:], 1 / steps
    if solver == "adams":  # There is no velocity before the first.
        rows[1:, FORWARD], rows[1:, BEFORE] = 1.5 / steps, -0.5 / steps
    return rows.astype(np.float32)


class Moment(NamedTuple):
    """A drawing after a step: ``done`` (B, n, H, W, C) frames of pieces that are finished, and ``latent``, the guess
    of the piece under way, whose first ``overlap`` frames ``done`` has already.
    """

    step: int
    steps: int
    done: np.ndarray
    latent: np.ndarray
    overlap: int


class Animator:
    """Draws clips with a transformer and an autoencoder; may be used from several threads.

    Args:
        model, autoencoder: as in ``tf_study.video``.
        classes, directions: names of the labels; no directions if the model knows none.

    Attributes:
        steps: :meth:`step` as a graph, by whether it is guided.
    """

    def __init__(
        self,
        model: VideoDiT,
        autoencoder: CausalAutoencoder,
        classes: Sequence[str],
        directions: Sequence[str] = (),
    ):
        self.model, self.autoencoder = model, autoencoder
        self.classes, self.directions = tuple(classes), tuple(directions)
        self.shape = (*model.grid, model.latent)
        self.frames, self.side = TIME * (model.grid[0] - 1) + 1, SPACE * model.grid[1]
        latent, ids = tf.TensorSpec((ROWS, *self.shape), tf.float32), tf.TensorSpec((ROWS,), tf.int32)
        labels = tf.TensorSpec((ROWS, len(model.labels)), tf.int32)
        number, real = tf.TensorSpec((), tf.int32), tf.TensorSpec((), tf.float32)
        row = tf.TensorSpec((4,), tf.float32)
        clip = tf.TensorSpec((ROWS, None, self.side, self.side, autoencoder.channels), tf.float32)

        def compiled(guided):
            def step(x, before, noise, context, known, labels, row, guidance):
                return self.step(x, before, noise, context, known, labels, row, guidance if guided else None)

            signature = (latent, latent, latent, latent, number, labels, row, real)
            return tf.function(step, input_signature=signature, autograph=False)

        self.steps = {guided: compiled(guided) for guided in (False, True)}
        self._noise = tf.function(self.noise, input_signature=(ids, number), autograph=False)
        self._encode = tf.function(self.encode, input_signature=(clip,), autograph=False)
        self._decode = tf.function(autoencoder.decode, input_signature=(latent,), autograph=False)

    def label(self, name: str, direction: str = "") -> list[int]:
        """Return the labels of a class and, for a model that knows directions, of a direction.

        Raises:
            StudyError: if the model does not know them.
        """
        if name not in self.classes:
            raise StudyError(f"클래스 {name!r}은(는) 모르니 {', '.join(self.classes)} 가운데 고르세요.")
        if direction and not self.directions:
            raise StudyError("이 모델은 방향을 모르니 방향을 빼세요.")
        if self.directions and direction not in self.directions:
            raise StudyError(f"방향 {direction!r}은(는) 모르니 {', '.join(self.directions)} 가운데 고르세요.")
        return [self.classes.index(name), *([self.directions.index(direction)] if direction else [])]

    def noise(self, seeds: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        """Return normal noise (B, T, h, w, Z), the ``number``-th of every clip's seed."""

        def draw(seed):
            return tf.random.stateless_normal(self.shape, tf.stack([number, seed]), alg="philox")

        return tf.map_fn(draw, seeds, fn_output_signature=tf.TensorSpec(self.shape, tf.float32))

    def encode(self, frames: tf.Tensor) -> tf.Tensor:
        """Return the latent of a clip's first frames (B, n, H, W, C), filled up with zeros to a whole piece."""
        latent = self.autoencoder.encode(frames)
        rest = self.shape[0] - tf.shape(latent)[1]
        return tf.pad(latent, [(0, 0), (0, rest), (0, 0), (0, 0), (0, 0)])

    def velocity(self, x, time, labels, first, known, guidance=None):
        """Return the network's guess of latent - noise at one time; guided if ``guidance`` is not None."""
        times, known = tf.fill(tf.shape(labels)[:1], TIME_SCALE * time), tf.fill(tf.shape(labels)[:1], known)
        if guidance is None:
            return self.model(x, time=times, labels=labels, first=first, known=known)
        none = tf.zeros_like(labels) + tf.constant(self.model.labels)
        twice = [tf.concat([value, value], 0) for value in (x, times, first, known)]
        both = self.model(
            twice[0], time=twice[1], labels=tf.concat([labels, none], 0), first=twice[2], known=twice[3]
        )
        asked, unasked = tf.split(both, 2)
        return unasked + guidance * (asked - unasked)

    def step(self, x, before, noise, context, known, labels, row, guidance=None):
        """Return x, the velocity and the guess of the latent after the step that ``row`` of a plan describes.

        Args:
            before: the velocity of the step before.
            noise: with which x began.
            context, known: a latent whose first ``known`` frames the clip is to have.
        """
        given = tf.cast(known > 0, tf.float32)
        velocity = self.velocity(x, row[NOW], labels, context[:, 0], given, guidance)
        kept = tf.cast(tf.range(self.shape[0]) < known, tf.float32)[:, None, None, None]
        path = (1 - row[AFTER]) * noise + row[AFTER] * context
        after = x + row[FORWARD] * velocity + row[BEFORE] * before
        guess = tf.cond(row[AFTER] < 1, lambda: x + (1 - row[NOW]) * velocity, lambda: after)
        return kept * path + (1 - kept) * after, velocity, kept * context + (1 - kept) * guess

    def stream(
        self,
        labels: Sequence[Sequence[int]],
        seeds: Sequence[int],
        wish: Wish,
        first: np.ndarray | None = None,
    ) -> Iterator[Moment]:
        """Yield the drawing of one clip for each label and seed after each step.

        Args:
            first: pictures (B, H, W, C) with which the clips begin; ``None`` leaves it to the model.
        """
        labels = np.asarray(labels, np.int32).reshape(len(labels), len(self.model.labels))
        seeds = np.asarray([cli.check_seed(seed) for seed in seeds], np.int32)
        pieces, rows = self.pieces(wish), plan(wish.solver, wish.steps)
        done = np.zeros((len(labels), 0, self.side, self.side, self.autoencoder.channels), np.float32)
        context, known = (None, 0) if first is None else (np.asarray(first, np.float32)[:, None], 1)
        for piece in range(pieces):
            if piece:
                context, known = done[:, -OVERLAP:], KNOWN
                if self.directions:  # A wall may have turned it round.
                    labels = np.stack([labels[:, 0], video.direction(context)], 1)
            for number, latent in enumerate(self._piece(labels, seeds, piece, rows, wish, context, known)):
                step = piece * len(rows) + number + 1
                moment = Moment(step, pieces * len(rows), done, latent, OVERLAP if piece else 0)
                yield moment
            done = self.show(moment)

    def _piece(self, labels, seeds, piece, rows, wish, context, known) -> Iterator[np.ndarray]:
        """Yield the guess (B, T, h, w, Z) of a piece after each row of the plan."""
        count, step = len(labels), self.steps[wish.guidance != 1]
        if context is None:
            contexts = [tf.zeros((ROWS, *self.shape))] * -(-count // ROWS)
        else:
            contexts = [self._encode(part) for part in fill_rows(context)]
        groups = []
        for label, seed, context in zip(fill_rows(labels), fill_rows(seeds), contexts, strict=True):
            noise = self._noise(seed, START + piece)
            groups.append(((noise, tf.zeros_like(noise)), (noise, context, known, label)))
        for row in rows:
            steps = [(step(*state, *rest, row, np.float32(wish.guidance)), rest) for state, rest in groups]
            groups = [((x, velocity), rest) for (x, velocity, _), rest in steps]
            yield np.concatenate([guess for (_, _, guess), _ in steps])[:count]

    def pieces(self, wish: Wish) -> int:
        """Return in how many pieces a clip is drawn."""
        missing = (wish.frames or self.frames) - self.frames
        return 1 + max(0, -(-missing // (self.frames - OVERLAP)))

    def show(self, moment: Moment) -> np.ndarray:
        """Return all frames (B, n, H, W, C) of a drawing so far, from -1 to 1."""
        parts = [self._decode(part) for part in fill_rows(moment.latent)]
        frames = np.clip(np.concatenate(parts)[: len(moment.latent)], -1, 1)
        return np.concatenate([moment.done, frames[:, moment.overlap :]], 1)

    def draw(
        self,
        labels: Sequence[Sequence[int]],
        seeds: Sequence[int],
        wish: Wish,
        first: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return finished clips (B, frames, H, W, C) from -1 to 1; arguments as :meth:`stream`."""
        (last,) = deque(self.stream(labels, seeds, wish, first), maxlen=1)
        return self.show(last)[:, : wish.frames or self.frames]


def fill_rows(values: np.ndarray) -> np.ndarray:
    """Put values (B, ...) into rows (-1, ROWS, ...); the last one is filled up by repeating them."""
    rows = -(-len(values) // ROWS)
    return values[np.arange(rows * ROWS) % len(values)].reshape(rows, ROWS, *values.shape[1:])
