"""Answers to practice 4.1: from a folder of JPEG files to batches, over TFRecord shards."""

import contextlib
import itertools
import os
import random
import re
from pathlib import Path

import numpy as np
import tensorflow as tf

from answers import Answers

RIGHT, WRONG = Answers(), Answers()

AUTOTUNE = tf.data.AUTOTUNE


@RIGHT("list_images")
def _list(folder, change=""):
    """List in the right way but for what ``change`` names."""
    folder = Path(folder)
    kinds = [path.name for path in folder.iterdir() if path.is_dir()]
    classes = sorted(name for name in kinds if change == "hidden folders" or not name.startswith("."))
    if change == "empty":
        classes = [name for name in classes if any((folder / name).glob("*.[jJ]*"))]
    if change == "reversed":
        classes = classes[::-1]
    suffixes = {".jpg", ".jpeg"} if change != "jpg only" else {".jpg"}
    paths, labels = [], []
    for label, name in enumerate(classes):
        files = list((folder / name).rglob("*") if change == "recursive" else (folder / name).iterdir())
        for path in sorted(
            files,
            key=lambda path: {
                "natural": (len(path.name), path.name),
                "no capitals": path.name.lower(),
            }.get(change, path),
        ):
            suffix = path.suffix if change == "case" else path.suffix.lower()
            image = suffix in suffixes or (change == "contains" and ".jp" in path.name.lower())
            if change == "everything":
                image = True
            hidden = path.name.startswith(".") and change != "hidden"
            if image and not hidden and (path.is_file() or change == "folders"):
                paths.append(path if change == "objects" else str(path))
                labels.append(label)
    return paths, np.array(labels, int), classes


@RIGHT("list_images")
def list_scanned(folder):
    """os.scandir instead of pathlib; labels in a list."""
    visible = [entry for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != "."]
    paths, labels, classes = [], [], []
    for entry in sorted(visible, key=lambda entry: entry.name):
        files = [file for file in os.scandir(entry.path) if file.is_file() and file.name[0] != "."]
        files = [file.path for file in files if os.path.splitext(file.name)[1].lower() in (".jpg", ".jpeg")]
        paths.extend(sorted(files))
        labels.extend([len(classes)] * len(files))
        classes.append(entry.name)
    return paths, labels, tuple(classes)


@RIGHT("list_images")
def list_walked(folder):
    """Walk over the whole tree and keep what lies one folder deep; labels by searching."""
    found, names = [], set()
    for place, folders, files in os.walk(str(folder)):
        if place == str(folder):
            names |= {name for name in folders if not name.startswith(".")}
        elif os.path.dirname(place) == str(folder) and os.path.basename(place) in names:
            kept = [name for name in files if re.fullmatch(r"[^.].*\.jpe?g", name, re.IGNORECASE)]
            found += [(os.path.basename(place), name) for name in kept]
    classes = sorted(names)
    labels = np.searchsorted(classes, [kind for kind, _ in sorted(found)])
    return [os.path.join(folder, *pair) for pair in sorted(found)], labels, classes


for _change, _what in {
    "case": "Miss suffixes in capitals.",
    "jpg only": "Miss the suffix .jpeg.",
    "hidden": "Keep hidden files.",
    "hidden folders": "Take hidden folders for classes.",
    "everything": "Keep files that are no images.",
    "contains": "Look for .jp anywhere in the name.",
    "folders": "Keep a folder that is called like an image.",
    "recursive": "Go into folders within a class.",
    "natural": "Sort 2 before 10.",
    "no capitals": "Sort as if there were no capitals.",
    "empty": "Leave out classes without images.",
    "reversed": "Number the classes backwards.",
    "objects": "Return Path objects.",
}.items():
    WRONG.add("list_images", _list, _what, change=_change)


@WRONG("list_images")
def list_by_path(folder):
    """Sort the whole paths as text."""
    paths, labels, classes = _list(folder)
    order = sorted(range(len(paths)), key=lambda index: paths[index])
    return [paths[index] for index in order], labels[order], classes


@WRONG("list_images")
def list_names(folder):
    """Return class names for labels."""
    paths, labels, classes = _list(folder)
    return paths, [classes[label] for label in labels], classes


@WRONG("list_images")
def list_from_one(folder):
    """Count the labels from 1."""
    paths, labels, classes = _list(folder)
    return paths, labels + 1, classes


@WRONG("list_images")
def list_two(folder):
    """Forget the class names."""
    return _list(folder)[:2]


@WRONG("list_images")
def list_example(folder):
    """Return the result of the example."""
    return ["daisy/10.jpg", "daisy/2.jpg", "rose/a.JPEG"], np.array([0, 0, 1]), ["daisy", "rose"]


@RIGHT("stratified_split")
def _split(labels, val, test, seed, change=""):
    """Split in the right way but for what ``change`` names."""
    rng = np.random if change == "global" else np.random.default_rng(None if change == "unseeded" else seed)
    parts = [], [], []
    kinds = range(labels.max() + 1) if change == "consecutive" else np.unique(labels)
    for kind in kinds:
        where = np.flatnonzero(labels == kind)
        order = where if change == "in order" else rng.permutation(where)
        rounding = {
            "floor": int,
            "ceil": lambda x: int(np.ceil(x)),
            "half up": lambda x: int(x + 0.5),
        }.get(change, round)
        a = rounding(val * len(order))
        b = a + (
            rounding(test * (len(order) - a)) if change == "of the rest" else rounding(test * len(order))
        )
        if change == "at least one":
            a, b = max(a, 1), max(a, 1) + max(b - a, 1)
        chosen = [order[b:], order[:a], order[a:b]]
        if change == "overlap":
            chosen[0] = order[a:]
        if change == "test is val":
            chosen[2] = order[: b - a]
            chosen[0] = order[a:]
        if change == "lost":
            chosen[0] = order[b + 1 :]
        for part, piece in zip(parts, chosen, strict=True):
            part.append(piece)
    result = [np.concatenate(part) for part in parts]
    return tuple(result if change == "unsorted" else [np.sort(part) for part in result])


