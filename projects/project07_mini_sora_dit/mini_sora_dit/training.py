"""Training in two stages, autoencoder and transformer, that goes on after an interruption as if there had been none.

What a step draws (clips, times, noise, what is hidden) follows from the seed and the step's number alone, and everything
else that it changes is in one file, ``state.npz``, put in place whole: the networks' weights, their average, the
optimizer, and the reports so far.
"""

import json
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from mini_sora_dit import clips as films
from mini_sora_dit import evaluation, networks, storage
from mini_sora_dit.sampling import Animator
from mini_sora_dit.settings import Settings, Wish
from tf_study import model_folder, optimizers, video
from tf_study import pictures as files
from tf_study.devices import strategy_for
from tf_study.diffusion import TIME_SCALE
from tf_study.environment import quiet_stderr, seed_everything
from tf_study.errors import StudyError
from tf_study.models.causal_vae import CausalAutoencoder

SHEETS = "sheets"
SHEET = Wish("euler", 8, 2.0)  # how clips are drawn while the model learns
SHEET_ROWS, SEEN = 10, 40  # clips shown, and clips judged
NOISE, SIZE = 0.1, 1e-3  # added to the autoencoder's latents; weight of their squares in its loss
MEASURED = 512  # clips whose latents give mean and deviation
WARM = 40  # a step of so many goes to the warm-up of the learning rate
FLOOR = 0.02  # share of the learning rate at the end

Report = Callable[[str], None]
Data = films.Digits | films.Square | films.Films


def check_output(output: Path, settings: Settings, data: Data) -> None:
    """Refuse an output folder that training would spoil.

    Raises:
        StudyError: if it holds a finished model, or an unfinished run with other settings or clips.
    """
    model_folder.check_output(output, settings.as_json(), data.fingerprint(), "영상이")


def clear(output: Path) -> None:
    """Forget an earlier training in an output folder, finished or not."""
    for name in (model_folder.CARD, model_folder.STATE, storage.AUTOENCODER, storage.TRANSFORMER):
        (output / name).unlink(missing_ok=True)
    shutil.rmtree(output / SHEETS, ignore_errors=True)


class Stage:
    """A network that learns: its state, and the step that changes it.

    Attributes:
        name: in the state's file; title: in reports.
        model: that learns, in the strategy's scope. losses: of every step so far.
    """

    name, title, number = "", "", 0

    def __init__(self, data: Data, settings: Settings, steps: int, batch: int, rate: float):
        self.strategy = strategy_for(settings.devices)
        seed_everything(settings.seed)
        self.data, self.settings, self.steps, self.batch = data, settings, steps, batch
        self.card = storage.describe(data, settings)
        with self.strategy.scope():
            self.model = self.build()
            schedule = keras.optimizers.schedules.CosineDecay(
                0.0, steps, alpha=FLOOR, warmup_target=rate, warmup_steps=max(1, steps // WARM)
            )
            self.optimizer = optimizers.Adam(schedule, beta_2=0.99)
            self.optimizer.build(self.model.trainable_variables)
        self.losses: list[float] = []
        self._step, self._traced = tf.function(self._all_devices, autograph=False), False

    @property
    def variables(self) -> list:
        """Everything that a step changes, in a fixed order."""
        return [*self.model.variables, *self.optimizer.variables]

    def build(self) -> keras.Model:
        """Return the network, not yet trained."""
        raise NotImplementedError

    def loss(self, clip: tf.Tensor, labels: tf.Tensor, draw: Callable) -> tf.Tensor:
        """Return the mean loss of this device's clips; ``draw`` gives its share of random numbers."""
        raise NotImplementedError

    def follow(self, number: tf.Tensor) -> None:
        """Do what is to be done after a step's update."""

    def step(self) -> float:
        """Take one step and return its loss, of the batch before the step."""
        number = tf.constant(len(self.losses))
        if self._traced:
            loss = self._step(number)
        else:
            with quiet_stderr():  # TensorFlow reports that it could not merge padding and convolution.
                loss, self._traced = self._step(number), True
        self.losses.append(float(loss))
        return self.losses[-1]

    def _all_devices(self, number):
        loss = self.strategy.run(self._one_device, (number,))
        self.follow(number)
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, loss, axis=None)

    def _one_device(self, number):
        """Draw the whole batch, learn from this device's share, and return its part of the mean loss."""
        place = tf.distribute.get_replica_context().replica_id_in_sync_group
        share = self.batch // self.settings.devices
        run = (
            2 * self.settings.seed + self.number
        ) % 2**31  # Neither the other stage's numbers nor another seed's.

        def mine(values):
            return values[place * share : (place + 1) * share]

        def draw(kind, shape=(), normal=False):
            make = tf.random.stateless_normal if normal else tf.random.stateless_uniform
            return mine(make((self.batch, *shape), tf.stack([run, 4 * number + kind]), alg="philox"))

        clip, labels = self.data.batch(number + 10_000_019 * run % 2**30, self.batch)
        with tf.GradientTape() as tape:
            loss = self.loss(mine(clip), mine(labels), draw) / self.settings.devices
        variables = self.model.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)  # It adds up the devices' gradients.
        return loss

    def save(self, path: Path, progress: list, extra: list) -> None:
        """Write the run's state in one step; ``extra`` are variables that this stage only reads."""
        about = {
            "settings": self.settings.as_json(),
            "fingerprint": self.data.fingerprint(),
            "stage": self.name,
            "progress": progress,
        }
        values = (np.asarray(variable) for variable in [*self.variables, *extra])
        model_folder.write_npz(path, values, about=json.dumps(about), losses=np.array(self.losses))

    def load(self, path: Path, extra: list) -> None:
        """Go on from a saved state.

        Raises:
            StudyError: if the file is damaged.
        """
        variables = [*self.variables, *extra]
        try:
            with np.load(path) as file:
                model_folder.assign(variables, (file[f"w{i}"] for i in range(len(variables))))
                self.losses = file["losses"].tolist()
        except model_folder.DAMAGED:
            raise model_folder.damaged(path) from None


