"""What is done in a process of its own: forked by ``tf_study.workers`` from one that has imported TensorFlow only.

So this module imports nothing, and each function what it needs.
"""


def draw(comm, folder, calls, guidance):
    """Return the pictures that a SavedModel draws for each pair of labels and seeds, and the names of its classes.

    Nothing of the course is imported: any program with TensorFlow can use the folder.
    """
    import sys

    import tensorflow as tf

    known = {"tf_study.diffusion", "tf_study.models", "diffusion_image_gen"} & sys.modules.keys()
    assert not known, known
    signatures = tf.saved_model.load(folder).signatures
    draw, pictures = signatures["serving_default"], []
    for labels, seeds in calls:
        ids = {"labels": tf.constant(labels, tf.int32), "seeds": tf.constant(seeds, tf.int32)}
        pictures.append(draw(**ids, guidance=tf.constant(guidance))["pictures"].numpy())
    return pictures, [name.decode() for name in signatures["classes"]()["classes"].numpy()]


def train(comm, arguments):
    """Return the status of the command line with the network :class:`diffusion_image_gen_tiny.Tiny`."""
    import tf_study  # noqa: F401  isort: skip

    from diffusion_image_gen_tiny import Tiny

    from diffusion_image_gen import training
    from diffusion_image_gen.__main__ import main

    training.UNet = Tiny
    return main(arguments)
