"""What is done in processes of their own: forked by ``tf_study.workers`` from one that has imported TensorFlow only.

So this module imports nothing that takes long, and the functions what they need.
"""

import contextlib
import os

# Of threads as many as here: sums to the bit.
THREADS = {"TF_NUM_INTRAOP_THREADS": os.environ.get("TF_NUM_INTRAOP_THREADS", "0")}
HOW = {"timeout": 600, "imports": ["tensorflow"], "env": THREADS}  # for workers.run


def models(pid):
    """The processes of a server that hold models: forked by one of its own, or started by it where none is forked."""
    import psutil

    found = []
    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # A zombie is one, too.
            found += [child] if child.ppid() != pid or "spawn_main" in " ".join(child.cmdline()) else []
    return found


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
