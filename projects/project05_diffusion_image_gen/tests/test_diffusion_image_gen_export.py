"""The SavedModel draws what the program draws, in a process that knows nothing of the program."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from diffusion_image_gen import export
from diffusion_image_gen.settings import Wish
from tf_study.errors import StudyError

# Nothing of the course is imported: any program with TensorFlow can use the folder.
SCRIPT = """
import sys
import numpy as np
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
draw = model.signatures["serving_default"]
for name, labels, seeds in (("many", [0, 1, 2] * 3, range(9)), ("one", [1], [4]), ("none", [], [])):
    inputs = dict(labels=tf.constant(labels, tf.int32, (len(labels),)), seeds=tf.constant(list(seeds), tf.int32))
    np.save(f"{sys.argv[2]}/{name}.npy", draw(**inputs, guidance=tf.constant(2.5))["pictures"])
print(*(name.decode() for name in model.signatures["classes"]()["classes"].numpy()))
"""


def test_the_saved_model_is_sample(painter, tmp_path):
    wish = Wish("ddpm", 5, 2.5)
    export.export(painter, tmp_path / "저장", wish)
    assert [path.name for path in tmp_path.iterdir()] == ["저장"]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path / "저장", tmp_path],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.stdout.split() == ["가", "나", "다"], done.stderr
    wanted = painter.draw([0, 1, 2] * 3, list(range(9)), wish)
    many, one, none = (np.load(tmp_path / f"{name}.npy") for name in ("many", "one", "none"))
    # The graph is optimised as a whole, so the last bits may differ; five steps of random weights magnify them.
    np.testing.assert_allclose(many, wanted, atol=1e-4)
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
