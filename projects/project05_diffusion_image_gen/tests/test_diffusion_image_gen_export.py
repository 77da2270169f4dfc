"""The SavedModel draws what the program draws, in a process that knows nothing of the program."""

import numpy as np
import pytest
import tensorflow as tf
from diffusion_image_gen_apart import draw

from diffusion_image_gen import export
from diffusion_image_gen.settings import Wish
from forked import HOW
from tf_study import workers
from tf_study.errors import StudyError


def test_the_saved_model_is_sample(painter, tmp_path):
    wish = Wish("ddpm", 5, 2.5)
    export.export(painter, tmp_path / "저장", wish)
    assert [path.name for path in tmp_path.iterdir()] == ["저장"]
    calls = [([0, 1, 2] * 3, list(range(9))), ([1], [4]), ([], [])]
    ((drawn, names),) = workers.run(draw, 1, **HOW, folder=str(tmp_path / "저장"), calls=calls, guidance=2.5)
    assert names == ["가", "나", "다"]
    many, one, none = drawn
    # The graph is optimised as a whole, so the last bits may differ; five steps of random weights magnify them.
    np.testing.assert_allclose(many, painter.draw(*calls[0], wish), atol=1e-4)
    np.testing.assert_allclose(one[0], many[4], atol=1e-4)
    assert none.shape == (0, 8, 8, 1)


def test_guesses_are_handed_on_in_the_graph(painter):
    """DPM-Solver++ uses the guess before; the wish's guidance plays no part."""
    drawn = export.Drawing(painter, Wish("dpm", 4)).draw(np.int32([2, 0]), np.int32([1, 7]), np.float32(0.5))
    np.testing.assert_allclose(
        drawn["pictures"], painter.draw([2, 0], [1, 7], Wish("dpm", 4, 0.5)), atol=1e-4
    )


class Nothing(tf.Module):
    """Stands in for a Drawing where nothing can be written."""

    def __init__(self, painter, wish):
        super().__init__()
        self.draw = self.classes = tf.function(lambda: {"one": tf.constant(1)}, input_signature=())


def test_a_folder_in_use_is_left_alone(painter, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(StudyError, match="다른 것이 있으니 비우거나 --output으로"):
        export.export(painter, tmp_path, Wish())
    monkeypatch.setattr(export, "Drawing", Nothing)
    with pytest.raises(StudyError, match="쓸 수 없으니 권한과"):
        export.export(painter, tmp_path / "a.txt" / "b", Wish("dpm", 2))
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
