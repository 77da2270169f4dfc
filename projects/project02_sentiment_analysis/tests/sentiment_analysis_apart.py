"""What is done in a process of its own: forked by ``tf_study.workers`` from one that has imported TensorFlow only.

So this module imports nothing that takes long, and the function what it needs.
"""

import os

# Of threads as many as here: sums to the bit.
THREADS = {"TF_NUM_INTRAOP_THREADS": os.environ.get("TF_NUM_INTRAOP_THREADS", "0")}
HOW = {"timeout": 600, "imports": ["tensorflow"], "env": THREADS}  # for workers.run


def answer(comm, folder, forms, text, complaints):
    """Return the logits of a text in each form, and which libraries of the training were imported for them.

    What is written to stderr goes to the file ``complaints``.
    """
    with open(complaints, "w") as file:
        os.dup2(file.fileno(), 2)

    import sys
    from pathlib import Path

    from sentiment_analysis import model

    logits = [model.load(Path(folder), form).logits([text])[0].tolist() for form in forms]
    return logits, [name for name in ("transformers", "tf_keras", "torch") if name in sys.modules]
