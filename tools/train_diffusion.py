"""Trains the checkpoints of ``tf_study.diffusion``: ``python tools/train_diffusion.py [--check | --only NAME]``.

From the embedded MNIST digits, averaged down to 14x14, come two files in ``tf_study/data/embedded/diffusion``:

- ``judge14.npz``: the classifier of ``diffusion.Judge``, 12 epochs;
- ``unet14.npz``: the exponential average of a class-conditional UNet's weights; flow matching with a tenth of the
  labels dropped, Adam with a cosine schedule, 8,000 steps of 32.

Weights are stored as float16. With ``--check`` nothing is trained: the stored checkpoints are measured, and the row of
``tf_study/data/README.md`` printed.
"""

import argparse
import time
import zipfile

import keras
import numpy as np
import tensorflow as tf
from npz import write_npz

from tf_study import diffusion
from tf_study.data import store
from tf_study.environment import seed_everything
from tf_study.models.unet import UNet

FOLDER = store.FOLDER / "diffusion"
STEPS, BATCH, RATE, DROP, DECAY = 8000, 32, 2e-3, 0.1, 0.999


def save(model: keras.Model, name: str) -> None:
    """Write the weights of a model, in their order, as float16."""
    FOLDER.mkdir(exist_ok=True)
    arrays = {f"w{i}": weight.numpy().astype(np.float16) for i, weight in enumerate(model.weights)}
    write_npz(FOLDER / f"{name}.npz", zipfile.ZIP_STORED, **arrays)


def classify(model: diffusion.Classifier, pictures, labels, epochs: int) -> diffusion.Classifier:
    """Teach a classifier the labels (N,) of pictures (N, side, side, 1), and return it."""
    model.compile(
        keras.optimizers.Adam(2e-3),
        loss=[None, keras.losses.SparseCategoricalCrossentropy(from_logits=True)],
    )
    model.fit(pictures, [np.zeros(len(labels)), labels], batch_size=128, epochs=epochs, verbose=0)
    return model


def adam(model: keras.Model, steps: int, rate: float, warmup: int, alpha: float = 0.0):
    """Return Adam, ready for a model, with a warm-up and a cosine schedule that ends at ``alpha`` of the rate."""
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=rate, warmup_steps=warmup, alpha=alpha
    )
    optimizer = keras.optimizers.Adam(schedule, beta_2=0.99)
    optimizer.build(model.trainable_variables)
    return optimizer


def follow(average: keras.Model, model: keras.Model, number: tf.Tensor, most: float) -> None:
    """Move the exponential average after step ``number``; the first steps are soon forgotten."""
    count = tf.cast(number, tf.float32)
    decay = tf.minimum(most, (1.0 + count) / (10.0 + count))
    for mean, value in zip(average.trainable_variables, model.trainable_variables, strict=True):
        mean.assign(decay * mean + (1 - decay) * value)


def run(step, steps: int) -> None:
    """Call ``step`` with 0, 1, ... and print the mean loss 20 times."""
    losses, every = [], max(1, steps // 20)
    for number in range(steps):
        losses.append(float(step(tf.constant(number))))
        if (number + 1) % every == 0:
            print(f"{number + 1} steps, loss {np.mean(losses[-every:]):.4f}", flush=True)


def train_judge() -> diffusion.Classifier:
    """Return a classifier of 14x14 digits, trained for 12 epochs."""
    seed_everything(1)
    (x, y), _ = diffusion.digits()
    return classify(diffusion.Classifier(), x, y, epochs=12)


def train_unet(steps: int = STEPS) -> UNet:
    """Return the averaged UNet after ``steps`` steps; prints the loss 20 times."""
    seed_everything(0)
    (pictures, labels), _ = diffusion.digits()
    pictures, labels = tf.constant(pictures), tf.constant(labels)
    model, average = UNet(), UNet()
    average.set_weights(model.get_weights())
    optimizer = adam(model, steps, RATE, warmup=steps // 80)

    @tf.function
    def step(number):
        def draw(index, shape=(BATCH,), **options):
            return tf.random.stateless_uniform(shape, (index, number), **options)

        rows = draw(1, minval=0, maxval=len(labels), dtype=tf.int32)
        clean = tf.gather(pictures, rows)
        label = tf.where(draw(2) < DROP, diffusion.CLASSES, tf.gather(labels, rows))
        t = draw(3)
        noise = tf.random.stateless_normal(tf.shape(clean), (4, number))
        part = t[:, None, None, None]
        with tf.GradientTape() as tape:
            velocity = model((1 - part) * clean + part * noise, time=diffusion.TIME_SCALE * t, label=label)
            loss = tf.reduce_mean((velocity - (noise - clean)) ** 2)
        optimizer.apply(tape.gradient(loss, model.trainable_variables))
        follow(average, model, number, DECAY)
        return loss

    run(step, steps)
    return average


def row(judge: diffusion.Judge, model: UNet) -> str:
    """Return what the checkpoint is worth: 400 pictures of 16 DDIM steps, at three guidances."""
    labels = np.repeat(np.arange(10, dtype=np.int32), 40)
    parts = [f"judge {judge.accuracy:.3f}, floor {judge.floor:.2f}"]
    for guidance in (1.0, 2.0, 3.0):
        scores = judge.score(diffusion.sample(model, labels, guidance=guidance), labels)
        parts.append(f"w={guidance:g} " + " ".join(f"{name} {value:.3f}" for name, value in scores.items()))
    return "; ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--check", action="store_true", help="measure the stored checkpoints, train nothing")
    parser.add_argument("--only", choices=("judge", "unet"), help="train one of the two")
    arguments = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    for name, train, file in (("judge", train_judge, "judge14"), ("unet", train_unet, "unet14")):
        if arguments.check or arguments.only not in (None, name):
            continue
        begin = time.process_time()
        save(train(), file)
        store.write_manifest()
        print(f"{name}: {(time.process_time() - begin) / 60:.1f} CPU minutes", flush=True)
    print(row(diffusion.Judge(), diffusion.load_unet()))


if __name__ == "__main__":
    main()
