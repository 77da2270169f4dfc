"""Training by flow matching that goes on after an interruption as if there had been none.

What a step draws (rows, times, noise, hidden labels) follows from the seed and the step's number alone, and everything
else that it changes is in one file, ``state.npz``, put in place whole: the weights, their average, the optimizer and
the losses so far.
"""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from diffusion_image_gen import storage
from diffusion_image_gen.pictures import Pictures
from diffusion_image_gen.sampling import Painter
from diffusion_image_gen.settings import Settings, Wish
from tf_study import model_folder, optimizers
from tf_study import pictures as files
from tf_study.devices import strategy_for
from tf_study.diffusion import TIME_SCALE
from tf_study.environment import seed_everything
from tf_study.errors import StudyError
from tf_study.models.unet import UNet

SHEETS = "sheets"
SHEET = Wish("dpm", 12, 2.0)  # how the sheets are drawn while the model learns
SHEET_ROWS, SHEET_COLUMNS = 10, 8  # classes at most, and pictures of each

Report = Callable[[str], None]


def check_output(output: Path, settings: Settings, pictures: Pictures) -> None:
    """Refuse an output folder that training would spoil.

    Raises:
        StudyError: if it holds a finished model, or an unfinished run with other settings or pictures.
    """
    model_folder.check_output(output, settings.as_json(), pictures.fingerprint(), "그림이")


def clear(output: Path) -> None:
    """Forget an earlier training in an output folder, finished or not."""
    for name in (model_folder.CARD, model_folder.STATE, storage.WEIGHTS, storage.JUDGE):
        (output / name).unlink(missing_ok=True)
    shutil.rmtree(output / SHEETS, ignore_errors=True)