@RIGHT("stratified_split")
def split_shuffled_first(labels, val, test, seed):
    """Shuffle everything once and give each sample its place within its class."""
    part = np.zeros(len(labels), int)
    seen, counts = {}, {int(kind): int(np.sum(labels == kind)) for kind in labels}
    for index in np.random.default_rng(seed).permutation(len(labels)):
        kind = int(labels[index])
        place = seen[kind] = seen.get(kind, -1) + 1
        first = round(val * counts[kind])
        part[index] = 1 if place < first else 2 if place < first + round(test * counts[kind]) else 0
    return [np.flatnonzero(part == number) for number in range(3)]


@RIGHT("stratified_split")
def split_by_random_keys(labels, val, test, seed):
    """Rank random numbers within each class; Python's own generator and lists."""
    keys, parts = random.Random(seed), ([], [], [])
    for kind in sorted(set(labels.tolist())):
        members = [index for index, label in enumerate(labels) if label == kind]
        n, m = round(val * len(members)), round(test * len(members))
        chosen = keys.sample(members, n + m)
        parts[1].extend(chosen[:n])
        parts[2].extend(chosen[n:])
        parts[0].extend(set(members) - set(chosen))
    return tuple(sorted(part) for part in parts)


for _change, _what in {
    "floor": "Round down.",
    "ceil": "Round up.",
    "half up": "Round halves up instead of to the even number.",
    "of the rest": "Take the test fraction of what validation left.",
    "at least one": "Force one sample into every part.",
    "overlap": "Leave the test samples in the training set.",
    "test is val": "Use the same samples for validation and test.",
    "lost": "Lose a sample of each class.",
    "in order": "Take the first of each class.",
    "unsorted": "Return unsorted indices.",
    "unseeded": "Ignore the seed.",
}.items():
    WRONG.add("stratified_split", _split, _what, change=_change)


@WRONG("stratified_split")
def split_python_random(labels, val, test, seed):
    """Seed and use Python's global generator."""
    random.seed(seed)
    return _split_by(
        labels, val, test, lambda order: np.array(random.sample(order.tolist(), len(order)), int)
    )


@WRONG("stratified_split")
def split_rotated(labels, val, test, seed):
    """Begin at another place for every seed, but keep the order."""
    return _split_by(labels, val, test, lambda order: np.roll(order, seed))


def _split_by(labels, val, test, arrange):
    parts = [], [], []
    for k in np.unique(labels):
        order = arrange(np.flatnonzero(labels == k))
        a = round(val * len(order))
        b = a + round(test * len(order))
        for part, chosen in zip(parts, (order[b:], order[:a], order[a:b]), strict=True):
            part.append(chosen)
    return tuple(np.sort(np.concatenate(part)) for part in parts)


@WRONG("stratified_split")
def split_global(labels, val, test, seed):
    """Seed and use the global generator."""
    np.random.seed(seed)
    return _split(labels, val, test, seed, "global")


@WRONG("stratified_split")
def split_fixed_seed(labels, val, test, seed):
    """Use one seed for all."""
    return _split(labels, val, test, 0)


@WRONG("stratified_split")
def split_consecutive(labels, val, test, seed):
    """Expect labels without gaps, and lose the last class."""
    return _split(labels, val, test, seed, "consecutive")[:2] + (np.zeros(0, int),)


@WRONG("stratified_split")
def split_not_stratified(labels, val, test, seed):
    """Shuffle all classes together."""
    order = np.random.default_rng(seed).permutation(len(labels))
    a = round(val * len(labels))
    b = a + round(test * len(labels))
    return np.sort(order[b:]), np.sort(order[:a]), np.sort(order[a:b])


@WRONG("stratified_split")
def split_tail(labels, val, test, seed):
    """Cut off the end."""
    a, b = round(val * len(labels)), round(test * len(labels))
    order = np.arange(len(labels))
    return order[: len(order) - a - b], order[len(order) - a - b : len(order) - b], order[len(order) - b :]


@WRONG("stratified_split")
def split_order(labels, val, test, seed):
    """Return validation first."""
    train, valid, held_out = _split(labels, val, test, seed)
    return valid, held_out, train


@WRONG("stratified_split")
def split_masks(labels, val, test, seed):
    """Return masks instead of indices."""
    return tuple(np.isin(np.arange(len(labels)), part) for part in _split(labels, val, test, seed))


@WRONG("stratified_split")
def split_two(labels, val, test, seed):
    """Return only training and test."""
    return _split(labels, val, test, seed)[::2]


@WRONG("stratified_split")
def split_values(labels, val, test, seed):
    """Return labels instead of indices."""
    return tuple(labels[part] for part in _split(labels, val, test, seed))


def _resized(data, size, channels=3, **options):
    return tf.image.resize(tf.io.decode_jpeg(data, channels=channels), (size, size), **options)


@RIGHT("decode_image")
def decode_scaled_first(data, size):
    """Turn the bytes into numbers of 0..1 before resizing."""
    image = tf.image.convert_image_dtype(tf.io.decode_jpeg(data, channels=3), tf.float32)
    return tf.image.resize(image, [size, size])


