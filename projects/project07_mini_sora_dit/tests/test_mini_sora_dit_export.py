"""The SavedModel draws what the program draws, in a process that knows nothing of the program."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from mini_sora_dit import export
from mini_sora_dit.settings import Wish
from tf_study.errors import StudyError

# Nothing of the course is imported: any program with TensorFlow can use the folder.
SCRIPT = """
import sys
import numpy as np
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
draw, animate = (model.signatures[name] for name in ("serving_default", "animate"))
labels = tf.constant([[0, 1], [2, 3], [1, 0], [1, 2], [0, 0]])
rest = dict(seeds=tf.constant([4, 3, 2, 1, 0]), guidance=tf.constant(2.5))
np.save(f"{sys.argv[2]}/many.npy", draw(labels=labels, **rest)["clips"])
first = tf.constant(np.load(f"{sys.argv[2]}/first.npy"))
np.save(f"{sys.argv[2]}/begun.npy", animate(labels=labels, first=first, **rest)["clips"])
none = dict(labels=tf.zeros((0, 2), tf.int32), seeds=tf.zeros(0, tf.int32), guidance=tf.constant(1.0))
print(*draw(**none)["clips"].shape)
print(*(name.decode() for name in model.signatures["names"]()["classes"].numpy()))
print(len(model.signatures["names"]()["directions"]))
"""


def test_the_saved_model_is_sample(animator, tmp_path):
    first = np.random.default_rng(0).uniform(-1, 1, (5, 8, 8, 1)).astype(np.float32)
    np.save(tmp_path / "first.npy", first)
    wish = Wish("adams", 4, 2.5)
    export.export(animator, tmp_path / "저장", wish)
    assert {path.name for path in tmp_path.iterdir()} == {"저장", "first.npy"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path / "저장", tmp_path],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.stdout.splitlines() == ["0 9 8 8 1", "가 나 다", "4"], done.stderr
    labels, seeds = [[0, 1], [2, 3], [1, 0], [1, 2], [0, 0]], [4, 3, 2, 1, 0]
    # The graph is optimised as a whole, so the last bits may differ.
    many, begun = (np.load(tmp_path / f"{name}.npy") for name in ("many", "begun"))
    np.testing.assert_allclose(many, animator.draw(labels, seeds, wish), atol=1e-4)
    np.testing.assert_allclose(begun, animator.draw(labels, seeds, wish, first), atol=1e-4)
    assert np.abs(begun - many).max() > 0.01


def test_a_folder_in_use_is_left_alone(animator, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(StudyError, match="다른 것이 있으니 비우거나 --output으로"):
        export.export(animator, tmp_path, Wish())

    def full(drawing, part, signatures):
        Path(part).mkdir()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tf.saved_model, "save", full)
    with pytest.raises(StudyError, match="쓸 수 없으니 권한과"):
        export.export(animator, tmp_path / "b", Wish(steps=1))
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