class Trainer:
    """The state of a run, and the step that changes it.

    Attributes:
        model: that learns, in the strategy's scope; ``average``: the one that draws.
        losses: of every step so far.
    """

    def __init__(self, pictures: Pictures, settings: Settings):
        self.strategy = strategy_for(settings.devices)
        seed_everything(settings.seed)
        self.settings, self.pictures = settings, pictures
        shape = (settings.widths, len(pictures.classes), pictures.channels)
        with self.strategy.scope():
            self.model = _build(shape, "mixed_bfloat16" if settings.mixed else "float32")
            warm = max(1, settings.steps // 80)
            rate = keras.optimizers.schedules.CosineDecay(
                0.0, settings.steps, warmup_target=settings.rate, warmup_steps=warm
            )
            self.optimizer = optimizers.Adam(rate, beta_2=0.99)
            self.optimizer.build(self.model.trainable_variables)
        self.average = _build(shape, "float32")
        self.average.set_weights(self.model.get_weights())
        self.painter = Painter(self.average, settings.side, pictures.classes)
        self.losses: list[float] = []
        with tf.device("CPU:0"):  # Only a batch at a time goes to the devices.
            self.clean, self.labels = tf.constant(pictures.train), tf.constant(pictures.labels)
        self._step = tf.function(self._all_devices, autograph=False)

    @property
    def variables(self) -> list:
        """Everything that a step changes, in a fixed order."""
        return [*self.model.variables, *self.average.variables, *self.optimizer.variables]

    def step(self) -> float:
        """Take one step and return its loss, of the batch before the step."""
        self.losses.append(float(self._step(tf.constant(len(self.losses)))))
        return self.losses[-1]

    def _all_devices(self, number):
        loss = self.strategy.run(self._one_device, (number,))
        loss = self.strategy.reduce(tf.distribute.ReduceOp.SUM, loss, axis=None)
        count = tf.cast(number, tf.float32)
        decay = tf.minimum(
            self.settings.decay, (1 + count) / (10 + count)
        )  # The first steps are soon forgotten.
        for mean, value in zip(self.average.trainable_variables, self.model.trainable_variables, strict=True):
            mean.assign(decay * mean + (1 - decay) * value)
        return loss

    def _one_device(self, number):
        """Draw the whole batch, learn from this device's share, and return its part of the mean loss."""
        batch, classes = self.settings.batch, len(self.pictures.classes)
        place = tf.distribute.get_replica_context().replica_id_in_sync_group
        share = batch // self.settings.devices

        def mine(values):
            return values[place * share : (place + 1) * share]

        def uniform(index, **options):
            seed = (4 * self.settings.seed + index, number)
            return mine(tf.random.stateless_uniform((batch,), seed, alg="philox", **options))

        rows = uniform(0, maxval=len(self.pictures.labels), dtype=tf.int32)
        with tf.device("CPU:0"):
            clean, label = tf.gather(self.clean, rows), tf.gather(self.labels, rows)
        label = tf.where(uniform(1) < self.settings.drop, classes, label)
        time = uniform(2)
        seed = (4 * self.settings.seed + 3, number)
        noise = mine(tf.random.stateless_normal((batch, *self.clean.shape[1:]), seed, alg="philox"))
        part = time[:, None, None, None]
        with tf.GradientTape() as tape:
            guess = self.model((1 - part) * clean + part * noise, time=TIME_SCALE * time, label=label)
            errors = tf.reduce_mean((tf.cast(guess, tf.float32) - (noise - clean)) ** 2, (1, 2, 3))
            loss = tf.reduce_sum(errors) / batch
        # The optimizer adds up the devices' gradients.
        self.optimizer.apply(
            tape.gradient(loss, self.model.trainable_variables), self.model.trainable_variables
        )
        return loss

    def save(self, path: Path) -> None:
        """Write the run's state in one step."""
        about = {"settings": self.settings.as_json(), "fingerprint": self.pictures.fingerprint()}
        values = (np.asarray(variable) for variable in self.variables)
        model_folder.write_npz(path, values, about=json.dumps(about), losses=np.array(self.losses))

    def load(self, path: Path) -> None:
        """Go on from a saved state.

        Raises:
            StudyError: if the file is damaged.
        """
        try:
            with np.load(path) as file:
                model_folder.assign(self.variables, (file[f"w{i}"] for i in range(len(self.variables))))
                self.losses = file["losses"].tolist()
        except model_folder.DAMAGED:
            raise model_folder.damaged(path) from None

    def sheet(self):
        """Return pictures of the average so far, a class a row; the same noise every time."""
        classes = np.arange(min(SHEET_ROWS, len(self.pictures.classes)))
        labels = np.repeat(classes, SHEET_COLUMNS)
        return files.grid(self.painter.draw(labels, list(range(len(labels))), SHEET), SHEET_COLUMNS)


def train(pictures: Pictures, output: Path, settings: Settings, report: Report = print) -> dict:
    """Train, or go on with an interrupted training, and write the finished model.

    Args:
        pictures: of ``settings.side`` pixels.
        output: folder of the model, made when missing; checked by :func:`check_output`.
        report: called with each line of progress.

    Returns:
        The card, as :func:`storage.read_card` reads it.

    Raises:
        StudyError: if the loss is no longer a number, or a file cannot be read or written.
    """
    trainer = Trainer(pictures, settings)
    if (output / model_folder.STATE).exists():
        trainer.load(output / model_folder.STATE)
        report(f"중단한 학습을 잇습니다. 마친 스텝: {len(trainer.losses)}")
    while (done := len(trainer.losses)) < settings.steps:
        goal = min(settings.steps, done + settings.every - done % settings.every)
        for _ in range(goal - done):
            if not math.isfinite(trainer.step()):
                raise StudyError("손실이 수가 아니게 되었으니 --rate를 줄이고 --restart로 다시 학습하세요.")
        sheet = output / SHEETS / f"{goal:06d}.png"
        files.write(sheet, files.png(trainer.sheet()))
        trainer.save(output / model_folder.STATE)
        report(f"[{goal}/{settings.steps}] 손실 {np.mean(trainer.losses[done:]):.4f}  그림 {sheet}")
    return _finish(trainer, output)


def _finish(trainer: Trainer, output: Path) -> dict:
    """Write the average, the card last, and remove what was for resuming."""
    settings, pictures = trainer.settings, trainer.pictures
    model_folder.write_npz(
        output / storage.WEIGHTS, (np.asarray(value) for value in trainer.average.variables)
    )
    blocks = range(0, len(trainer.losses), settings.every)
    storage.write_card(
        output,
        {
            "classes": list(pictures.classes),
            "side": settings.side,
            "channels": pictures.channels,
            "widths": list(settings.widths),
            "data": pictures.source,
            "settings": settings.as_json(),
            "losses": [float(np.mean(trainer.losses[begin : begin + settings.every])) for begin in blocks],
        },
    )
    (output / model_folder.STATE).unlink()
    return storage.read_card(output)


def _build(shape: tuple, policy: str) -> UNet:
    """Return a UNet whose layers compute under a policy; the policy of what is made later stays as it is."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        return UNet(*shape)
    finally:
        keras.config.set_dtype_policy(before)
