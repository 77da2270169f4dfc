"""Writes a SavedModel that draws by itself: the network and the whole sampler in one graph."""

import contextlib
import shutil
from pathlib import Path

import tensorflow as tf

from diffusion_image_gen.sampling import FRESH_FROM, ROWS, START, Painter, plan
from diffusion_image_gen.settings import Wish
from tf_study.environment import quiet_stderr
from tf_study.errors import StudyError


class Drawing(tf.Module):
    """A sampler as one graph: a loop over the rows of its plan.

    The signature ``draw`` takes ``labels`` and ``seeds``, int32 (B,), and ``guidance``, float32 (), and gives
    ``pictures``, float32 (B, side, side, channels) from -1 to 1. ``classes`` gives the names of the labels.
    """

    def __init__(self, painter: Painter, wish: Wish):
        super().__init__()
        ids = tf.TensorSpec((None,), tf.int32)
        rows, step = tf.constant(plan(wish.sampler, wish.steps)), painter.steps[True]

        def draw_rows(labels, seeds, guidance):
            x = painter.noise(seeds, START)

            def advance(number, x, before):
                x, clean = step(x, before, labels, seeds, rows[number], FRESH_FROM + number, guidance)
                return number + 1, x, clean

            _, x, _ = tf.while_loop(lambda number, *_: number < wish.steps, advance, (0, x, tf.zeros_like(x)))
            return tf.clip_by_value(x, -1, 1)

        @tf.function(autograph=False, input_signature=(ids, ids, tf.TensorSpec((), tf.float32)))
        def draw(labels, seeds, guidance):
            count = tf.shape(labels)[0]
            fill = tf.range(-(-count // ROWS) * ROWS) % tf.maximum(
                count, 1
            )  # the last row filled up, as Painter does
            labels, seeds = (tf.reshape(tf.gather(values, fill), (-1, ROWS)) for values in (labels, seeds))
            picture = tf.TensorSpec((ROWS, *painter.shape), tf.float32)
            pictures = tf.map_fn(
                lambda row: draw_rows(*row, guidance), (labels, seeds), fn_output_signature=picture
            )
            return {"pictures": tf.reshape(pictures, (-1, *painter.shape))[:count]}

        @tf.function(autograph=False, input_signature=())
        def classes():
            return {"classes": tf.constant(painter.classes)}

        self.draw, self.classes = draw, classes


@contextlib.contextmanager
def _silent():
    """Keep TensorFlow from reporting the temporary folder."""
    logger = tf.get_logger()
    before = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(before)


def export(painter: Painter, output: Path, wish: Wish) -> None:
    """Write the SavedModel into a new folder.

    Raises:
        StudyError: if there is something else at ``output``, or it cannot be written.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise StudyError(f"{output}에 다른 것이 있으니 비우거나 --output으로 다른 폴더를 주세요.")
    drawing, kept = Drawing(painter, wish), tf.Module()
    kept.weights = [weight.value for weight in painter.model.weights]
    signatures = {"serving_default": drawing.draw, "classes": drawing.classes}
    signatures = {name: function.get_concrete_function() for name, function in signatures.items()}
    part = output.with_name(f".part-{output.name}")
    try:
        with quiet_stderr(), _silent():
            # Signatures and weights alone: functions of the module that is saved would be traced once more.
            tf.saved_model.save(kept, str(part), signatures)
        part.replace(output)
    except (OSError, tf.errors.OpError) as error:
        raise StudyError(
            f"{output}에 쓸 수 없으니 권한과 남은 공간을 확인하세요 ({type(error).__name__})."
        ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
