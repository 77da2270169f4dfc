"""Wrong answers to practice 4.1, each with the one mistake its docstring names."""

from pathlib import Path

import numpy as np
import tensorflow as tf

AUTOTUNE = tf.data.AUTOTUNE


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


def list_case(folder):
    """Miss suffixes in capitals."""
    return _list(folder, "case")


def list_jpg_only(folder):
    """Miss the suffix .jpeg."""
    return _list(folder, "jpg only")


def list_hidden(folder):
    """Keep hidden files."""
    return _list(folder, "hidden")


def list_hidden_folders(folder):
    """Take hidden folders for classes."""
    return _list(folder, "hidden folders")


def list_everything(folder):
    """Keep files that are no images."""
    return _list(folder, "everything")


def list_contains(folder):
    """Look for .jp anywhere in the name."""
    return _list(folder, "contains")


def list_folders(folder):
    """Keep a folder that is called like an image."""
    return _list(folder, "folders")


def list_recursive(folder):
    """Go into folders within a class."""
    paths, labels, classes = _list(folder, "recursive")
    return paths, labels, classes


def list_natural(folder):
    """Sort 2 before 10."""
    return _list(folder, "natural")


def list_no_capitals(folder):
    """Sort as if there were no capitals."""
    return _list(folder, "no capitals")


def list_empty(folder):
    """Leave out classes without images."""
    return _list(folder, "empty")


def list_reversed(folder):
    """Number the classes backwards."""
    return _list(folder, "reversed")


def list_objects(folder):
    """Return Path objects."""
    return _list(folder, "objects")


def list_by_path(folder):
    """Sort the whole paths as text."""
    paths, labels, classes = _list(folder)
    order = sorted(range(len(paths)), key=lambda index: paths[index])
    return [paths[index] for index in order], labels[order], classes


def list_names(folder):
    """Return class names for labels."""
    paths, labels, classes = _list(folder)
    return paths, [classes[label] for label in labels], classes


def list_from_one(folder):
    """Count the labels from 1."""
    paths, labels, classes = _list(folder)
    return paths, labels + 1, classes


def list_two(folder):
    """Forget the class names."""
    return _list(folder)[:2]


def list_example(folder):
    """Return the result of the example."""
    return ["daisy/10.jpg", "daisy/2.jpg", "rose/a.JPEG"], np.array([0, 0, 1]), ["daisy", "rose"]


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


def split_floor(labels, val, test, seed):
    """Round down."""
    return _split(labels, val, test, seed, "floor")


def split_ceil(labels, val, test, seed):
    """Round up."""
    return _split(labels, val, test, seed, "ceil")


def split_half_up(labels, val, test, seed):
    """Round halves up instead of to the even number."""
    return _split(labels, val, test, seed, "half up")


def split_of_the_rest(labels, val, test, seed):
    """Take the test fraction of what validation left."""
    return _split(labels, val, test, seed, "of the rest")


def split_at_least_one(labels, val, test, seed):
    """Force one sample into every part."""
    return _split(labels, val, test, seed, "at least one")


def split_overlap(labels, val, test, seed):
    """Leave the test samples in the training set."""
    return _split(labels, val, test, seed, "overlap")


def split_test_is_val(labels, val, test, seed):
    """Use the same samples for validation and test."""
    return _split(labels, val, test, seed, "test is val")


def split_lost(labels, val, test, seed):
    """Lose a sample of each class."""
    return _split(labels, val, test, seed, "lost")


def split_in_order(labels, val, test, seed):
    """Take the first of each class."""
    return _split(labels, val, test, seed, "in order")


def split_unsorted(labels, val, test, seed):
    """Return unsorted indices."""
    return _split(labels, val, test, seed, "unsorted")


def split_unseeded(labels, val, test, seed):
    """Ignore the seed."""
    return _split(labels, val, test, seed, "unseeded")