@RIGHT("decode_image")
@tf.function
def decode_any_format(data, size):
    """decode_image without animations, which knows three axes; a fixed shape; inside a tf.function."""
    image = tf.io.decode_image(data, channels=3, expand_animations=False)
    image = tf.image.resize(image, (size, size), method=tf.image.ResizeMethod.BILINEAR) * (1 / 255)
    return tf.ensure_shape(image, (size, size, 3))


@RIGHT("decode_image")
def decode_grey_by_hand(data, size):
    """The exact cosine transform, as Pillow; grey is repeated by hand and the batch axis made and dropped."""
    image = tf.io.decode_jpeg(data, dct_method="INTEGER_ACCURATE")
    image = tf.cond(tf.shape(image)[2] == 1, lambda: tf.repeat(image, 3, axis=2), lambda: image)
    image = tf.reshape(tf.cast(image, tf.float32), tf.concat([[1], tf.shape(image)[:2], [3]], axis=0))
    return tf.squeeze(tf.image.resize(image, (size, size)), axis=0) / 255.0


@WRONG("decode_image")
def decode_by_256(data, size):
    """Divide by 256."""
    return _resized(data, size) / 256


@WRONG("decode_image")
def decode_rounded_down(data, size):
    """Turn the resized picture into integers first."""
    return tf.cast(tf.cast(_resized(data, size), tf.uint8), tf.float32) / 255


@WRONG("decode_image")
def decode_not_scaled(data, size):
    """Leave the values in 0..255."""
    return _resized(data, size)


@WRONG("decode_image")
def decode_convert_late(data, size):
    """Convert the type after resizing, which scales nothing."""
    return tf.image.convert_image_dtype(_resized(data, size), tf.float32)


@WRONG("decode_image")
def decode_scaled_twice(data, size):
    """Divide by 255 twice."""
    image = tf.image.convert_image_dtype(tf.io.decode_jpeg(data, channels=3), tf.float32)
    return tf.image.resize(image, (size, size)) / 255


@WRONG("decode_image")
def decode_signed(data, size):
    """Scale to -1..1."""
    return _resized(data, size) / 127.5 - 1


@WRONG("decode_image")
def decode_min_max(data, size):
    """Stretch every picture to its own range."""
    image = _resized(data, size)
    low, high = tf.reduce_min(image), tf.reduce_max(image)
    return (image - low) / (high - low + 1e-7)


@WRONG("decode_image")
def decode_any_channels(data, size):
    """Keep one channel of a grey picture."""
    return _resized(data, size, channels=0) / 255


@WRONG("decode_image")
def decode_grey(data, size):
    """Decode everything as grey."""
    return tf.repeat(_resized(data, size, channels=1), 3, axis=-1) / 255


@WRONG("decode_image")
def decode_decode_image(data, size):
    """Use decode_image, which has no static shape."""
    return tf.image.resize(tf.io.decode_image(data, channels=3), (size, size)) / 255


@WRONG("decode_image")
def decode_nearest(data, size):
    """Take the nearest pixel."""
    return tf.cast(_resized(data, size, method="nearest"), tf.float32) / 255


@WRONG("decode_image")
def decode_antialias(data, size):
    """Smooth before resizing."""
    return _resized(data, size, antialias=True) / 255


@WRONG("decode_image")
def decode_padded(data, size):
    """Keep the aspect ratio and pad."""
    return tf.image.resize_with_pad(tf.io.decode_jpeg(data, channels=3), size, size) / 255


@WRONG("decode_image")
def decode_cropped(data, size):
    """Cut out the middle instead of resizing."""
    return tf.image.resize_with_crop_or_pad(tf.io.decode_jpeg(data, channels=3), size, size) / 255


@WRONG("decode_image")
def decode_uint8(data, size):
    """Return integers."""
    return tf.cast(_resized(data, size), tf.uint8)


