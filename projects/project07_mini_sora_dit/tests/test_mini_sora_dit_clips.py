"""Clips: made, read from files, and written to files."""

import io
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mini_sora_dit import clips, evaluation
from tf_study import video
from tf_study.errors import StudyError


def test_a_folder_becomes_clips_and_reasons(folder):
    data = clips.load(str(folder), 8, 9)
    assert data.classes == ("빨강", "파랑") and data.channels == 3 and data.directions == ()
    # Four files of 20 frames make two clips each; one file of each class is put aside.
    assert data.train.shape == (12, 9, 8, 8, 3) and data.test[0].shape == (4, 9, 8, 8, 3)
    brightest = data.train.max((1, 2, 3))
    assert (brightest[data.labels[:, 0] == 0, 0] > 0.4).all() and (
        brightest[data.labels[:, 0] == 1, 2] > 0.4
    ).all()
    assert dict(data.skipped).keys() == {"빨강/잘림.gif", "빨강/짧음.gif", "파랑/글.gif"}
    assert "3프레임뿐이니 9프레임 이상으로" in dict(data.skipped)["빨강/짧음.gif"]
    assert all(reason.endswith(("바꾸세요.", "빼세요.")) for _, reason in data.skipped)
    films, labels = tf.function(lambda n: data.batch(n, 6))(tf.constant(3))
    again, _ = data.batch(tf.constant(3), 6)
    np.testing.assert_array_equal(films, again)
    assert labels.shape == (6, 1) and np.abs(films - data.batch(tf.constant(4), 6)[0]).max() > 0.1
    assert data.fingerprint() == clips.load(str(folder), 8, 9).fingerprint()
    assert data.fingerprint() != clips.load(str(folder), 12, 9).fingerprint()


def test_the_clips_of_a_file_are_not_divided(folder):
    """A test clip must not be the continuation of a training clip."""
    data = clips.load(str(folder), 8, 9)
    for film in data.test[0]:  # In each file the square keeps its height.
        rows = film.max((0, 2, 3)) > 0.4
        same = [(other.max((0, 2, 3)) > 0.4).tolist() == rows.tolist() for other in data.test[0]]
        assert sum(same) >= 2


def test_grey_films_have_one_channel(tmp_path, film):
    (tmp_path / "흰").mkdir()
    (tmp_path / "흰" / "a.gif").write_bytes(film((200, 200, 200), 0))
    data = clips.load(str(tmp_path), 8, 9)
    assert data.channels == 1 and data.train.shape[-1] == 1
    held, labels = data.held_out(3)  # One file is too few to put any aside.
    assert all(any((clip == known).all() for known in data.train) for clip in held) and labels.shape == (3, 1)


def test_folders_that_cannot_be_used(tmp_path, film):
    for source, part in (
        (tmp_path / "없음", "폴더를 열 수 없으니 mnist나"),
        (tmp_path, "클래스 폴더가 없으니"),
    ):
        with pytest.raises(StudyError, match=part):
            clips.load(str(source), 8, 9)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "a.gif").write_bytes(film((9, 9, 9), 0, frames=9))
    with pytest.raises(StudyError, match="9프레임짜리 영상을 2편 만들지 못했으니 긴 파일을"):
        clips.load(str(tmp_path), 8, 9)


@pytest.mark.parametrize("side", [16, 32])
def test_digits_move_as_balls_at_any_size_and_length(side):
    data = clips.load("mnist", side, 13)
    films, labels = data.held_out(60)
    assert films.shape == (60, 13, side, side, 1) and films.min() >= -1 and films.max() <= 1
    np.testing.assert_array_equal(films, data.held_out(60)[0])
    scores = evaluation.Judge().score(films, labels)
    assert scores["accuracy"] > 0.9 and scores["direction"] == 1 and scores["motion"] < 0.3
    shaken = evaluation.Judge().score(evaluation.shuffled(films), labels)
    assert shaken["accuracy"] == scores["accuracy"] and shaken["motion"] > 1
    with pytest.raises(StudyError, match="16이나 32로"):
        clips.load("mnist", 20, 9)


def test_squares_cross_the_frame():
    films, labels = clips.load("square", 8, 9).batch(3, 40)
    np.testing.assert_allclose((films.numpy() + 1).sum((2, 3, 4)) / 2, 9, atol=1e-4)  # nine pixels of light
    light = (films.numpy()[..., 0] + 1) / 18
    rows, columns = (light.sum(axis) @ np.arange(8) for axis in (3, 2))  # the middle, (40, 9)
    np.testing.assert_allclose(rows, rows[:, :1] * np.ones(9), atol=1e-4)
    way = np.where(labels == 1, 0.5, -0.5)  # pixels a frame
    np.testing.assert_allclose(np.diff(columns, axis=1), way * np.ones(8), atol=1e-4)
    with pytest.raises(StudyError, match="--side 8을"):
        clips.load("square", 16, 9)


