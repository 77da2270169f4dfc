"""Writes a SavedModel that draws by itself: both networks and the whole solver in one graph."""

import shutil
from pathlib import Path

import tensorflow as tf

from mini_sora_dit.sampling import ROWS, START, Animator, plan
from mini_sora_dit.settings import Wish
from tf_study.environment import quiet_stderr
from tf_study.errors import StudyError


class Drawing(tf.Module):
    """A solver as one graph: a loop over the rows of its plan, and the decoder.

    The signature ``draw`` takes ``labels``, int32 (B, kinds), ``seeds``, int32 (B,), and ``guidance``, float32 (), and
    gives ``clips``, float32 (B, T, side, side, channels) from -1 to 1. ``animate`` takes also ``first``, float32
    (B, side, side, channels), the pictures with which the clips begin. ``names`` gives the names of the labels.
    """

    def __init__(self, animator: Animator, wish: Wish):
        super().__init__()
        channels = animator.autoencoder.channels
        picture = (animator.side, animator.side, channels)
        clip = tf.TensorSpec((ROWS, animator.frames, *picture), tf.float32)
        ids = tf.TensorSpec((None,), tf.int32)
        kinds = tf.TensorSpec((None, len(animator.model.labels)), tf.int32)
        rows, step = tf.constant(plan(wish.solver, wish.steps)), animator.steps[True]

        def draw_rows(labels, seeds, first, known, guidance):
            noise = animator.noise(seeds, START)
            context = animator.encode(first[:, None])

            def advance(number, x, velocity):
                row = rows[number]
                x, velocity, _ = step(x, velocity, noise, context, known, labels, row, guidance)
                return number + 1, x, velocity

            start = (0, noise, tf.zeros_like(noise))
            _, latent, _ = tf.while_loop(lambda number, *_: number < wish.steps, advance, start)
            return tf.clip_by_value(animator.autoencoder.decode(latent), -1, 1)

        def draw_all(labels, seeds, first, known, guidance):
            count = tf.shape(labels)[0]
            fill = tf.range(-(-count // ROWS) * ROWS) % tf.maximum(count, 1)  # filled up, as Animator does
            parts = [
                tf.reshape(tf.gather(value, fill), (-1, ROWS, *value.shape[1:]))
                for value in (labels, seeds, first)
            ]
            clips = tf.map_fn(lambda part: draw_rows(*part, known, guidance), parts, fn_output_signature=clip)
            return {"clips": tf.reshape(clips, (-1, *clip.shape[1:]))[:count]}

        @tf.function(autograph=False, input_signature=(kinds, ids, tf.TensorSpec((), tf.float32)))
        def draw(labels, seeds, guidance):
            return draw_all(labels, seeds, tf.zeros((tf.shape(labels)[0], *picture)), 0, guidance)

        firsts = tf.TensorSpec((None, *picture), tf.float32)

        @tf.function(autograph=False, input_signature=(kinds, ids, tf.TensorSpec((), tf.float32), firsts))
        def animate(labels, seeds, guidance, first):
            return draw_all(labels, seeds, first, 1, guidance)

        @tf.function(autograph=False, input_signature=())
        def names():
            return {
                "classes": tf.constant(animator.classes),
                "directions": tf.constant(animator.directions, tf.string),
            }

        self.draw, self.animate, self.names = draw, animate, names


def export(animator: Animator, output: Path, wish: Wish) -> None:
    """Write the SavedModel into a new folder.

    Raises:
        StudyError: if there is something else at ``output``, or it cannot be written.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise StudyError(f"{output}에 다른 것이 있으니 비우거나 --output으로 다른 폴더를 주세요.")
    drawing, kept = Drawing(animator, wish), tf.Module()
    kept.weights = [weight.value for weight in animator.model.weights + animator.autoencoder.weights]
    part = output.with_name(f".part-{output.name}")
    logger = tf.get_logger()
    before = logger.level
    logger.setLevel("ERROR")  # It would report the temporary folder.
    signatures = {"serving_default": drawing.draw, "animate": drawing.animate, "names": drawing.names}
    signatures = {name: function.get_concrete_function() for name, function in signatures.items()}
    try:
        with quiet_stderr():
            # Signatures and weights alone: functions of the module that is saved would be traced once more.
            tf.saved_model.save(kept, str(part), signatures)
        part.replace(output)
    except (OSError, tf.errors.OpError) as error:
        raise StudyError(
            f"{output}에 쓸 수 없으니 권한과 남은 공간을 확인하세요 ({type(error).__name__})."
        ) from None
    finally:
        logger.setLevel(before)
        shutil.rmtree(part, ignore_errors=True)