@WRONG("decode_image")
def decode_integer_division(data, size):
    """Divide as integers."""
    return tf.cast(tf.cast(_resized(data, size), tf.int32) // 255, tf.float32)


@WRONG("decode_image")
def decode_float64(data, size):
    """Return float64."""
    return tf.cast(_resized(data, size), tf.float64) / 255


@WRONG("decode_image")
def decode_transposed(data, size):
    """Swap height and width."""
    return tf.transpose(_resized(data, size), (1, 0, 2)) / 255


@WRONG("decode_image")
def decode_bgr(data, size):
    """Reverse the channels."""
    return _resized(data, size)[..., ::-1] / 255


@WRONG("decode_image")
def decode_not_resized(data, size):
    """Forget to resize."""
    return tf.cast(tf.io.decode_jpeg(data, channels=3), tf.float32) / 255


@WRONG("decode_image")
def decode_batched(data, size):
    """Add a batch axis."""
    return _resized(data, size)[None] / 255


@WRONG("decode_image")
def decode_eager(data, size):
    """Work outside of a dataset only."""
    return tf.constant(_resized(data, size).numpy() / 255)


@WRONG("decode_image")
def decode_fixed_size(data, size):
    """Ignore the size."""
    return _resized(data, 4) / 255


@WRONG("decode_image")
def decode_example(data, size):
    """Return the result of the example."""
    return tf.fill((4, 4, 3), 0.2)


@RIGHT("channel_statistics")
def statistics_merged(dataset):
    """Merge means and squared deviations batch by batch (Chan and others)."""
    count, mean, squares = 0, np.zeros(3), np.zeros(3)
    for images in dataset.as_numpy_iterator():
        pixels = images.reshape(-1, 3).astype("float64")
        apart = pixels.mean(axis=0) - mean
        share = len(pixels) / (count + len(pixels))
        squares += pixels.var(axis=0) * len(pixels) + apart**2 * count * share
        mean, count = mean + apart * share, count + len(pixels)
    return mean, np.sqrt(squares / count)


@RIGHT("channel_statistics")
def statistics_reduced(dataset):
    """dataset.reduce with TensorFlow in float64."""

    def add(state, images):
        images = tf.cast(images, tf.float64)
        sums = [tf.reduce_sum(images**power, axis=(0, 1, 2)) for power in (0, 1, 2)]
        return tuple(old + new for old, new in zip(state, sums, strict=True))

    count, total, squares = dataset.reduce((tf.zeros(3, tf.float64),) * 3, add)
    mean = total / count
    return [mean, tf.sqrt(tf.nn.relu(squares / count - mean**2))]


@WRONG("channel_statistics")
def statistics_mean_of_std(dataset):
    """Average the deviations of the batches."""
    mean, _ = statistics_right(dataset.cache())
    return mean, np.mean([images.numpy().astype(float).std(axis=(0, 1, 2)) for images in dataset], axis=0)


@RIGHT("channel_statistics")
def statistics_right(dataset):
    """Stack everything."""
    images = np.concatenate([images.numpy() for images in dataset]).astype(np.float64)
    return images.mean(axis=(0, 1, 2)), images.std(axis=(0, 1, 2))


@WRONG("channel_statistics")
def statistics_one_pass_mean_of_std(dataset):
    """Average means and deviations of the batches in one pass."""
    parts = [images.numpy().astype(np.float64) for images in dataset]
    means, stds = zip(*[(part.mean(axis=(0, 1, 2)), part.std(axis=(0, 1, 2))) for part in parts], strict=True)
    return np.mean(means, axis=0), np.mean(stds, axis=0)


@WRONG("channel_statistics")
def statistics_mean_of_means(dataset):
    """Average the means of the batches without their sizes."""
    parts = [images.numpy().astype(np.float64) for images in dataset]
    mean = np.mean([part.mean(axis=(0, 1, 2)) for part in parts], axis=0)
    return mean, np.concatenate(parts).std(axis=(0, 1, 2))


def _moments(dataset, kind=np.float64):
    count, total, squares = 0, np.zeros(3, kind), np.zeros(3, kind)
    for images in dataset:
        images = images.numpy().astype(kind)
        count += images[..., 0].size
        total += images.sum(axis=(0, 1, 2), dtype=kind)
        squares += (images**2).sum(axis=(0, 1, 2), dtype=kind)
    return count, total, squares


@WRONG("channel_statistics")
def statistics_float32(dataset):
    """Sum in float32."""
    count, total, squares = _moments(dataset, np.float32)
    mean = total / np.float32(count)
    return mean, np.sqrt(np.maximum(squares / np.float32(count) - mean**2, 0))


@WRONG("channel_statistics")
def statistics_negative(dataset):
    """Take the root of a variance that rounding made negative."""
    count, total, squares = _moments(dataset)
    mean = total / count
    with np.errstate(invalid="ignore"):
        return mean, np.sqrt(squares / count - mean**2)


@WRONG("channel_statistics")
def statistics_variance(dataset):
    """Forget the root."""
    mean, std = statistics_right(dataset)
    return mean, std**2


@WRONG("channel_statistics")
def statistics_sample(dataset):
    """Divide by M - 1."""
    count, total, squares = _moments(dataset)
    mean = total / count
    return mean, np.sqrt(np.maximum(squares - count * mean**2, 0) / max(count - 1, 1))


@WRONG("channel_statistics")
def statistics_second_moment(dataset):
    """Forget to subtract the mean."""
    count, total, squares = _moments(dataset)
    return total / count, np.sqrt(squares / count)


@WRONG("channel_statistics")
def statistics_all_channels(dataset):
    """Mix the channels."""
    images = np.concatenate([images.numpy() for images in dataset]).astype(np.float64)
    return np.full(3, images.mean()), np.full(3, images.std())


@WRONG("channel_statistics")
def statistics_scalar(dataset):
    """Return one number for all channels."""
    images = np.concatenate([images.numpy() for images in dataset]).astype(np.float64)
    return images.mean(), images.std()


@WRONG("channel_statistics")
def statistics_per_pixel(dataset):
    """Average over the samples only."""
    images = np.concatenate([images.numpy() for images in dataset]).astype(np.float64)
    return images.mean(axis=0), images.std(axis=0)


@WRONG("channel_statistics")
def statistics_first_batch(dataset):
    """Use the first batch only."""
    return statistics_right(dataset.take(1))


@WRONG("channel_statistics")
def statistics_image_count(dataset):
    """Divide by the images instead of the pixels."""
    images = np.concatenate([images.numpy() for images in dataset]).astype(np.float64)
    mean = images.sum(axis=(0, 1, 2)) / len(images)
    return mean, np.sqrt(np.maximum((images**2).sum(axis=(0, 1, 2)) / len(images) - mean**2, 0))


@WRONG("channel_statistics")
def statistics_two_passes(dataset):
    """Go through the data twice."""
    count, total, _ = _moments(dataset)
    mean = total / count
    squares = sum(((images.numpy().astype(float) - mean) ** 2).sum(axis=(0, 1, 2)) for images in dataset)
    return mean, np.sqrt(squares / count)


@WRONG("channel_statistics")
def statistics_swapped(dataset):
    """Return the deviation first."""
    return statistics_right(dataset)[::-1]


@WRONG("channel_statistics")
def statistics_mean_only(dataset):
    """Return the mean only."""
    return statistics_right(dataset)[0]


@WRONG("channel_statistics")
def statistics_floor(dataset):
    """Add a small number to every deviation."""
    mean, std = statistics_right(dataset)
    return mean, std + 1e-2


@WRONG("channel_statistics")
def statistics_example(dataset):
    """Return the result of the example."""
    return np.array([0.5, 0.2, 0.3]), np.array([0.40824829, 0, 0.42426407])


def _augment(image, label, flip, brightness, clip=True, max_delta=0.1):
    image = tf.image.stateless_random_flip_left_right(image, seed=flip)
    image = tf.image.stateless_random_brightness(image, max_delta=max_delta, seed=brightness)
    return (tf.clip_by_value(image, 0.0, 1.0) if clip else image), label


@RIGHT("augment")
def augment_drawn(image, label, seed):
    """Two numbers from one draw, without TensorFlow's image functions; another distribution of the seeds."""
    flip, delta = tf.unstack(tf.random.stateless_uniform((2,), seed=seed))
    image = tf.where(flip < 0.5, image, tf.reverse(image, axis=[1]))
    return tf.minimum(tf.maximum(image + (delta - 0.5) / 5, 0), 1), label


@RIGHT("augment")
@tf.function
def augment_folded(image, label, seed):
    """The brightness first, seeds made with fold_in, a condition instead of a choice, inside a tf.function."""
    first, second = (tf.random.experimental.stateless_fold_in(tf.cast(seed, tf.int64), n) for n in (1, 2))
    image = tf.image.adjust_brightness(image, tf.random.stateless_uniform((), first, -0.1, 0.1))
    if tf.random.stateless_uniform((), second) > 0.5:
        image = tf.image.flip_left_right(image)
    return tf.clip_by_value(image, 0, 1), label


@WRONG("augment")
def augment_only_tensor_seeds(image, label, seed):
    """Add to the seed, which a pair of numbers does not allow."""
    return _augment(image, label, seed, seed + 1000)


@WRONG("augment")
def augment_same_seed(image, label, seed):
    """Give both operations the same seed."""
    return _augment(image, label, seed, seed)


def _seeds(first, second):
    return tf.unstack(tf.random.split(tf.stack([first, second]), 2))


@WRONG("augment")
def augment_first_number(image, label, seed):
    """Use only the seed's first number."""
    return _augment(image, label, *_seeds(seed[0], seed[0]))


@WRONG("augment")
def augment_second_number(image, label, seed):
    """Use only the seed's second number."""
    return _augment(image, label, *_seeds(seed[1], seed[1]))


@WRONG("augment")
def augment_not_clipped(image, label, seed):
    """Leave values above 1."""
    return _augment(image, label, *tf.unstack(tf.random.split(seed, 2)), clip=False)


@WRONG("augment")
def augment_strong(image, label, seed):
    """Change the brightness twice as much."""
    return _augment(image, label, *tf.unstack(tf.random.split(seed, 2)), max_delta=0.2)


@WRONG("augment")
def augment_weak(image, label, seed):
    """Change the brightness half as much."""
    return _augment(image, label, *tf.unstack(tf.random.split(seed, 2)), max_delta=0.05)


@WRONG("augment")
def augment_brighter(image, label, seed):
    """Only ever brighten."""
    flip, brightness = tf.unstack(tf.random.split(seed, 2))
    image = tf.image.stateless_random_flip_left_right(image, seed=flip)
    delta = tf.random.stateless_uniform((), seed=brightness, maxval=0.1)
    return tf.clip_by_value(image + delta, 0.0, 1.0), label


@WRONG("augment")
def augment_stateful(image, label, seed):
    """Use the global random state."""
    image = tf.image.random_brightness(tf.image.random_flip_left_right(image), 0.1)
    return tf.clip_by_value(image, 0.0, 1.0), label


@WRONG("augment")
def augment_fixed_seed(image, label, seed):
    """Ignore the seed."""
    return _augment(image, label, (0, 1), (2, 3))


@WRONG("augment")
def augment_python(image, label, seed):
    """Decide once, while the graph is traced."""
    rng = np.random.default_rng(1)
    image = image[:, ::-1] if rng.random() < 0.5 else image
    return tf.clip_by_value(image + np.float32(rng.uniform(-0.1, 0.1)), 0.0, 1.0), label


@WRONG("augment")
def augment_always_flips(image, label, seed):
    """Flip every picture."""
    image = tf.image.stateless_random_brightness(image[:, ::-1], 0.1, seed=seed)
    return tf.clip_by_value(image, 0.0, 1.0), label


@WRONG("augment")
def augment_never_flips(image, label, seed):
    """Forget to flip."""
    return tf.clip_by_value(tf.image.stateless_random_brightness(image, 0.1, seed=seed), 0.0, 1.0), label


@WRONG("augment")
def augment_up_down(image, label, seed):
    """Flip upside down."""
    flip, brightness = tf.unstack(tf.random.split(seed, 2))
    image = tf.image.stateless_random_flip_up_down(image, seed=flip)
    image = tf.image.stateless_random_brightness(image, 0.1, seed=brightness)
    return tf.clip_by_value(image, 0.0, 1.0), label


@WRONG("augment")
def augment_no_brightness(image, label, seed):
    """Forget the brightness."""
    return tf.image.stateless_random_flip_left_right(image, seed=seed), label


@WRONG("augment")
def augment_per_pixel(image, label, seed):
    """Draw a brightness for every pixel."""
    flip, brightness = tf.unstack(tf.random.split(seed, 2))
    image = tf.image.stateless_random_flip_left_right(image, seed=flip)
    noise = tf.random.stateless_uniform(tf.shape(image), seed=brightness, minval=-0.1, maxval=0.1)
    return tf.clip_by_value(image + noise, 0.0, 1.0), label


@WRONG("augment")
def augment_no_label(image, label, seed):
    """Return the picture only."""
    return _augment(image, label, *tf.unstack(tf.random.split(seed, 2)))[0]


@WRONG("augment")
def augment_float_label(image, label, seed):
    """Turn the label into a float."""
    image, label = _augment(image, label, *tf.unstack(tf.random.split(seed, 2)))
    return image, tf.cast(label, tf.float32)


@WRONG("augment")
def augment_one_hot(image, label, seed):
    """Turn the label into a vector."""
    image, label = _augment(image, label, *tf.unstack(tf.random.split(seed, 2)))
    return image, tf.one_hot(label, 5)


@WRONG("augment")
def augment_flips_label(image, label, seed):
    """Change the label."""
    image, label = _augment(image, label, *tf.unstack(tf.random.split(seed, 2)))
    return image, label + 1


@WRONG("augment")
def augment_unchanged(image, label, seed):
    """Return the inputs."""
    return image, label


@RIGHT("write_shards")
def _write(paths, labels, folder, num_shards, change=""):
    """Write in the right way but for what ``change`` names."""
    total = num_shards - (change == "off by one")
    names = [f"{s + (change == 'from one'):05d}-of-{num_shards:05d}.tfrecord" for s in range(num_shards)]
    if change == "short names":
        names = [f"{s}.tfrecord" for s in range(num_shards)]
    rows, skipped = [[] for _ in names], []
    kept = 0
    good = []
    for index, (path, label) in enumerate(zip(paths, labels, strict=True)):
        raw = Path(path).read_bytes()
        try:
            if change == "only empty":
                if not raw:
                    raise ValueError
            elif change == "magic":
                if not raw.startswith(b"\xff\xd8\xff"):
                    raise ValueError
            elif change == "grey is broken":
                if tf.io.decode_jpeg(raw).shape[-1] != 3:
                    raise ValueError
            elif change != "keep all":
                tf.io.decode_jpeg(raw, channels=3)
        except (ValueError, tf.errors.InvalidArgumentError):
            skipped.append(path)
            if change == "stop":
                break
            continue
        if change == "encoded again":
            raw = tf.io.encode_jpeg(tf.io.decode_jpeg(raw, channels=3)).numpy()
        if change == "pixels":
            raw = tf.io.decode_jpeg(raw, channels=3).numpy().tobytes()
        if change == "paths":
            raw = path.encode()
        if change == "shifted labels":
            label = labels[kept]
        good.append((raw, label))
        rows[(index if change == "file number" else kept) % max(total, 1)].append((raw, label))
        kept += 1
    if change == "blocks":
        size = -(-len(good) // num_shards) or 1
        rows = [good[s * size : (s + 1) * size] for s in range(num_shards)]
    for name, row in zip(names, rows, strict=True):
        if change == "no empty shards" and not row:
            continue
        with tf.io.TFRecordWriter(str(Path(folder) / name)) as writer:
            for raw, label in row[::-1] if change == "reversed" else row:
                feature = {
                    "img" if change == "names" else "image": tf.train.Feature(
                        bytes_list=tf.train.BytesList(value=[raw])
                    ),
                    "label": tf.train.Feature(float_list=tf.train.FloatList(value=[label]))
                    if change == "float label"
                    else tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
                }
                example = tf.train.Example(features=tf.train.Features(feature=feature))
                writer.write(raw if change == "raw" else example.SerializeToString())
    return kept if change == "count" else None if change == "none" else skipped


@RIGHT("write_shards")
def write_streaming(paths, labels, folder, num_shards):
    """Write as the files come, with all shards open; NumPy integers and TensorFlow's reader."""
    skipped = []
    with contextlib.ExitStack() as stack:
        names = [f"{folder}/{shard:05d}-of-{num_shards:05d}.tfrecord" for shard in range(num_shards)]
        writers = itertools.cycle([stack.enter_context(tf.io.TFRecordWriter(name)) for name in names])
        for index in range(len(paths)):
            raw = tf.io.read_file(paths[index]).numpy()
            try:
                tf.io.decode_jpeg(raw)
            except tf.errors.InvalidArgumentError:
                skipped += [paths[index]]
                continue
            example = tf.train.Example()
            example.features.feature["image"].bytes_list.value.append(raw)
            example.features.feature["label"].int64_list.value.append(int(labels[index]))
            next(writers).write(example.SerializeToString())
    return skipped


for _change, _what in {
    "keep all": "Keep broken files.",
    "only empty": "Skip empty files only.",
    "magic": "Look at the first bytes only.",
    "grey is broken": "Take a grey file for a broken one.",
    "stop": "Stop at the first broken file.",
    "file number": "Deal out by the number of the file.",
    "off by one": "Leave the last shard empty.",
    "from one": "Number the shards from 1.",
    "short names": "Call the shards otherwise.",
    "no empty shards": "Leave out shards without records.",
    "blocks": "Write blocks instead of dealing out.",
    "reversed": "Write the last record first.",
    "encoded again": "Compress the pictures again.",
    "pixels": "Store pixels.",
    "paths": "Store paths.",
    "shifted labels": "Shift the labels after a broken file.",
    "names": "Call the feature otherwise.",
    "float label": "Store the label as a float.",
    "raw": "Store no Example.",
    "count": "Return the number of records.",
    "none": "Return nothing.",
}.items():
    WRONG.add("write_shards", _write, _what, change=_change)


@WRONG("write_shards")
def write_and_remove(paths, labels, folder, num_shards):
    """Take what is broken out of the given list."""
    skipped = _write(paths, labels, folder, num_shards)
    for path in skipped:
        paths.remove(path)
    return skipped


@WRONG("read_shards")
def read_sequential(files, decode):
    """Read one shard after the other."""
    return tf.data.TFRecordDataset(files).map(lambda record: _parse(record, decode))


def _parse(record, decode, kind=tf.int64):
    features = {
        "image": tf.io.FixedLenFeature((), tf.string),
        "label": tf.io.FixedLenFeature((), tf.int64),
    }
    parsed = tf.io.parse_single_example(record, features)
    return decode(parsed["image"]), tf.cast(parsed["label"], kind)


def _interleaved(files, **options):
    return tf.data.Dataset.from_tensor_slices(files).interleave(tf.data.TFRecordDataset, **options)


@RIGHT("read_shards")
def read_in_parallel(files, decode):
    """interleave over range, in parallel, and records parsed in batches that are taken apart again."""
    files = tf.constant(files)
    shards = tf.data.Dataset.range(len(files)).interleave(
        lambda index: tf.data.TFRecordDataset(files[index]),
        cycle_length=len(files),
        num_parallel_calls=AUTOTUNE,
        deterministic=True,
    )
    kinds = {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}
    rows = shards.batch(8).map(lambda batch: tf.io.parse_example(batch, kinds)).unbatch()
    return rows.map(lambda row: (decode(row["image"]), row["label"]), AUTOTUNE).prefetch(2)


@WRONG("read_shards")
def read_default_cycle(files, decode):
    """Leave the cycle length to TensorFlow."""
    return _interleaved(files, cycle_length=None).map(lambda record: _parse(record, decode))


@WRONG("read_shards")
def read_two_at_a_time(files, decode):
    """Open two shards only."""
    return _interleaved(files, cycle_length=2).map(lambda record: _parse(record, decode))


@WRONG("read_shards")
def read_blocks(files, decode):
    """Read two records of a shard in a row."""
    records = _interleaved(files, cycle_length=len(files), block_length=2)
    return records.map(lambda record: _parse(record, decode))


@WRONG("read_shards")
def read_one_short(files, decode):
    """Open one shard too few."""
    records = _interleaved(files, cycle_length=max(len(files) - 1, 1))
    return records.map(lambda record: _parse(record, decode))


@WRONG("read_shards")
def read_reversed(files, decode):
    """Read the shards from the last on."""
    return _interleaved(files[::-1], cycle_length=len(files)).map(lambda record: _parse(record, decode))


@WRONG("read_shards")
def read_first_only(files, decode):
    """Read the first shard only."""
    return _interleaved(files[:1], cycle_length=1).map(lambda record: _parse(record, decode))


@WRONG("read_shards")
def read_repeated(files, decode):
    """Repeat without end."""
    return _read(files, decode).repeat()


@RIGHT("read_shards")
def _read(files, decode):
    return _interleaved(files, cycle_length=len(files)).map(lambda record: _parse(record, decode))


@WRONG("read_shards")
def read_shuffled(files, decode):
    """Shuffle."""
    return _read(files, decode).shuffle(100, seed=1)


@WRONG("read_shards")
def read_not_decoded(files, decode):
    """Return bytes."""
    return _read(files, tf.identity)


@WRONG("read_shards")
def read_not_parsed(files, decode):
    """Return the records."""
    return _interleaved(files, cycle_length=len(files))


@WRONG("read_shards")
def read_batched(files, decode):
    """Return batches."""
    return _read(files, decode).batch(4)


@WRONG("read_shards")
def read_int32(files, decode):
    """Cast the label."""
    return _interleaved(files, cycle_length=len(files)).map(lambda record: _parse(record, decode, tf.int32))


@WRONG("read_shards")
def read_swapped(files, decode):
    """Return the label first."""
    return _read(files, decode).map(lambda image, label: (label, image))


@WRONG("read_shards")
def read_dict(files, decode):
    """Return dictionaries."""
    return _read(files, decode).map(lambda image, label: {"image": image, "label": label})


@WRONG("read_shards")
def read_image_only(files, decode):
    """Forget the label."""
    return _read(files, decode).map(lambda image, label: image)


@WRONG("read_shards")
def read_list(files, decode):
    """Return a list."""
    return list(_read(files, decode))


@WRONG("read_shards")
def read_skips_first(files, decode):
    """Lose the first record."""
    return _read(files, decode).skip(1)


@RIGHT("make_pipeline")
def _pipe(paths, labels, load, augment, batch_size, training, seed=0, change=()):
    """Build the right pipeline but for what ``change`` names."""
    calls = {} if "serial load" in change else {"num_parallel_calls": AUTOTUNE}
    later = (
        {} if "serial augment" in change else {"num_parallel_calls": 2 if "two calls" in change else AUTOTUNE}
    )
    count = len(paths)
    if "shuffle apart" in change and training:
        labels = labels[np.random.default_rng(seed).permutation(count)]
    if "shuffle once" in change and training:
        order = np.random.default_rng(seed).permutation(count)
        paths, labels = [paths[index] for index in order], labels[order]
    dataset = tf.data.Dataset.from_tensor_slices((paths, labels))
    if "cache paths" in change:
        dataset = dataset.cache()
    if "shuffle first" in change and training:
        dataset = dataset.shuffle(count, seed=seed)
    dataset = dataset.map(lambda path, label: (load(path), label), **calls)
    early = {"cache late", "cache paths", "no cache", "cache batches", "cache shuffled"}
    if not early & set(change):
        dataset = dataset.cache()
    training = not training if "inverted" in change else training
    shuffles = training and not {"no shuffle", "shuffle first", "shuffle batches", "shuffle once"} & set(
        change
    )
    if shuffles or "shuffle validation" in change:
        buffer = 4 if "small buffer" in change else count // 2 if "half buffer" in change else count
        again = "same order" not in change
        dataset = dataset.shuffle(buffer, None if "no seed" in change else seed, again)
    if "cache shuffled" in change:
        dataset = dataset.cache()
    augments = training and "no augment" not in change or "augment validation" in change
    if augments:
        again = "same seeds" not in change
        seeds = tf.data.Dataset.random(seed, rerandomize_each_iteration=again).batch(2, drop_remainder=True)
        if "one seed" in change:
            seeds = tf.data.Dataset.from_tensors((seed, seed)).repeat()
            seeds = seeds.map(lambda a, b: tf.stack([a, b]), num_parallel_calls=AUTOTUNE)
        if "index seeds" in change:
            seeds = tf.data.Dataset.range(10**6).batch(2, drop_remainder=True)
        for _ in range(2 if "augment twice" in change else 1):
            pairs = tf.data.Dataset.zip(dataset, seeds)
            dataset = pairs.map(lambda pair, seed: augment(*pair, seed), **later)
    if "cache late" in change:
        dataset = dataset.cache()
    if "prefetch early" in change:
        dataset = dataset.prefetch(AUTOTUNE)
    drop = {"keep": False, "drop": True}.get(next((c for c in change if c in ("keep", "drop")), ""), training)
    dataset = dataset.batch(batch_size, drop_remainder=drop)
    if "cache batches" in change:
        dataset = dataset.cache()
    if "shuffle batches" in change and training:
        dataset = dataset.shuffle(count, seed=seed)
    if "repeat" in change and training:
        dataset = dataset.repeat()
    if "twice" in change and training:
        dataset = dataset.repeat(2)
    return dataset if {"prefetch early", "no prefetch"} & set(change) else dataset.prefetch(AUTOTUNE)


@RIGHT("make_pipeline")
def pipeline_of_two(paths, labels, load, augment, batch_size, training, seed=0):
    """Pictures and labels apart until they are paired; seeds paired with the loaded files first; early returns."""
    pictures = tf.data.Dataset.from_tensor_slices(paths).map(load, AUTOTUNE)
    dataset = tf.data.Dataset.zip((pictures, tf.data.Dataset.from_tensor_slices(labels))).cache()
    if not training:
        return dataset.batch(batch_size, num_parallel_calls=AUTOTUNE).prefetch(buffer_size=AUTOTUNE)
    seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2)
    dataset = tf.data.Dataset.zip((dataset.shuffle(10 * len(paths), seed), seeds))

    @tf.function
    def change(pair, numbers):
        return augment(pair[0], pair[1], numbers)

    return dataset.map(change, num_parallel_calls=AUTOTUNE).batch(batch_size, True).prefetch(AUTOTUNE)


for _change, _what in {
    "cache late": "Augment before the cache.",
    "cache paths": "Cache the paths only.",
    "no cache": "Load anew in every epoch.",
    "cache batches": "Cache whole batches.",
    "cache shuffled": "Cache the shuffled order.",
    "shuffle first": "Shuffle before the cache.",
    "shuffle batches": "Shuffle whole batches.",
    "shuffle once": "Shuffle once for all epochs.",
    "shuffle apart": "Shuffle the labels apart from the files.",
    "no shuffle": "Do not shuffle.",
    "same order": "Keep the order of the first epoch.",
    "small buffer": "Shuffle in a small buffer.",
    "half buffer": "Shuffle in half a buffer.",
    "no seed": "Shuffle without the seed.",
    "shuffle validation": "Shuffle for validation too.",
    "no augment": "Do not augment.",
    "augment validation": "Augment for validation too.",
    "augment twice": "Augment twice.",
    "same seeds": "Repeat the seeds in every epoch.",
    "one seed": "Give all pictures one seed.",
    "index seeds": "Count the seeds from 0 in every epoch.",
    "keep": "Keep the last batch in training.",
    "drop": "Drop the last batch in validation.",
    "inverted": "Swap training and validation.",
    "prefetch early": "Prefetch before batching.",
    "no prefetch": "Do not prefetch.",
    "serial load": "Load one after the other.",
    "serial augment": "Augment one after the other.",
    "two calls": "Fix the number of parallel calls.",
    "repeat": "Repeat without end.",
    "twice": "Repeat twice.",
}.items():
    WRONG.add("make_pipeline", _pipe, _what, change={_change})


@WRONG("make_pipeline")
def pipeline_labels_only(paths, labels, load, augment, batch_size, training, seed=0):
    """Return pictures without labels."""
    return _pipe(paths, labels, load, augment, batch_size, training, seed).map(
        lambda image, label: image, num_parallel_calls=AUTOTUNE
    )


@WRONG("make_pipeline")
def pipeline_fixed_batch(paths, labels, load, augment, batch_size, training, seed=0):
    """Ignore the batch size."""
    return _pipe(paths, labels, load, augment, 4, training, seed)


@WRONG("make_pipeline")
def pipeline_fixed_seed(paths, labels, load, augment, batch_size, training, seed=0):
    """Ignore the seed."""
    return _pipe(paths, labels, load, augment, batch_size, training, 5)


@WRONG("make_pipeline")
def pipeline_list(paths, labels, load, augment, batch_size, training, seed=0):
    """Return a list of batches."""
    return list(_pipe(paths, labels, load, augment, batch_size, training, seed))