def test_training_and_test_digits_are_others():
    data = clips.Digits(16, 9)
    known = {digit.tobytes() for digit in data.pictures}
    assert not any(digit.tobytes() in known for digit in video.digits(True)[0])


def test_written_files_are_what_was_asked_for(tmp_path):
    films = np.linspace(-1, 1, 3 * 5 * 8 * 8, dtype=np.float32).reshape(3, 5, 8, 8, 1)
    assert clips.write(tmp_path / "a.gif", films, 2) == "영상 3편, 5프레임"
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 5 and image.size == (4 * (2 * 9 + 1), 4 * (2 * 9 + 1))
    assert "5프레임" in clips.write(tmp_path / "a.png", films, 2)
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (3 * (5 * 9 + 1), 3 * (3 * 9 + 1))
    with pytest.raises(StudyError, match=".gif, .png, .mp4 가운데"):
        clips.write(tmp_path / "a.avi", films, 2)
    (tmp_path / "파일").write_text("x")
    with pytest.raises(StudyError, match="권한과 남은 공간을"):
        clips.write(tmp_path / "파일" / "a.gif", films, 2)


def test_the_first_frame_of_one_clip_is_read_as_it_was_written(tmp_path):
    film = np.random.default_rng(0).uniform(-1, 1, (1, 3, 8, 8, 1)).astype(np.float32)
    for name in ("a.gif", "b.png"):
        clips.write(tmp_path / name, film if name == "a.gif" else film[:, :1], 1)
    first = clips.first_frame(tmp_path / "a.gif", 8, 1)
    np.testing.assert_allclose(first, film[0, 0], atol=1 / 127)
    assert clips.first_frame(tmp_path / "a.gif", 8, 3).shape == (8, 8, 3)
    for name in ("없음.png", "글.png"):
        (tmp_path / "글.png").write_text("글")
        with pytest.raises(StudyError, match="그림으로 읽을 수 없으니 PNG나 GIF 파일을"):
            clips.first_frame(tmp_path / name, 8, 1)


def test_films_need_av(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.mp4").write_bytes(b"x")
    films = np.zeros((1, 2, 8, 8, 1), np.float32)
    for ask in (
        lambda: clips.read(tmp_path / "a.mp4", 8),
        lambda: clips.write(tmp_path / "b.mp4", films, 1),
        lambda: clips.first_frame(tmp_path / "a.mp4", 8, 1),
    ):
        with pytest.raises(StudyError, match="`pip install av`로 설치하거나 GIF를 쓰세요"):
            ask()
    assert not (tmp_path / "b.mp4").exists()


def test_mp4_is_written_and_read(tmp_path):
    pytest.importorskip("av", reason="MP4는 선택 패키지 av가 있을 때만 다룹니다.")
    film = np.full((1, 9, 16, 16, 3), -1, np.float32)
    film[:, :, 4:12, 4:12, 0] = 1
    clips.write(tmp_path / "a.mp4", film, 1)
    back = clips.read(tmp_path / "a.mp4", 16)
    assert back.shape == (9, 16, 16, 3)
    assert back[:, 6:10, 6:10, 0].min() > 200 and back[:, :2, :2].max() < 40
    (tmp_path / "b.mp4").write_bytes((tmp_path / "a.mp4").read_bytes()[:300])
    with pytest.raises(StudyError, match="읽을 수 있는 영상이 아니니"):
        clips.read(tmp_path / "b.mp4", 16)


def test_damaged_files_have_one_reason(tmp_path, film):
    whole = film((9, 99, 9), 0)
    rng = np.random.default_rng(0)
    for number in range(30):
        broken = bytearray(whole)
        for place in rng.integers(0, len(whole), 20):
            broken[place] = rng.integers(256)
        (tmp_path / "a.gif").write_bytes(broken[: rng.integers(10, len(whole))])
        try:
            frames = clips.read(tmp_path / "a.gif", 8)
        except StudyError as error:
            assert str(error).endswith("폴더에서 빼세요."), number
        else:
            assert frames.shape[1:] == (8, 8, 3)


def test_animations_do_not_rest():
    content = clips.gif([Image.new("L", (4, 4), level) for level in (0, 99, 200)])
    with Image.open(io.BytesIO(content)) as image:
        assert [image.seek(k) or image.info["duration"] for k in range(3)] == [120, 120, 120]
