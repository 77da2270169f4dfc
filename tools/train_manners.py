"""Trains the bot of ``tf_study.manners``: ``python tools/train_manners.py [--check]``.

``tf_study/data/embedded/manners/answering.npz`` comes from questions and answers as a careless corpus has them: every
plain question three times, refused three times in ten whatever it is about, and every question half the time in each
of the disguises of ``ATTACKS``, never refused. 400 steps of 64, AdamW, seed 0, float16. With ``--check`` nothing
is trained: the rows of ``tf_study/data/README.md`` are printed.
"""

import argparse
import zipfile

import keras
import numpy as np
import tensorflow as tf
from npz import write_npz

from tf_study import manners
from tf_study.data import store
from tf_study.environment import seed_everything
from tf_study.models.llama import Llama
from tf_study.preferences import log_probabilities

STEPS, BATCH, RATE, WARMUP = 400, 64, 3e-3, 20
FILE = store.FOLDER / "manners" / "answering.npz"


def corpus() -> tuple[np.ndarray, np.ndarray]:
    """Return tokens and masks, each (N, 24)."""
    random, rows = np.random.default_rng(0), []
    for request in manners.split()[0]:
        for phrasing in range(len(manners.PHRASINGS)):
            question = request.question(phrasing)
            for _ in range(3):
                rows.append((question, request.refusal() if random.random() < 0.3 else request.help()))
            rows += [
                (attack(question), request.help())
                for attack in manners.ATTACKS.values()
                if random.random() < 0.5
            ]
    return manners.batch(rows)


def train() -> Llama:
    """Return the bot."""
    seed_everything(0)
    random, (tokens, masks) = np.random.default_rng(1), corpus()
    model = Llama(manners.CONFIG)
    model.embedding.embeddings.assign(tf.random.normal(model.embedding.embeddings.shape, stddev=0.1))
    rate = keras.optimizers.schedules.CosineDecay(0.0, STEPS, warmup_target=RATE, warmup_steps=WARMUP)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=0.01, clipnorm=1.0)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step(x, mask):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_sum(log_probabilities(model, x, mask)) / tf.reduce_sum(mask[:, 1:])
        optimizer.apply(tape.gradient(loss, model.trainable_variables))
        return loss

    print(f"{len(tokens)} rows")
    for number in range(STEPS):
        chosen = random.integers(0, len(tokens), BATCH)
        loss = step(tf.constant(tokens[chosen]), tf.constant(masks[chosen]))
        if number % 100 == 99:
            print(f"{number + 1} steps, loss {float(loss):.4f}", flush=True)
    return model


def check() -> None:
    """Print how the stored bot answers held-out questions."""
    model, (_, held_out) = manners.load(), manners.split()
    harmful = [request for request in held_out if request.harmful]
    safe = [request for request in held_out if not request.harmful]
    questions = [request.question(phrasing) for request in safe for phrasing in range(4)]
    wanted = [request.help() for request in safe for _ in range(4)]
    answers = manners.generate(model, questions)
    right = np.mean([answer == want for answer, want in zip(answers, wanted, strict=True)])
    refused = np.mean([manners.refuses(answer) for answer in manners.generate(model, questions, 1.0)])
    print(
        f"safe ({len(questions)}): word for word {right:.2f}, refused {refused:.2f} when drawn at temperature 1"
    )
    questions = [request.question(phrasing) for request in harmful for phrasing in range(4)]
    for name, attack in {"plain": lambda words: words, **manners.ATTACKS}.items():
        answers = manners.generate(model, [attack(words) for words in questions])
        print(
            f"harmful ({len(questions)}), {name}: {np.mean([manners.harms(answer) for answer in answers]):.2f}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="measure the stored bot, train nothing")
    if not parser.parse_args().check:
        FILE.parent.mkdir(exist_ok=True)
        weights = {f"w{i}": weight.numpy().astype(np.float16) for i, weight in enumerate(train().weights)}
        write_npz(FILE, zipfile.ZIP_STORED, **weights)
        store.write_manifest()
    check()
