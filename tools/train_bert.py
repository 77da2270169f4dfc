"""Pretrains the small BERT of lecture 7.3: ``python tools/train_bert.py [--check]``.

``tf_study/data/embedded/bert/pretrained.npz`` comes from the lecture's own cells, run up to its pretraining with all 720
steps where the lecture stops after 90: the same texts, vocabulary, seed and schedule. Weights are float16. The
stored file's validation losses are 120 steps apart, from when the lecture's cell validated that often; validating
changes no weight. With ``--check`` nothing is trained: the validation losses that ``tf_study/data/README.md`` quotes
are printed.
"""

import argparse
import os
import zipfile
from pathlib import Path

import nbformat
import numpy as np
from npz import write_npz

from tf_study.data import bert, store

LECTURE = Path(__file__).parents[1] / "chapter07_advanced_architectures" / "03_bert_fine_tuning.ipynb"
FILE = store.FOLDER / "bert" / "pretrained.npz"
LAST = "def val_loss"  # defined in the cell that trains
SHORT, WHOLE = "small=(720, 90, 32)", "small=(720, 720, 32)"


def train() -> None:
    """Run the lecture and write the file."""
    os.environ["TF_STUDY_PROFILE"] = "small"
    cells = [cell.source for cell in nbformat.read(LECTURE, 4).cells if cell.cell_type == "code"]
    last = next(number for number, source in enumerate(cells) if LAST in source)
    if cells[last].count(SHORT) != 1:
        raise RuntimeError(f"{LECTURE.name} does not say {SHORT} any more")
    lecture = {"__name__": "lecture"}
    for source in [*cells[:last], cells[last].replace(SHORT, WHOLE)]:
        exec(compile(source, LECTURE.name, "exec"), lecture)
    variables = lecture["mlm"].trainable_variables
    weights = {f"w{i}": variable.numpy().astype(np.float16) for i, variable in enumerate(variables)}
    records = {name: np.array(lecture[name], np.float32) for name in ("log", "checks")}
    FILE.parent.mkdir(exist_ok=True)
    write_npz(FILE, zipfile.ZIP_STORED, **weights, **records)
    store.write_manifest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="show the stored record, train nothing")
    if not parser.parse_args().check:
        train()
    for steps, loss, accuracy in bert.small_bert()[2]:
        print(f"{steps:.0f} steps: loss {loss:.2f}, accuracy {accuracy:.3f}")
