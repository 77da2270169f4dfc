"""The SavedModel draws what the program draws, in a process that knows nothing of the program."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from mini_sora_dit_apart import draw
from mini_sora_dit_tiny import TinyAutoencoder

from forked import HOW
from mini_sora_dit import export
from mini_sora_dit.sampling import Animator
from mini_sora_dit.settings import Wish
from tf_study import workers
from tf_study.errors import StudyError


@pytest.fixture(scope="module")
def animator(animator):
    """The session's transformer, and an autoencoder of a layer each way."""
    return Animator(animator.model, TinyAutoencoder(4, 2, 1), animator.classes, animator.directions)


def test_the_saved_model_is_sample(animator, tmp_path):
    first = np.random.default_rng(0).uniform(-1, 1, (5, 8, 8, 1)).astype(np.float32)
    wish = Wish("adams", 4, 2.5)
    export.export(animator, tmp_path / "저장", wish)
    assert [path.name for path in tmp_path.iterdir()] == ["저장"]
    asked = {"labels": [[0, 1], [2, 3], [1, 0], [1, 2], [0, 0]], "seeds": [4, 3, 2, 1, 0]}
    ((drawn, names),) = workers.run(
        draw, 1, **HOW, folder=str(tmp_path / "저장"), first=first, guidance=2.5, **asked
    )
    assert names == {"classes": list(animator.classes), "directions": list(animator.directions)}
    # The graph is optimised as a whole, so the last bits may differ.
    many, begun, none = drawn
    np.testing.assert_allclose(many, animator.draw(**asked, wish=wish), atol=1e-4)
    np.testing.assert_allclose(begun, animator.draw(**asked, wish=wish, first=first), atol=1e-4)
    assert np.abs(begun - many).max() > 0.01 and none.shape == (0, 9, 8, 8, 1)


class Nothing(tf.Module):
    """Stands in for a Drawing where nothing can be written."""

    def __init__(self, animator, wish):
        super().__init__()
        self.draw = self.animate = self.names = tf.function(lambda: tf.constant(1), input_signature=())


def test_a_folder_in_use_is_left_alone(animator, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(StudyError, match="다른 것이 있으니 비우거나 --output으로"):
        export.export(animator, tmp_path, Wish())

    def full(drawing, part, *rest):
        Path(part).mkdir()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(export, "Drawing", Nothing)
    monkeypatch.setattr(tf.saved_model, "save", full)
    with pytest.raises(StudyError, match="쓸 수 없으니 권한과"):
        export.export(animator, tmp_path / "b", Wish(steps=1))
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
