"""What is done in a process of its own: forked by ``tf_study.workers`` from one that has imported TensorFlow only.

So this module imports nothing that takes long, and each function what it needs.
"""

import os

THREADS = {
    "TF_NUM_INTRAOP_THREADS": os.environ.get("TF_NUM_INTRAOP_THREADS", "0")
}  # as here: sums to the bit
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


def train_until_killed(comm, arguments):
    """Run the command line without graphs, until the state has an epoch of the second stage; then SIGKILL."""
    import tf_study  # noqa: F401  isort: skip

    import signal

    os.environ.pop("USE_TORCH", None)

    from sentiment_analysis import training
    from sentiment_analysis.__main__ import main
    from tf_study.checks.eager import eagerly

    save = training.Training.save

    def save_and_die(run):
        save(run)
        if run.stage == 1:
            os.kill(os.getpid(), signal.SIGKILL)  # no chance to tidy up

    training.Training.save = save_and_die
    with eagerly():
        return main(arguments)
