"""Training clips: digits that move and bounce, made as they are needed, or a folder of GIFs and MP4s; clips as files."""

import hashlib
import os
import warnings
from functools import cached_property
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps, ImageSequence

from tf_study import cli, video
from tf_study import pictures as files
from tf_study.errors import StudyError

MNIST, SQUARE = "mnist", "square"
SQUARE_SIDE, SQUARE_SIZE = 8, 3
SIDES = (16, 32)  # of moving digits
FILMS = (".mp4", ".mov", ".webm", ".mkv")  # all else is left to Pillow
MOST_READ = 1000  # frames of a file
FEWEST = 2  # clips of a class
HELD_OUT = 0.15  # share of a class's files that is kept for the evaluation
FRAME_SECONDS = 0.12
NO_AV = "{}을(를) 다루려면 av 패키지가 필요하니 `pip install av`로 설치하거나 GIF를 쓰세요."

# Pillow warns of large pictures; what cannot be read is listed with its reason.
warnings.filterwarnings("ignore", module="PIL")


class Digits:
    """Moving digits of MNIST: any number of clips, any length, the same for the same numbers.

    Attributes:
        classes, directions: names of the two labels of a clip.
        channels: of its pictures. skipped: always empty.
    """

    source, channels, skipped = MNIST, 1, ()
    classes, directions = tuple(map(str, range(10))), video.DIRECTIONS

    def __init__(self, side: int, frames: int):
        if side not in SIDES:
            raise StudyError(f"움직이는 숫자는 한 변 16이나 32로 만드니 --side {side}을(를) 바꾸세요.")
        self.side, self.frames = side, frames
        self.size = side * video.DIGIT // video.SIDE
        self.pictures, self.labels = video.digits(size=self.size)

    @cached_property
    def _tensors(self) -> tuple[tf.Tensor, tf.Tensor]:
        return _on_cpu(self.pictures, self.labels)

    def batch(self, number: tf.Tensor, count: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the ``number``-th clips (count, T, side, side, 1) and their labels (count, 2); for use in a graph."""
        clips, labels, _ = video.draw(number, count, *self._tensors, self.frames, self.side)
        return clips, labels

    def held_out(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return clips of digits that training does not see, and their labels."""
        clips, labels, _ = video.draw(
            tf.constant(77), count, *map(tf.constant, video.digits(True, self.size)), self.frames, self.side
        )
        return clips.numpy(), labels.numpy()

    def fingerprint(self) -> str:
        """Return a digest: equal means the same training data."""
        return _digest(self.classes, (self.pictures, self.labels))


class Square:
    """A white square that crosses a small frame, to the left or to the right: what half a minute of training can learn.

    Attributes as :class:`Digits`; the two ways are the classes.
    """

    source, channels, skipped = SQUARE, 1, ()
    classes, directions = ("왼쪽", "오른쪽"), ()

    def __init__(self, side: int, frames: int):
        if side != SQUARE_SIDE:
            raise StudyError(
                f"움직이는 네모는 한 변 {SQUARE_SIDE}로 만드니 --side {SQUARE_SIDE}을(를) 주세요."
            )
        self.side, self.frames = side, frames

    def batch(self, number: tf.Tensor, count: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the ``number``-th clips (count, T, side, side, 1) and their labels (count, 1); for use in a graph."""
        room = float(SQUARE_SIDE - SQUARE_SIZE)
        top, start, coin = tf.unstack(
            tf.random.stateless_uniform((3, count), tf.stack([number, 0]), alg="philox")
        )
        across = start + (room - 1) * tf.linspace(0.0, 1.0, self.frames)[:, None]  # (T, count)
        left = tf.transpose(tf.where(coin < 0.5, room - across, across))
        rows = video.placement(tf.repeat(room * top[:, None], self.frames, 1), SQUARE_SIZE, SQUARE_SIDE)
        columns = video.placement(left, SQUARE_SIZE, SQUARE_SIDE)  # (count, T, side, size)
        films = tf.reduce_sum(rows, -1)[..., None] * tf.reduce_sum(columns, -1)[:, :, None]
        return films[..., None] * 2 - 1, tf.cast(coin >= 0.5, tf.int32)[:, None]

    def held_out(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return clips that training does not see, and their labels."""
        clips, labels = self.batch(tf.constant(-77), count)
        return clips.numpy(), labels.numpy()

    def fingerprint(self) -> str:
        """Return a digest: equal means the same training data."""
        return _digest(self.classes, ())


class Films:
    """Clips cut from the files of a folder with one sub-folder per class; attributes as :class:`Digits`.

    Raises:
        StudyError: if the folder has too little that can be read.
    """

    directions = ()

    def __init__(self, root: Path, side: int, frames: int):
        self.source, self.side, self.frames = os.fspath(root.resolve()), side, frames
        names = _class_folders(root)
        self.classes = tuple(folder.name for folder in names)
        self.skipped, groups = [], []
        for folder in names:
            films = self._read(folder)
            if sum(map(len, films)) < FEWEST:
                raise StudyError(
                    f"클래스 '{folder.name}'에서 {frames}프레임짜리 영상을 {FEWEST}편 만들지 못했으니 긴 파일을 "
                    "넣거나 폴더를 빼세요."
                )
            groups.append(films)
        grey = all((clip == clip[..., :1]).all() for films in groups for clip in films)
        self.channels = 1 if grey else 3
        train, test = [], []
        for label, films in enumerate(groups):
            held = round(HELD_OUT * len(films))  # whole files, so that no test clip continues a training clip
            order = np.random.default_rng([0, label]).permutation(len(films))
            for place, row in enumerate(order):
                clip = films[row][..., : self.channels].astype(np.float32) / 127.5 - 1
                (test if place < held else train).append((clip, np.full((len(clip), 1), label, np.int32)))
        (self.train, self.labels), self.test = _join(train), _join(test or train)

    @cached_property
    def _tensors(self) -> tuple[tf.Tensor, tf.Tensor]:
        return _on_cpu(self.train, self.labels)

    def _read(self, folder: Path) -> list[np.ndarray]:
        """Return for every file its clips, uint8 (N, T, side, side, 3)."""
        found = []
        for path in sorted(folder.iterdir()):
            if path.name.startswith(".") or path.is_dir():
                continue
            try:
                film = read(path, self.side)
                if len(film) < self.frames:
                    raise StudyError(f"{len(film)}프레임뿐이니 {self.frames}프레임 이상으로 바꾸세요.")
                count = len(film) // self.frames
                found.append(film[: count * self.frames].reshape(count, self.frames, *film.shape[1:]))
            except StudyError as error:
                self.skipped.append((f"{folder.name}/{path.name}", str(error)))
        return found

    def batch(self, number: tf.Tensor, count: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Return ``count`` clips (count, T, side, side, C), drawn for this number, and their labels (count, 1)."""
        with tf.device("CPU:0"):
            seed = tf.stack([number, 0])
            rows = tf.random.stateless_uniform((count,), seed, 0, len(self.train), tf.int32, alg="philox")
            return tuple(tf.gather(values, rows) for values in self._tensors)

    def held_out(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return clips of files put aside (the training clips if a class has too few files), and their labels."""
        rows = np.random.default_rng(77).choice(len(self.test[0]), count)
        return self.test[0][rows], self.test[1][rows]

    def fingerprint(self) -> str:
        """Return a digest: equal means the same training data."""
        return _digest(self.classes, (self.train, self.labels))


def load(source: str, side: int, frames: int) -> Digits | Square | Films:
    """Return the moving digits for ``mnist``, the moving square for ``square``, or the clips of a folder.

    Raises:
        StudyError: as :class:`Digits`, :class:`Square` and :class:`Films`.
    """
    made = {MNIST: Digits, SQUARE: Square}
    return made[source](side, frames) if source in made else Films(Path(source), side, frames)


def read(path: Path, side: int) -> np.ndarray:
    """Return the middle square of each frame of a file, uint8 (T, side, side, 3).

    Raises:
        StudyError: if it is no picture or film, a damaged one, or needs a package that is missing.
    """
    try:
        if path.suffix.lower() in FILMS:
            frames = _film(path)
        else:
            with Image.open(path) as image:
                parts = ImageSequence.Iterator(image)
                frames = [part.convert("RGB") for _, part in zip(range(MOST_READ), parts, strict=False)]
        fitted = [ImageOps.fit(frame, (side, side), Image.Resampling.BOX) for frame in frames]
        return np.stack([np.asarray(frame) for frame in fitted])
    except files.DAMAGE:
        raise StudyError("읽을 수 있는 영상이 아니니 다시 저장하거나 폴더에서 빼세요.") from None


def _film(path: Path) -> list[Image.Image]:
    av = _av("MP4 같은 동영상")
    try:
        with av.open(os.fspath(path)) as container:
            frames = container.decode(video=0)
            return [frame.to_image() for _, frame in zip(range(MOST_READ), frames, strict=False)]
    except av.error.FFmpegError as error:
        raise ValueError(path) from error


def _av(what: str):
    try:
        import av  # optional: neither Pillow nor TensorFlow reads films
    except ImportError:
        raise StudyError(NO_AV.format(what)) from None
    return av


def first_frame(path: Path, side: int, channels: int) -> np.ndarray:
    """Return the first frame of a picture or film, float32 (side, side, channels) from -1 to 1.

    Raises:
        StudyError: if it cannot be read.
    """
    try:
        frame = read(path, side)[0]
    except StudyError:
        if path.suffix.lower() in FILMS:
            _av("MP4 같은 동영상")
        raise StudyError(f"{path}을(를) 그림으로 읽을 수 없으니 PNG나 GIF 파일을 주세요.") from None
    if channels == 1:
        frame = np.asarray(Image.fromarray(frame).convert("L"))[..., None]
    return frame.astype(np.float32) / 127.5 - 1


def check_format(path: Path) -> None:
    """Refuse what :func:`write` could not write.

    Raises:
        StudyError: if there is no such format, or it needs a package that is missing.
    """
    kind = path.suffix.lower()
    if kind not in (".gif", ".png", ".mp4"):
        raise StudyError(f"{path.name}의 형식을 알 수 없으니 .gif, .png, .mp4 가운데 하나로 바꾸세요.")
    if kind == ".mp4":
        _av("MP4")


def write(path: Path, films: np.ndarray, columns: int) -> str:
    """Write clips (N, T, H, W, C) as the ending of the name asks, and say in Korean what was written.

    ``.gif`` and ``.mp4`` show them side by side, ``columns`` in a row; ``.png`` has a row of frames for every clip.

    Raises:
        StudyError: as :func:`check_format`, or if the file cannot be written.
    """
    check_format(path)
    if path.suffix.lower() == ".png":
        files.write(path, files.png(strips(films)))
        return f"한 줄에 한 편, 왼쪽부터 {films.shape[1]}프레임"
    gap = int(len(films) > 1)  # The frames of one clip alone are its pixels, so that --first can read them.
    frames = [files.grid(films[:, t], columns, gap=gap) for t in range(films.shape[1])]
    if path.suffix.lower() == ".gif":
        files.write(path, gif(frames))
    else:
        _write_mp4(path, frames)
    return f"영상 {len(films)}편, {films.shape[1]}프레임"


def gif(frames: list[Image.Image]) -> bytes:
    """Return frames as an animation that repeats without a rest."""
    pause = round(1000 * FRAME_SECONDS)
    return files.gif(frames, pause, rest=pause)


def strips(films: np.ndarray, scale: int = 3) -> Image.Image:
    """Lay clips (N, T, H, W, C) out, a row of frames for every clip."""
    return files.grid(films.reshape(-1, *films.shape[2:]), films.shape[1], scale)


def _write_mp4(path: Path, frames: list[Image.Image]) -> None:
    av = _av("MP4")

    def save(part: Path) -> None:
        with av.open(os.fspath(part), "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=round(1 / FRAME_SECONDS))
            width, height = frames[0].size
            stream.width, stream.height = (
                width + width % 2,
                height + height % 2,
            )  # The codec wants even sides.
            stream.pix_fmt = "yuv420p"
            for image in frames:
                padded = Image.new("RGB", (stream.width, stream.height))
                padded.paste(image, (0, 0))
                container.mux(stream.encode(av.VideoFrame.from_image(padded)))
            container.mux(stream.encode())

    cli.write(path, save)


def _class_folders(root: Path) -> list[Path]:
    try:
        folders = sorted(item for item in root.iterdir() if item.is_dir() and not item.name.startswith("."))
    except OSError:
        raise StudyError(f"{root} 폴더를 열 수 없으니 mnist나 클래스 폴더가 든 폴더를 주세요.") from None
    if not folders:
        raise StudyError(f"{root}에 클래스 폴더가 없으니 하위 폴더를 만들어 GIF나 MP4를 넣으세요.")
    return folders


def _join(parts: list) -> tuple[np.ndarray, np.ndarray]:
    clips, labels = zip(*parts, strict=True)
    return np.concatenate(clips), np.concatenate(labels)


def _on_cpu(*arrays: np.ndarray) -> tuple[tf.Tensor, ...]:
    """Return arrays as tensors, of which only a batch at a time goes to other devices.

    They are made at the first use, since TensorFlow's devices can be divided only before it computes.
    """
    with tf.init_scope(), tf.device("CPU:0"):
        return tuple(map(tf.constant, arrays))


def _digest(names: tuple[str, ...], arrays: tuple[np.ndarray, ...]) -> str:
    hashed = hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape"))
    for array in arrays:
        hashed.update(np.ascontiguousarray(array))
    return hashed.hexdigest()