class AutoencoderStage(Stage):
    """Learns to give clips back from noisy latents."""

    name, title, number = "autoencoder", "오토인코더", 0

    def __init__(self, data: Data, settings: Settings):
        rate = settings.autoencoder_rate
        super().__init__(data, settings, settings.autoencoder_steps, settings.autoencoder_batch, rate)

    def build(self) -> CausalAutoencoder:
        return networks.autoencoder(self.card)

    def loss(self, clip, labels, draw):
        latent = self.model.encode(clip)
        noisy = latent + NOISE * draw(0, tuple(latent.shape[1:]), normal=True)
        return tf.reduce_mean((self.model.decode(noisy) - clip) ** 2) + SIZE * tf.reduce_mean(latent**2)

    def measure(self) -> None:
        """Let the latents of training clips have mean 0 and deviation 1 from now on."""
        parts = [self.data.batch(tf.constant(-1 - part), 64)[0] for part in range(MEASURED // 64)]
        latent = np.concatenate([self.model.encode(part) for part in parts]).reshape(-1, self.model.latent)
        self.model.mean.assign(latent.mean(0))
        self.model.deviation.assign(latent.std(0) + 1e-6)

    def look(self) -> tuple[dict, np.ndarray]:
        """Return what clips that are given back are worth, and some of them below the true ones (N, T, H, W, C)."""
        real, _ = self.data.held_out(SEEN)
        again = np.clip(self.model(real), -1, 1)
        pairs = np.stack([real, again], 1)[: SHEET_ROWS // 2].reshape(-1, *real.shape[1:])
        return {"psnr": evaluation.psnr(again, real)}, pairs


class TransformerStage(Stage):
    """Learns the velocity from noise to latents.

    Args:
        autoencoder: finished.
    """

    name, title, number = "transformer", "트랜스포머", 1

    def __init__(self, data: Data, settings: Settings, autoencoder: CausalAutoencoder):
        super().__init__(data, settings, settings.steps, settings.batch, settings.rate)
        self.autoencoder = autoencoder
        self.average = self.build()
        self.average.set_weights(self.model.get_weights())
        self.animator = Animator(self.average, autoencoder, data.classes, data.directions)

    @property
    def variables(self) -> list:
        return [*super().variables, *self.average.variables]

    def build(self) -> keras.Model:
        return networks.transformer(self.card)

    def loss(self, clip, labels, draw):
        clean = self.autoencoder.encode(clip)
        labels = tf.where(draw(0)[:, None] < self.settings.drop, tf.constant(self.model.labels), labels)
        known = tf.cast(draw(1) < self.settings.given, tf.float32)
        t, noise = draw(2), draw(3, tuple(clean.shape[1:]), normal=True)
        return tf.reduce_mean(flow_errors(self.model, clean, labels, known, t, noise))

    def follow(self, number):
        count = tf.cast(number, tf.float32)
        decay = tf.minimum(
            self.settings.decay, (1 + count) / (10 + count)
        )  # The first steps are soon forgotten.
        for mean, value in zip(self.average.trainable_variables, self.model.trainable_variables, strict=True):
            mean.assign(decay * mean + (1 - decay) * value)

    def look(self) -> tuple[dict, np.ndarray]:
        """Return what clips of the average are worth, and some of them; the same noise every time."""
        rows = np.arange(SEEN)
        labels = np.stack([rows % len(self.data.classes), rows // 10 % 4], 1)[:, : len(self.model.labels)]
        drawn = self.animator.draw(labels, rows, SHEET)
        return evaluation.score(self.data, drawn, labels), drawn[:SHEET_ROWS]


def flow_errors(model, clean, labels, known, t, noise) -> tf.Tensor:
    """Return the squared errors of the velocity (B, T, h, w, Z) at times t (B,) between noise and clean latents."""
    part = t[:, None, None, None, None]
    x = (1 - part) * noise + part * clean
    velocity = model(x, time=TIME_SCALE * t, labels=labels, first=clean[:, 0], known=known)
    return (velocity - (clean - noise)) ** 2


def train(data: Data, output: Path, settings: Settings, report: Report = print) -> dict:
    """Train both networks, or go on with an interrupted training, and write the finished model.

    Args:
        data: clips of ``settings.side`` pixels and ``settings.frames`` frames.
        output: folder of the model, made when missing; checked by :func:`check_output`.
        report: called with each line of progress.

    Returns:
        The card, as :func:`storage.read_card` reads it.

    Raises:
        StudyError: if the loss is no longer a number, or a file cannot be read or written.
    """
    state, resumed, progress = output / model_folder.STATE, None, []
    if state.exists():
        about = model_folder.read_about(state)
        resumed, progress = about["stage"], about["progress"]
    if not settings.autoencoder_steps:
        autoencoder = ready_autoencoder(data, settings)
    elif resumed == TransformerStage.name:
        autoencoder = networks.autoencoder(storage.describe(data, settings))
    else:
        stage = AutoencoderStage(data, settings)
        _run(stage, output, progress, [], resumed, report)
        stage.measure()
        autoencoder, resumed = networks.autoencoder(stage.card), None
        autoencoder.set_weights(stage.model.get_weights())
    stage = TransformerStage(data, settings, autoencoder)
    if resumed is None and settings.autoencoder_steps:
        stage.save(state, progress, autoencoder.variables)  # The first stage is done for good.
    _run(stage, output, progress, autoencoder.variables, resumed, report)
    model_folder.write_npz(output / storage.AUTOENCODER, map(np.asarray, autoencoder.weights))
    model_folder.write_npz(output / storage.TRANSFORMER, map(np.asarray, stage.average.weights))
    storage.write_card(output, {**stage.card, "settings": settings.as_json(), "progress": progress})
    state.unlink()
    return storage.read_card(output)


def ready_autoencoder(data: Data, settings: Settings) -> CausalAutoencoder:
    """Return the course's autoencoder.

    Raises:
        StudyError: if it is not for such clips.
    """
    usual = Settings()
    same = all(getattr(settings, name) == getattr(usual, name) for name in ("autoencoder_width", "latent"))
    if data.source != films.MNIST or data.side != usual.side or not same:
        raise StudyError(
            "저장소의 오토인코더는 한 변 16의 움직이는 숫자만 줄이니 --autoencoder-steps를 1 이상으로 주세요."
        )
    return video.load_autoencoder()


def _run(
    stage: Stage, output: Path, progress: list, extra: list, resumed: str | None, report: Report
) -> None:
    """Take a stage's steps that are left; look, save and report every so often."""
    if resumed:
        stage.load(output / model_folder.STATE, extra)
        report(f"중단한 학습을 잇습니다. {stage.title}에서 마친 스텝: {len(stage.losses)}")
    begin = time.process_time()
    while (done := len(stage.losses)) < stage.steps:
        goal = min(stage.steps, done + stage.settings.every - done % stage.settings.every)
        for _ in range(goal - done):
            if not math.isfinite(stage.step()):
                raise StudyError("손실이 수가 아니게 되었으니 학습률을 줄이고 --restart로 다시 학습하세요.")
        seconds = time.process_time() - begin
        scores, shown = stage.look()
        progress.append(
            {"stage": stage.name, "step": goal, "loss": float(np.mean(stage.losses[done:]))} | scores
        )
        sheet = output / SHEETS / f"{stage.name}_{goal:06d}.png"
        files.write(sheet, files.png(films.strips(shown)))
        stage.save(output / model_folder.STATE, progress, extra)
        told = "  ".join(f"{evaluation.NAMES[name]} {value:.3f}" for name, value in scores.items())
        report(
            f"[{stage.title} {goal}/{stage.steps}] 손실 {progress[-1]['loss']:.4f}  {told}  "
            f"CPU {seconds:.0f}초  그림 {sheet}"
        )
