"""Pretrains the small backbone of practice 5.2: ``python tools/train_backbone.py [--check]``.

``tf_study/data/embedded/backbone/objects.npz`` comes from the network that the practice's own cells define, with a head
for ten classes: twelve epochs on the 4,000 drawings of CIFAR-10, batches of 64, Adam with a cosine schedule from 0.003,
seed 42. Weights are float16. With ``--check`` nothing is trained: the accuracy that ``tf_study/data/README.md`` quotes
is printed.
"""

import argparse
import zipfile
from pathlib import Path

import keras
import nbformat
import numpy as np
from npz import write_npz

from tf_study import data
from tf_study.data import store
from tf_study.environment import seed_everything

PRACTICE = (
    Path(__file__)
    .parents[1]
    .joinpath("chapter05_computer_vision", "practice", "solutions", "ex02_transfer_learning_flowers.ipynb")
)
FILE = store.FOLDER / "backbone" / "objects.npz"
DEFINITION = "def small_backbone"  # in the cell that defines the network
EPOCHS, BATCH, RATE = 12, 64, 3e-3


def network() -> keras.Model:
    """Return the practice's backbone with a head for the ten classes."""
    cells = [cell.source for cell in nbformat.read(PRACTICE, 4).cells if cell.cell_type == "code"]
    practice = {"keras": keras, "layers": keras.layers}
    exec(next(source for source in cells if DEFINITION in source), practice)
    layers = [practice["small_backbone"](), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10)]
    return keras.Sequential(layers)


def train() -> None:
    """Train the network and write the file."""
    seed_everything(42)
    (pictures, labels), _ = data.cifar10()
    source = network()
    rate = keras.optimizers.schedules.CosineDecay(RATE, EPOCHS * -(-len(pictures) // BATCH))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    source.compile(keras.optimizers.Adam(rate), loss)
    source.fit(pictures.astype("float32"), labels.ravel(), batch_size=BATCH, epochs=EPOCHS, verbose=2)
    weights = {f"w{index}": weight.astype(np.float16) for index, weight in enumerate(source.get_weights())}
    FILE.parent.mkdir(exist_ok=True)
    write_npz(FILE, zipfile.ZIP_STORED, **weights)
    store.write_manifest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="measure the stored weights, train nothing")
    if not parser.parse_args().check:
        train()
    trained = network()
    trained.set_weights(data.small_backbone())
    pictures, labels = data.cifar10()[1]
    logits = trained.predict(pictures.astype("float32"), verbose=0)
    print(f"accuracy on {len(labels)} test pictures {np.mean(logits.argmax(1) == labels.ravel()):.3f}")