def split_global(labels, val, test, seed):
    """Seed and use the global generator."""
    np.random.seed(seed)
    return _split(labels, val, test, seed, "global")


def split_fixed_seed(labels, val, test, seed):
    """Use one seed for all."""
    return _split(labels, val, test, 0)


def split_consecutive(labels, val, test, seed):
    """Expect labels without gaps, and lose the last class."""
    return _split(labels, val, test, seed, "consecutive")[:2] + (np.zeros(0, int),)


def split_not_stratified(labels, val, test, seed):
    """Shuffle all classes together."""
    order = np.random.default_rng(seed).permutation(len(labels))
    a = round(val * len(labels))
    b = a + round(test * len(labels))
    return np.sort(order[b:]), np.sort(order[:a]), np.sort(order[a:b])


def split_tail(labels, val, test, seed):
    """Cut off the end."""
    a, b = round(val * len(labels)), round(test * len(labels))
    order = np.arange(len(labels))
    return order[: len(order) - a - b], order[len(order) - a - b : len(order) - b], order[len(order) - b :]


def split_order(labels, val, test, seed):
    """Return validation first."""
    train, valid, held_out = _split(labels, val, test, seed)
    return valid, held_out, train


def split_masks(labels, val, test, seed):
    """Return masks instead of indices."""
    return tuple(np.isin(np.arange(len(labels)), part) for part in _split(labels, val, test, seed))


def split_two(labels, val, test, seed):
    """Return only training and test."""
    return _split(labels, val, test, seed)[::2]


def split_values(labels, val, test, seed):
    """Return labels instead of indices."""
    return tuple(labels[part] for part in _split(labels, val, test, seed))


def _resized(data, size, channels=3, **options):
    return tf.image.resize(tf.io.decode_jpeg(data, channels=channels), (size, size), **options)


def decode_not_scaled(data, size):
    """Leave the values in 0..255."""
    return _resized(data, size)


def decode_convert_late(data, size):
    """Convert the type after resizing, which scales nothing."""
    return tf.image.convert_image_dtype(_resized(data, size), tf.float32)


def decode_scaled_twice(data, size):
    """Divide by 255 twice."""
    image = tf.image.convert_image_dtype(tf.io.decode_jpeg(data, channels=3), tf.float32)
    return tf.image.resize(image, (size, size)) / 255


def decode_signed(data, size):
    """Scale to -1..1."""
    return _resized(data, size) / 127.5 - 1


def decode_min_max(data, size):
    """Stretch every picture to its own range."""
    image = _resized(data, size)
    low, high = tf.reduce_min(image), tf.reduce_max(image)
    return (image - low) / (high - low + 1e-7)


def decode_any_channels(data, size):
    """Keep one channel of a grey picture."""
    return _resized(data, size, channels=0) / 255


def decode_grey(data, size):
    """Decode everything as grey."""
    return tf.repeat(_resized(data, size, channels=1), 3, axis=-1) / 255


def decode_decode_image(data, size):
    """Use decode_image, which has no static shape."""
    return tf.image.resize(tf.io.decode_image(data, channels=3), (size, size)) / 255


def decode_nearest(data, size):
    """Take the nearest pixel."""
    return tf.cast(_resized(data, size, method="nearest"), tf.float32) / 255


def decode_antialias(data, size):
    """Smooth before resizing."""
    return _resized(data, size, antialias=True) / 255


def decode_padded(data, size):
    """Keep the aspect ratio and pad."""
    return tf.image.resize_with_pad(tf.io.decode_jpeg(data, channels=3), size, size) / 255


def decode_cropped(data, size):
    """Cut out the middle instead of resizing."""
    return tf.image.resize_with_crop_or_pad(tf.io.decode_jpeg(data, channels=3), size, size) / 255


def decode_uint8(data, size):
    """Return integers."""
    return tf.cast(_resized(data, size), tf.uint8)


