"""What is done in a process of its own: forked by ``tf_study.workers`` from one that has imported TensorFlow only.

So this module imports nothing, and the function what it needs.
"""

HOW = {"timeout": 600, "imports": ["tensorflow"]}  # for workers.run


def train_until_killed(comm, arguments, last):
    """Run the command line without graphs, until the state has an epoch of the network ``last``; then SIGKILL."""
    import tf_study  # noqa: F401  isort: skip

    import os
    import signal

    from korean_nlp import training
    from korean_nlp.__main__ import main
    from tf_study.checks.eager import eagerly

    save = training._Run._save

    def save_and_die(run):
        save(run)
        if run.kind == last:
            os.kill(os.getpid(), signal.SIGKILL)  # no chance to tidy up

    training._Run._save = save_and_die
    with eagerly():
        return main(arguments)
