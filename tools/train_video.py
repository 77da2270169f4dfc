"""Trains the checkpoints of ``tf_study.video``: ``python tools/train_video.py [--check | --only NAME ...]``.

From the embedded MNIST digits, averaged down to 10x10 and set in motion, come three files in
``tf_study/data/embedded/diffusion``:

- ``video_judge.npz``: the classifier of ``video.Judge``, on 30,000 windows, 3 epochs;
- ``video_autoencoder.npz``: 3,000 steps of 16 clips, squared error with noise on the latents;
- ``video_dit.npz``: flow matching on 8,000 encoded clips, 5,000 steps of 32, the exponential average of the weights;
  in a tenth of the clips the labels are left out, in a half the first frame is given.

Weights are stored as float16. With ``--check`` nothing is trained: the stored checkpoints are measured, and the rows of
``tf_study/data/README.md`` printed.
"""

import argparse
import time

import numpy as np
import tensorflow as tf
from train_diffusion import adam, classify, follow, run, save

from tf_study import diffusion, video
from tf_study.data import store
from tf_study.environment import seed_everything
from tf_study.models.causal_vae import CausalAutoencoder
from tf_study.models.video_dit import VideoDiT

AUTOENCODER_STEPS, AUTOENCODER_BATCH, AUTOENCODER_RATE, NOISE = 3000, 16, 3e-3, 0.1
STEPS, BATCH, RATE, DROP, GIVEN, DECAY, POOL = 5000, 32, 2e-3, 0.1, 0.5, 0.998, 16
ALPHA = 0.02  # share of the rate at which a schedule ends


def train_judge() -> diffusion.Classifier:
    """Return a classifier of 12x12 windows round moving digits."""
    seed_everything(1)
    parts = [video.clips(2500, seed=1000 + part, frames=2) for part in range(6)]
    windows = np.concatenate(
        [video.crops(part.pictures).reshape(-1, video.CROP, video.CROP, 1) for part in parts]
    )
    labels = np.concatenate([np.repeat(part.labels[:, 0], 2) for part in parts])
    return classify(diffusion.Classifier(video.CROP), windows, labels, epochs=3)


def train_autoencoder(steps: int = AUTOENCODER_STEPS) -> CausalAutoencoder:
    """Return an autoencoder whose latents have mean 0 and deviation 1 on training clips."""
    seed_everything(0)
    pictures, labels = map(tf.constant, video.digits())
    model = CausalAutoencoder()
    optimizer = adam(model, steps, AUTOENCODER_RATE, 100, ALPHA)

    @tf.function
    def step(number):
        clip, _, _ = video.draw(number, AUTOENCODER_BATCH, pictures, labels)
        with tf.GradientTape() as tape:
            latent = model.encode(clip)
            noisy = latent + NOISE * tf.random.stateless_normal(tf.shape(latent), (number, 9))
            loss = tf.reduce_mean((model.decode(noisy) - clip) ** 2)
            total = loss + 1e-3 * tf.reduce_mean(latent**2)
        optimizer.apply(tape.gradient(total, model.trainable_variables))
        return loss

    run(step, steps)
    latent = model.encode(video.clips(1000, seed=77).pictures).numpy().reshape(-1, model.latent)
    model.mean.assign(latent.mean(0))
    model.deviation.assign(latent.std(0))
    return model


def train_dit(steps: int = STEPS) -> VideoDiT:
    """Return the averaged transformer, trained on latents of the stored autoencoder."""
    seed_everything(0)
    autoencoder = video.load_autoencoder()
    parts = [video.clips(500, seed=50000 + part) for part in range(POOL)]
    latents = tf.concat([autoencoder.encode(part.pictures) for part in parts], 0)
    labels = tf.concat([part.labels for part in parts], 0)
    model, average = VideoDiT(), VideoDiT()
    average.set_weights(model.get_weights())
    optimizer = adam(model, steps, RATE, 200, ALPHA)
    none = tf.constant([model.labels])

    @tf.function
    def step(number):
        def random(kind, **options):
            return tf.random.stateless_uniform((BATCH,), (number, kind), **options)

        rows = random(4, minval=0, maxval=len(latents), dtype=tf.int32)
        clean = tf.gather(latents, rows)
        wanted = tf.where(random(5)[:, None] < DROP, none, tf.gather(labels, rows))
        known = tf.cast(random(8) < GIVEN, tf.float32)
        t = random(6)
        part = t[:, None, None, None, None]
        noise = tf.random.stateless_normal(tf.shape(clean), (number, 7))
        with tf.GradientTape() as tape:
            velocity = model(
                (1 - part) * noise + part * clean,
                time=diffusion.TIME_SCALE * t,
                labels=wanted,
                first=clean[:, 0],
                known=known,
            )
            loss = tf.reduce_mean((velocity - (clean - noise)) ** 2)
        optimizer.apply(tape.gradient(loss, model.trainable_variables))
        follow(average, model, number, DECAY)
        return loss

    run(step, steps)
    return average


def show(name: str, scores: dict[str, float]) -> None:
    """Print one row."""
    print(f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in scores.items()), flush=True)


def check() -> None:
    """Print what the stored checkpoints are worth: 300 test clips, and 120 sampled ones at three guidances."""
    judge, autoencoder = video.Judge(), video.load_autoencoder()
    real = video.clips(300, seed=77, test=True)
    again = np.clip(autoencoder(real.pictures), -1, 1)
    show("real test clips", judge.score(real.pictures, real.labels))
    order = np.random.default_rng(0)
    mixed = np.stack([clip[order.permutation(video.FRAMES)] for clip in real.pictures])
    show("frames shuffled", judge.score(mixed, real.labels))
    noise = np.mean((again - real.pictures) ** 2)
    show("reconstructed", {"PSNR": 10 * np.log10(4 / noise), **judge.score(again, real.labels)})
    model = video.load_dit()
    labels = np.stack([np.tile(np.arange(10), 12), np.repeat(np.arange(4), 30)], 1).astype(np.int32)
    for guidance in (1.0, 2.0, 4.0):
        clips = video.sample(model, autoencoder, labels, guidance=guidance)
        show(f"sampled, w={guidance:g}", judge.score(clips, labels))
    begun = real.pictures[:120, 0]
    clips = video.sample(model, autoencoder, real.labels[:120], first=begun)
    error = np.mean((clips[:, 0] - begun) ** 2)
    show(
        "begun by a picture, w=2", {"PSNR": 10 * np.log10(4 / error), **judge.score(clips, real.labels[:120])}
    )


PARTS = {
    "judge": (train_judge, "video_judge"),
    "autoencoder": (train_autoencoder, "video_autoencoder"),
    "dit": (train_dit, "video_dit"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--check", action="store_true", help="measure the stored checkpoints, train nothing")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS), help="train these")
    arguments = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    for name in () if arguments.check else arguments.only:
        train, file = PARTS[name]
        begin = time.process_time()
        save(train(), file)
        store.write_manifest()
        print(f"{name}: {(time.process_time() - begin) / 60:.1f} CPU minutes", flush=True)
    if arguments.check or "dit" in arguments.only:
        check()


if __name__ == "__main__":
    main()