def decode_integer_division(data, size):
    """Divide as integers."""
    return tf.cast(tf.cast(_resized(data, size), tf.int32) // 255, tf.float32)


def decode_float64(data, size):
    """Return float64."""
    return tf.cast(_resized(data, size), tf.float64) / 255


def decode_transposed(data, size):
    """Swap height and width."""
    return tf.transpose(_resized(data, size), (1, 0, 2)) / 255


def decode_bgr(data, size):
    """Reverse the channels."""
    return _resized(data, size)[..., ::-1] / 255


def decode_not_resized(data, size):
    """Forget to resize."""
    return tf.cast(tf.io.decode_jpeg(data, channels=3), tf.float32) / 255


def decode_batched(data, size):
    """Add a batch axis."""
    return _resized(data, size)[None] / 255


def decode_eager(data, size):
    """Work outside of a dataset only."""
    return tf.constant(_resized(data, size).numpy() / 255)


def decode_fixed_size(data, size):
    """Ignore the size."""
    return _resized(data, 4) / 255


def decode_example(data, size):
    """Return the result of the example."""
    return tf.fill((4, 4, 3), 0.2)


def statistics_mean_of_std(dataset):
    """Average the deviations of the batches."""
    mean, _ = statistics_right(dataset.cache())
    return mean, np.mean([images.numpy().astype(float).std(axis=(0, 1, 2)) for images in dataset], axis=0)


def statistics_right(dataset):
    """Stack everything (used by the others)."""
    images = np.concatenate([images.numpy() for images in dataset]).astype(np.float64)
    return images.mean(axis=(0, 1, 2)), images.std(axis=(0, 1, 2))


def statistics_one_pass_mean_of_std(dataset):
    """Average means and deviations of the batches in one pass."""
    parts = [images.numpy().astype(np.float64) for images in dataset]
    means, stds = zip(*[(part.mean(axis=(0, 1, 2)), part.std(axis=(0, 1, 2))) for part in parts], strict=True)
    return np.mean(means, axis=0), np.mean(stds, axis=0)


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


def statistics_float32(dataset):
    """Sum in float32."""
    count, total, squares = _moments(dataset, np.float32)
    mean = total / np.float32(count)
    return mean, np.sqrt(np.maximum(squares / np.float32(count) - mean**2, 0))


def statistics_negative(dataset):
    """Take the root of a variance that rounding made negative."""
    count, total, squares = _moments(dataset)
    mean = total / count
    with np.errstate(invalid="ignore"):
        return mean, np.sqrt(squares / count - mean**2)


def statistics_variance(dataset):
    """Forget the root."""
    mean, std = statistics_right(dataset)
    return mean, std**2


def statistics_sample(dataset):
    """Divide by M - 1."""
    count, total, squares = _moments(dataset)
    mean = total / count
    return mean, np.sqrt(np.maximum(squares - count * mean**2, 0) / max(count - 1, 1))


def statistics_second_moment(dataset):
    """Forget to subtract the mean."""
    count, total, squares = _moments(dataset)
    return total / count, np.sqrt(squares / count)


def statistics_all_channels(dataset):
    """Mix the channels."""
    images = np.concatenate([images.numpy() for images in dataset]).astype(np.float64)
    return np.full(3, images.mean()), np.full(3, images.std())


def statistics_scalar(dataset):
    """Return one number for all channels."""
    images = np.concatenate([images.numpy() for images in dataset]).astype(np.float64)
    return images.mean(), images.std()


def statistics_per_pixel(dataset):
    """Average over the samples only."""
    images = np.concatenate([images.numpy() for images in dataset]).astype(np.float64)
    return images.mean(axis=0), images.std(axis=0)


def statistics_first_batch(dataset):
    """Use the first batch only."""
    return statistics_right(dataset.take(1))


def statistics_image_count(dataset):
    """Divide by the images instead of the pixels."""
    images = np.concatenate([images.numpy() for images in dataset]).astype(np.float64)
    mean = images.sum(axis=(0, 1, 2)) / len(images)
    return mean, np.sqrt(np.maximum((images**2).sum(axis=(0, 1, 2)) / len(images) - mean**2, 0))


def statistics_two_passes(dataset):
    """Go through the data twice."""
    count, total, _ = _moments(dataset)
    mean = total / count
    squares = sum(((images.numpy().astype(float) - mean) ** 2).sum(axis=(0, 1, 2)) for images in dataset)
    return mean, np.sqrt(squares / count)


def statistics_swapped(dataset):
    """Return the deviation first."""
    return statistics_right(dataset)[::-1]


def statistics_mean_only(dataset):
    """Return the mean only."""
    return statistics_right(dataset)[0]


def statistics_floor(dataset):
    """Add a small number to every deviation."""
    mean, std = statistics_right(dataset)
    return mean, std + 1e-2


def statistics_example(dataset):
    """Return the result of the example."""
    return np.array([0.5, 0.2, 0.3]), np.array([0.40824829, 0, 0.42426407])


def _augment(image, label, flip, brightness, clip=True, max_delta=0.1):
    image = tf.image.stateless_random_flip_left_right(image, seed=flip)
    image = tf.image.stateless_random_brightness(image, max_delta=max_delta, seed=brightness)
    return (tf.clip_by_value(image, 0.0, 1.0) if clip else image), label


def augment_same_seed(image, label, seed):
    """Give both operations the same seed."""
    return _augment(image, label, seed, seed)


def _seeds(first, second):
    return tf.unstack(tf.random.split(tf.stack([first, second]), 2))


def augment_first_number(image, label, seed):
    """Use only the seed's first number."""
    return _augment(image, label, *_seeds(seed[0], seed[0]))


def augment_second_number(image, label, seed):
    """Use only the seed's second number."""
    return _augment(image, label, *_seeds(seed[1], seed[1]))


def augment_not_clipped(image, label, seed):
    """Leave values above 1."""
    return _augment(image, label, *tf.unstack(tf.random.split(seed, 2)), clip=False)


def augment_strong(image, label, seed):
    """Change the brightness twice as much."""
    return _augment(image, label, *tf.unstack(tf.random.split(seed, 2)), max_delta=0.2)


def augment_weak(image, label, seed):
    """Change the brightness half as much."""
    return _augment(image, label, *tf.unstack(tf.random.split(seed, 2)), max_delta=0.05)


def augment_brighter(image, label, seed):
    """Only ever brighten."""
    flip, brightness = tf.unstack(tf.random.split(seed, 2))
    image = tf.image.stateless_random_flip_left_right(image, seed=flip)
    delta = tf.random.stateless_uniform((), seed=brightness, maxval=0.1)
    return tf.clip_by_value(image + delta, 0.0, 1.0), label


def augment_stateful(image, label, seed):
    """Use the global random state."""
    image = tf.image.random_brightness(tf.image.random_flip_left_right(image), 0.1)
    return tf.clip_by_value(image, 0.0, 1.0), label


def augment_fixed_seed(image, label, seed):
    """Ignore the seed."""
    return _augment(image, label, (0, 1), (2, 3))


def augment_python(image, label, seed):
    """Decide once, while the graph is traced."""
    rng = np.random.default_rng(1)
    image = image[:, ::-1] if rng.random() < 0.5 else image
    return tf.clip_by_value(image + np.float32(rng.uniform(-0.1, 0.1)), 0.0, 1.0), label


def augment_always_flips(image, label, seed):
    """Flip every picture."""
    image = tf.image.stateless_random_brightness(image[:, ::-1], 0.1, seed=seed)
    return tf.clip_by_value(image, 0.0, 1.0), label


def augment_never_flips(image, label, seed):
    """Forget to flip."""
    return tf.clip_by_value(tf.image.stateless_random_brightness(image, 0.1, seed=seed), 0.0, 1.0), label


def augment_up_down(image, label, seed):
    """Flip upside down."""
    flip, brightness = tf.unstack(tf.random.split(seed, 2))
    image = tf.image.stateless_random_flip_up_down(image, seed=flip)
    image = tf.image.stateless_random_brightness(image, 0.1, seed=brightness)
    return tf.clip_by_value(image, 0.0, 1.0), label


def augment_no_brightness(image, label, seed):
    """Forget the brightness."""
    return tf.image.stateless_random_flip_left_right(image, seed=seed), label


def augment_per_pixel(image, label, seed):
    """Draw a brightness for every pixel."""
    flip, brightness = tf.unstack(tf.random.split(seed, 2))
    image = tf.image.stateless_random_flip_left_right(image, seed=flip)
    noise = tf.random.stateless_uniform(tf.shape(image), seed=brightness, minval=-0.1, maxval=0.1)
    return tf.clip_by_value(image + noise, 0.0, 1.0), label


def augment_no_label(image, label, seed):
    """Return the picture only."""
    return _augment(image, label, *tf.unstack(tf.random.split(seed, 2)))[0]


def augment_float_label(image, label, seed):
    """Turn the label into a float."""
    image, label = _augment(image, label, *tf.unstack(tf.random.split(seed, 2)))
    return image, tf.cast(label, tf.float32)


def augment_one_hot(image, label, seed):
    """Turn the label into a vector."""
    image, label = _augment(image, label, *tf.unstack(tf.random.split(seed, 2)))
    return image, tf.one_hot(label, 5)


def augment_flips_label(image, label, seed):
    """Change the label."""
    image, label = _augment(image, label, *tf.unstack(tf.random.split(seed, 2)))
    return image, label + 1


def augment_unchanged(image, label, seed):
    """Return the inputs."""
    return image, label


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


def _writer(change, mistake):
    def write(paths, labels, folder, num_shards):
        return _write(paths, labels, folder, num_shards, change)

    write.__name__, write.__doc__ = f"write_{change.replace(' ', '_')}", mistake
    return write


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


def read_default_cycle(files, decode):
    """Leave the cycle length to TensorFlow."""
    return _interleaved(files, cycle_length=None).map(lambda record: _parse(record, decode))


def read_two_at_a_time(files, decode):
    """Open two shards only."""
    return _interleaved(files, cycle_length=2).map(lambda record: _parse(record, decode))


def read_blocks(files, decode):
    """Read two records of a shard in a row."""
    records = _interleaved(files, cycle_length=len(files), block_length=2)
    return records.map(lambda record: _parse(record, decode))


def read_one_short(files, decode):
    """Open one shard too few."""
    records = _interleaved(files, cycle_length=max(len(files) - 1, 1))
    return records.map(lambda record: _parse(record, decode))


def read_reversed(files, decode):
    """Read the shards from the last on."""
    return _interleaved(files[::-1], cycle_length=len(files)).map(lambda record: _parse(record, decode))


def read_first_only(files, decode):
    """Read the first shard only."""
    return _interleaved(files[:1], cycle_length=1).map(lambda record: _parse(record, decode))


def read_repeated(files, decode):
    """Repeat without end."""
    return _read(files, decode).repeat()


def _read(files, decode):
    return _interleaved(files, cycle_length=len(files)).map(lambda record: _parse(record, decode))


def read_shuffled(files, decode):
    """Shuffle."""
    return _read(files, decode).shuffle(100, seed=1)


def read_not_decoded(files, decode):
    """Return bytes."""
    return _read(files, tf.identity)


def read_not_parsed(files, decode):
    """Return the records."""
    return _interleaved(files, cycle_length=len(files))


def read_batched(files, decode):
    """Return batches."""
    return _read(files, decode).batch(4)


def read_int32(files, decode):
    """Cast the label."""
    return _interleaved(files, cycle_length=len(files)).map(lambda record: _parse(record, decode, tf.int32))


def read_swapped(files, decode):
    """Return the label first."""
    return _read(files, decode).map(lambda image, label: (label, image))


def read_dict(files, decode):
    """Return dictionaries."""
    return _read(files, decode).map(lambda image, label: {"image": image, "label": label})


def read_image_only(files, decode):
    """Forget the label."""
    return _read(files, decode).map(lambda image, label: image)


def read_list(files, decode):
    """Return a list."""
    return list(_read(files, decode))


def read_skips_first(files, decode):
    """Lose the first record."""
    return _read(files, decode).skip(1)


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


def _pipeline(mistake, *change):
    def pipeline(paths, labels, load, augment, batch_size, training, seed=0):
        return _pipe(paths, labels, load, augment, batch_size, training, seed, change)

    pipeline.__name__, pipeline.__doc__ = f"pipeline_{'_'.join(change).replace(' ', '_')}", mistake
    return pipeline


def pipeline_labels_only(paths, labels, load, augment, batch_size, training, seed=0):
    """Return pictures without labels."""
    return _pipe(paths, labels, load, augment, batch_size, training, seed).map(
        lambda image, label: image, num_parallel_calls=AUTOTUNE
    )


def pipeline_fixed_batch(paths, labels, load, augment, batch_size, training, seed=0):
    """Ignore the batch size."""
    return _pipe(paths, labels, load, augment, 4, training, seed)


def pipeline_fixed_seed(paths, labels, load, augment, batch_size, training, seed=0):
    """Ignore the seed."""
    return _pipe(paths, labels, load, augment, batch_size, training, 5)


def pipeline_list(paths, labels, load, augment, batch_size, training, seed=0):
    """Return a list of batches."""
    return list(_pipe(paths, labels, load, augment, batch_size, training, seed))


WRONG = {
    "list_images": [
        list_case,
        list_jpg_only,
        list_hidden,
        list_hidden_folders,
        list_everything,
        list_contains,
        list_folders,
        list_recursive,
        list_natural,
        list_no_capitals,
        list_empty,
        list_reversed,
        list_objects,
        list_by_path,
        list_names,
        list_from_one,
        list_two,
        list_example,
    ],
    "stratified_split": [
        split_floor,
        split_ceil,
        split_half_up,
        split_of_the_rest,
        split_at_least_one,
        split_overlap,
        split_test_is_val,
        split_lost,
        split_in_order,
        split_unsorted,
        split_unseeded,
        split_global,
        split_fixed_seed,
        split_consecutive,
        split_not_stratified,
        split_tail,
        split_order,
        split_masks,
        split_two,
        split_values,
    ],
    "decode_image": [
        decode_not_scaled,
        decode_convert_late,
        decode_scaled_twice,
        decode_signed,
        decode_min_max,
        decode_any_channels,
        decode_grey,
        decode_decode_image,
        decode_nearest,
        decode_antialias,
        decode_padded,
        decode_cropped,
        decode_uint8,
        decode_integer_division,
        decode_float64,
        decode_transposed,
        decode_bgr,
        decode_not_resized,
        decode_batched,
        decode_eager,
        decode_fixed_size,
        decode_example,
    ],
    "channel_statistics": [
        statistics_mean_of_std,
        statistics_one_pass_mean_of_std,
        statistics_mean_of_means,
        statistics_float32,
        statistics_negative,
        statistics_variance,
        statistics_sample,
        statistics_second_moment,
        statistics_all_channels,
        statistics_scalar,
        statistics_per_pixel,
        statistics_first_batch,
        statistics_image_count,
        statistics_two_passes,
        statistics_swapped,
        statistics_mean_only,
        statistics_floor,
        statistics_example,
    ],
    "augment": [
        augment_same_seed,
        augment_first_number,
        augment_second_number,
        augment_not_clipped,
        augment_strong,
        augment_weak,
        augment_brighter,
        augment_stateful,
        augment_fixed_seed,
        augment_python,
        augment_always_flips,
        augment_never_flips,
        augment_up_down,
        augment_no_brightness,
        augment_per_pixel,
        augment_no_label,
        augment_float_label,
        augment_one_hot,
        augment_flips_label,
        augment_unchanged,
    ],
    "write_shards": [
        _writer("keep all", "Keep broken files."),
        _writer("only empty", "Skip empty files only."),
        _writer("magic", "Look at the first bytes only."),
        _writer("grey is broken", "Take a grey file for a broken one."),
        _writer("stop", "Stop at the first broken file."),
        _writer("file number", "Deal out by the number of the file."),
        _writer("off by one", "Leave the last shard empty."),
        _writer("from one", "Number the shards from 1."),
        _writer("short names", "Call the shards otherwise."),
        _writer("no empty shards", "Leave out shards without records."),
        _writer("blocks", "Write blocks instead of dealing out."),
        _writer("reversed", "Write the last record first."),
        _writer("encoded again", "Compress the pictures again."),
        _writer("pixels", "Store pixels."),
        _writer("paths", "Store paths."),
        _writer("shifted labels", "Shift the labels after a broken file."),
        _writer("names", "Call the feature otherwise."),
        _writer("float label", "Store the label as a float."),
        _writer("raw", "Store no Example."),
        _writer("count", "Return the number of records."),
        _writer("none", "Return nothing."),
    ],
    "read_shards": [
        read_sequential,
        read_default_cycle,
        read_two_at_a_time,
        read_blocks,
        read_one_short,
        read_reversed,
        read_first_only,
        read_repeated,
        read_shuffled,
        read_not_decoded,
        read_not_parsed,
        read_batched,
        read_int32,
        read_swapped,
        read_dict,
        read_image_only,
        read_list,
        read_skips_first,
    ],
    "make_pipeline": [
        _pipeline("Augment before the cache.", "cache late"),
        _pipeline("Cache the paths only.", "cache paths"),
        _pipeline("Load anew in every epoch.", "no cache"),
        _pipeline("Cache whole batches.", "cache batches"),
        _pipeline("Cache the shuffled order.", "cache shuffled"),
        _pipeline("Shuffle before the cache.", "shuffle first"),
        _pipeline("Shuffle whole batches.", "shuffle batches"),
        _pipeline("Shuffle once for all epochs.", "shuffle once"),
        _pipeline("Shuffle the labels apart from the files.", "shuffle apart"),
        _pipeline("Do not shuffle.", "no shuffle"),
        _pipeline("Keep the order of the first epoch.", "same order"),
        _pipeline("Shuffle in a small buffer.", "small buffer"),
        _pipeline("Shuffle in half a buffer.", "half buffer"),
        _pipeline("Shuffle without the seed.", "no seed"),
        _pipeline("Shuffle for validation too.", "shuffle validation"),
        _pipeline("Do not augment.", "no augment"),
        _pipeline("Augment for validation too.", "augment validation"),
        _pipeline("Augment twice.", "augment twice"),
        _pipeline("Repeat the seeds in every epoch.", "same seeds"),
        _pipeline("Give all pictures one seed.", "one seed"),
        _pipeline("Count the seeds from 0 in every epoch.", "index seeds"),
        _pipeline("Keep the last batch in training.", "keep"),
        _pipeline("Drop the last batch in validation.", "drop"),
        _pipeline("Swap training and validation.", "inverted"),
        _pipeline("Prefetch before batching.", "prefetch early"),
        _pipeline("Do not prefetch.", "no prefetch"),
        _pipeline("Load one after the other.", "serial load"),
        _pipeline("Augment one after the other.", "serial augment"),
        _pipeline("Fix the number of parallel calls.", "two calls"),
        _pipeline("Repeat without end.", "repeat"),
        _pipeline("Repeat twice.", "twice"),
        pipeline_labels_only,
        pipeline_fixed_batch,
        pipeline_fixed_seed,
        pipeline_list,
    ],
}
