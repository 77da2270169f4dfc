"""What is done in a process of its own: forked by ``tf_study.workers`` from one that has imported TensorFlow only.

So this module imports nothing, and each function what it needs.
"""


def draw(comm, folder, labels, first, seeds, guidance):
    """Return what a SavedModel draws, without and with first frames, of no clips, and the names of its labels.

    Nothing of the course is imported: any program with TensorFlow can use the folder.
    """
    import sys

    import tensorflow as tf

    known = {"tf_study.video", "tf_study.models", "mini_sora_dit"} & sys.modules.keys()
    assert not known, known
    signatures = tf.saved_model.load(folder).signatures
    draw, animate, names = (signatures[name] for name in ("serving_default", "animate", "names"))
    rest = {"seeds": tf.constant(seeds), "guidance": tf.constant(guidance)}
    clips = [
        draw(labels=tf.constant(labels), **rest),
        animate(labels=tf.constant(labels), first=first, **rest),
    ]
    clips.append(draw(labels=tf.zeros((0, 2), tf.int32), **rest | {"seeds": tf.zeros(0, tf.int32)}))
    told = {name: [one.decode() for one in values.numpy()] for name, values in names().items()}
    return [clip["clips"].numpy() for clip in clips], told


def train(comm, arguments, complaints):
    """Return the status of the command line with the networks of :mod:`mini_sora_dit_tiny`.

    What it writes to stderr goes to the file ``complaints``.
    """
    import os

    import tf_study  # noqa: F401  isort: skip

    import mini_sora_dit_tiny

    from mini_sora_dit.__main__ import main

    mini_sora_dit_tiny.install()
    with open(complaints, "w") as file:
        os.dup2(file.fileno(), 2)
    return main(arguments)
