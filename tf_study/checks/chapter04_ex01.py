"""Checks of practice 4.1: from a folder of JPEG files to batches, over TFRecord shards."""

import io
import random
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from tf_study.expect import (
    expect,
    expect_array,
    expect_close,
    expect_parts,
    expect_returned,
    expect_type,
    untouched,
)
from tf_study.practice import problem

# TensorFlow's default inverse DCT is the fast one; Pillow's is exact. On these
# pictures they differ by up to 11 of 255 levels.
JPEG_TOLERANCE = 16 / 255


@problem("폴더에서 파일과 레이블 찾기", minutes=5)
def list_images(answer):
    """Files class by class; everything that is not a JPEG file is ignored."""
    cases = {
        "예시": (
            {"daisy": ["2.jpg", "10.jpg"], "rose": ["a.JPEG"]},
            ["daisy/.hidden.jpg", "rose/memo.txt", "README.md"],
        ),
        "그림이 아닌 파일과 숨은 파일이 많은 폴더": (
            {"b": ["x.jpg", "y.Jpg", "z.jpeg"], "a": ["q.JPG"], "c": ["1.jpg"]},
            ["a/._q.JPG", "b/x.jpg.txt", "b/notjpg", "c/1.png", "c/.jpg", ".cache/k.jpg", "loose.jpg"],
        ),
        "이름에 하이픈이 있는 클래스": ({"rose": ["b.jpg", "a.jpg"], "rose-red": ["c.jpg", "a.jpg"]}, []),
        "그림이 없는 클래스": ({"a": ["1.jpg"], "empty": [], "z": ["1.jpg", "0.jpg"]}, ["empty/x.txt"]),
        "이름이 그림처럼 생긴 폴더": ({"k": ["1.jpg"], "m": ["2.jpg"]}, ["k/folder.jpg/in.jpg"]),
        "대문자가 섞인 이름": ({"Zinnia": ["b.jpg", "A.jpg"], "aster": ["B.JPG", "a.jpg"]}, []),
        "클래스가 하나인 폴더": ({"only": ["3.jpg", "1.jpg", "2.jpg"]}, []),
    }
    for index, (case, (classes, others)) in enumerate(cases.items()):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for kind in sorted(classes, reverse=True):
                (folder / kind).mkdir()
                for file in classes[kind]:
                    (folder / kind / file).write_bytes(_jpeg(_colours(4, 4, seed=len(file))))
            for file in others:
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).write_bytes(b"text")
            got = answer(name if index % 2 else folder)
            paths, labels, names = expect_parts(got, ["파일", "레이블", "클래스 이름"], case)
            names = [str(name) for name in names]
            expect(
                names == sorted(classes),
                f"{case}: 클래스 이름은 {sorted(classes)}여야 하는데 {names}입니다.",
            )
            expect(
                all(isinstance(path, str) for path in paths),
                f"{case}: 파일은 문자열(str)의 리스트여야 합니다.",
            )
            expected = [(kind, file) for kind in sorted(classes) for file in sorted(classes[kind])]
            found = [Path(path).relative_to(folder).parts for path in paths]
            _expect_files(found, expected, case)
            wanted = [sorted(classes).index(kind) for kind, _ in expected]
            labels = expect_array(labels, f"{case}, 레이블")
            expect_close(labels, wanted, f"{case}, 레이블", tol=0)
            expect(labels.dtype.kind in "iu", f"{case}: 레이블은 정수 배열이어야 합니다.")


@problem("클래스 비율을 지키며 나누기", minutes=10)
def stratified_split(answer):
    """Three disjoint sets of indices with the right number of each class, drawn at random."""
    rng = np.random.default_rng(401)
    shuffled = rng.permutation(np.repeat([0, 1, 2], [30, 11, 7]))
    cases = {
        "예시": (np.repeat([0, 1], [5, 10]), 0.2, 0.2),
        "섞인 레이블과 크기가 다른 클래스": (shuffled, 0.2, 0.1),
        "번호를 건너뛰는 레이블": (rng.permutation(np.repeat([2, 5, 9], [10, 8, 23])), 0.25, 0.25),
        "테스트 세트가 없는 나누기": (shuffled, 0.3, 0.0),
        "샘플이 하나인 클래스": (rng.permutation(np.repeat([0, 1], [1, 20])), 0.2, 0.2),
        "꽃처럼 5클래스": (np.repeat(np.arange(5), 120), 0.15, 0.15),
    }
    names = ["훈련", "검증", "테스트"]
    for case, (labels, val, test) in cases.items():
        state, other = np.random.get_state()[1].copy(), random.getstate()
        with untouched(f"{case}, 레이블", labels):
            parts = _split(answer, labels, val, test, 7, case)
        expect(
            np.array_equal(state, np.random.get_state()[1]) and other == random.getstate(),
            f"{case}: 전역 난수를 썼습니다. np.random.default_rng(seed)로 만든 생성기를 쓰세요.",
        )
        together = np.concatenate(parts)
        expect(
            len(together) == len(labels) and np.array_equal(np.sort(together), np.arange(len(labels))),
            f"{case}: 세 배열이 번호 0..{len(labels) - 1}을 꼭 한 번씩 담아야 하는데, "
            f"모두 {len(together)}개이고 서로 다른 번호는 {len(np.unique(together))}개입니다.",
        )
        for kind in np.unique(labels):
            total = int(np.sum(labels == kind))
            wanted = [
                total - round(val * total) - round(test * total),
                round(val * total),
                round(test * total),
            ]
            counts = [int(np.sum(labels[part] == kind)) for part in parts]
            expect(
                counts == wanted,
                f"{case}: 샘플이 {total}개인 클래스 {kind}의 훈련, 검증, 테스트 수가 {wanted}여야 하는데 {counts}입니다.",
            )
        for name, part in zip(names, parts, strict=True):
            expect(np.all(np.diff(part) > 0), f"{case}: {name} 번호가 오름차순이 아닙니다.")
    case = "같은 시드로 두 번"
    for one, other in zip(
        _split(answer, shuffled, 0.2, 0.2, 3, case),
        _split(answer, shuffled, 0.2, 0.2, 3, case),
        strict=True,
    ):
        expect(np.array_equal(one, other), f"{case}: 결과가 다릅니다.")
    case = "시드 80가지"
    splits = [_split(answer, shuffled, 0.2, 0.2, seed, case) for seed in range(80)]
    for place, name in ((1, "검증"), (2, "테스트")):
        never = np.setdiff1d(np.arange(len(shuffled)), np.concatenate([split[place] for split in splits]))
        expect(
            len(never) == 0,
            f"{case}: 번호 {len(never)}개가 한 번도 {name} 세트에 들지 않았습니다. 클래스 안에서 무작위로 골라야 합니다.",
        )
    kinds = len({tuple(part[shuffled[part] == 1]) for _, part, _ in splits})  # Two of eleven: 55 pairs.
    expect(
        kinds > 25,
        f"{case}: 11개에서 2개를 뽑은 검증 세트가 {kinds}가지뿐입니다. 시작하는 자리만 바꾸지 말고 무작위로 고르세요.",
    )


@problem("JPEG 바이트를 그림 텐서로", minutes=5)
def decode_image(answer):
    """Decode, resize and scale; a static shape in a dataset."""
    cases = {
        "예시": (_colours(2, 2, seed=1)[:1, :1].repeat(8, 0).repeat(8, 1), 4),
        "정사각형을 절반으로": (_colours(32, 32, seed=2), 16),
        "가로로 긴 그림": (_colours(20, 37, seed=3), 24),
        "흑백 그림": (_colours(30, 18, seed=4)[..., 0], 12),
        "큰 그림을 아주 작게": (_colours(60, 60, seed=2), 7),
        "작은 그림을 크게": (_colours(5, 7, seed=5), 16),
        "1픽셀 흑백 그림": (_colours(1, 1, seed=6)[..., 0], 3),
    }
    for case, (pixels, size) in cases.items():
        raw = _jpeg(pixels)
        decoded = np.asarray(Image.open(io.BytesIO(raw)).convert("RGB"), np.float32)
        expected = tf.image.resize(decoded, (size, size)).numpy() / 255
        got = answer(tf.constant(raw), size)
        expect_returned(got, case)
        expect_close(
            got,
            expected,
            case,
            tol=JPEG_TOLERANCE,
            dtype="float32",
            mistakes={
                "255로 나누지 않았습니다.": expected * 255,
                "255로 두 번 나누었습니다.": expected / 255,
                "[-1, 1]로 옮겼습니다.": expected * 2 - 1,
            },
        )
    # Blocks of one colour, which every decoder gets exactly; the pixel in the middle lies between two levels.
    halves = np.repeat([[0] * 8 + [255] * 8], 8, axis=0)[..., None].repeat(3, axis=-1).astype(np.uint8)
    expected = tf.image.resize(halves, (5, 5)).numpy()
    expect_close(
        answer(tf.constant(_jpeg(halves)), 5),
        expected / 255,
        "반은 검고 반은 흰 그림",
        tol=1e-4,
        mistakes={
            "256이 아니라 255로 나눕니다.": expected / 256,
            "크기를 맞춘 뒤 정수로 바꾸어 소수점 아래를 잃었습니다.": np.floor(expected) / 255,
        },
    )
    for case, size in (("map 안에서 크기 12로", 12), ("map 안에서 크기 7로", 7)):
        raws = [_jpeg(pixels) for pixels, _ in cases.values()]
        dataset = tf.data.Dataset.from_tensor_slices(raws).map(lambda raw, size=size: answer(raw, size))
        spec = dataset.element_spec
        expect(
            isinstance(spec, tf.TensorSpec) and spec.shape == (size, size, 3),
            f"{case}: 정적 모양이 {(size, size, 3)}이어야 하는데 {getattr(spec, 'shape', spec)}입니다.",
        )
        expect_close(
            next(iter(dataset.batch(len(raws)))).numpy().shape,
            (len(raws), size, size, 3),
            f"{case}, 배치",
            tol=0,
        )


@problem("훈련 세트의 평균과 표준편차", minutes=10)
def channel_statistics(answer):
    """Moments per channel in one pass, with uneven batches and large offsets."""
    rng = np.random.default_rng(404)
    example = np.array([[0, 0.2, 0], [0.5, 0.2, 0], [1, 0.2, 0.9]]).reshape(3, 1, 1, 3)
    drift = rng.uniform(size=(11, 4, 6, 3)) * 0.2 + np.linspace(0, 0.8, 11).reshape(-1, 1, 1, 1)
    cases = {
        "예시": (example, 2),
        "배치마다 밝기가 다르고 마지막 배치가 작은 11장": (drift, 4),
        "배치 하나": (rng.uniform(size=(5, 8, 3, 3)), 8),
        "그림 한 장": (rng.uniform(size=(1, 6, 6, 3)), 4),
        "색이 하나뿐인 그림": (np.full((7, 5, 5, 3), [0.1, 0.7, 1 / 3]), 3),
        "평균 1000, 표준편차 0.1쯤인 값": (rng.normal(1000, 0.1, (40, 8, 8, 3)), 16),
        "채널마다 크기가 다른 값": (rng.normal([0, 5, -3], [1, 0.01, 4], (33, 4, 4, 3)), 8),
    }
    for case, (images, batch) in cases.items():
        images = np.asarray(images, np.float32)
        passes = []
        dataset = tf.data.Dataset.from_generator(
            lambda images=images, batch=batch, passes=passes: _counted(images, batch, passes),
            output_signature=tf.TensorSpec((None, *images.shape[1:]), tf.float32),
        )
        mean, std = expect_parts(answer(dataset), ["평균", "표준편차"], case)
        exact = images.astype(np.float64)
        batches = [exact[i : i + batch] for i in range(0, len(exact), batch)]
        expect_close(
            mean,
            exact.mean(axis=(0, 1, 2)),
            f"{case}, 평균",
            tol=1e-6,
            mistakes={
                "배치 평균을 배치 크기와 상관없이 평균했습니다.": np.mean(
                    [part.mean(axis=(0, 1, 2)) for part in batches], axis=0
                ),
            },
        )
        expect_close(
            std,
            exact.std(axis=(0, 1, 2)),
            f"{case}, 표준편차",
            tol=1e-4,
            mistakes={
                "배치의 표준편차를 평균했습니다.": np.mean(
                    [part.std(axis=(0, 1, 2)) for part in batches], axis=0
                ),
                "제곱근을 구하지 않은 분산입니다.": exact.var(axis=(0, 1, 2)),
                "N이 아니라 N - 1로 나누었습니다.": exact.reshape(-1, 3).std(axis=0, ddof=1)
                if exact[..., 0].size > 1
                else np.zeros(3),
            },
        )
        expect(len(passes) == 1, f"{case}: 데이터셋을 {len(passes)}번 훑었습니다. 한 번에 끝내세요.")


@problem("레이블을 지키는 증강", minutes=5)
def augment(answer):
    """A flip and a change of brightness, independent, decided by the seed alone."""
    rng = np.random.default_rng(405)
    middle = rng.uniform(0.3, 0.6, (6, 8, 3)).astype(np.float32)
    extreme = np.round(rng.uniform(size=(6, 8, 3))).astype(np.float32)
    pixels = np.float32([0.5, 0.99])
    parts = answer(tf.constant(pixels.repeat(3).reshape(1, 2, 3)), 3, (1, 2))
    image, label = expect_parts(parts, ("그림", "레이블"), "예시")
    image = expect_array(image, "예시, 그림")
    expect(image.shape == (1, 2, 3), f"예시: 그림의 모양이 (1, 2, 3)이어야 하는데 {image.shape}입니다.")
    delta = float(image.min()) - 0.5
    expect_close(np.sort(image[0, :, 0]), np.minimum(pixels + delta, 1), "예시, 두 픽셀")
    expect_close(label, 3, "예시, 레이블", tol=0)
    count = 240
    seeds = np.stack([np.arange(count), 7 * np.arange(count) + 1], axis=1)
    for case, dtype in (("정수 레이블 int64", tf.int64), ("정수 레이블 int32", tf.int32)):
        label = tf.constant(3, dtype)
        dataset = tf.data.Dataset.from_tensor_slices(seeds).map(
            lambda seed, label=label: answer(tf.constant(middle), label, seed)
        )
        spec = dataset.element_spec
        expect(
            isinstance(spec, tuple) and len(spec) == 2, f"{case}: (그림, 레이블) 튜플을 돌려주어야 합니다."
        )
        expect(
            spec[0].shape == (6, 8, 3) and spec[0].dtype == tf.float32,
            f"{case}: 그림은 (6, 8, 3) float32여야 하는데 {tuple(spec[0].shape)} {spec[0].dtype.name}입니다.",
        )
        expect(
            spec[1].shape == () and spec[1].dtype == dtype,
            f"{case}: 레이블의 모양과 자료형이 바뀌어 {tuple(spec[1].shape)} {spec[1].dtype.name}입니다.",
        )
        images, labels = next(iter(dataset.batch(count)))
        images = images.numpy()
        expect(np.all(labels.numpy() == 3), f"{case}: 레이블의 값이 바뀌었습니다.")
    case = f"시드 {count}가지"

    def augmented(image: np.ndarray, seed: np.ndarray) -> np.ndarray:
        parts = answer(tf.constant(image), tf.constant(3), tf.constant(seed))
        return expect_array(expect_parts(parts, ("그림", "레이블"), case)[0], f"{case}, 그림")

    again = np.stack([augmented(middle, seed) for seed in seeds[:8]])
    expect(
        np.allclose(again, images[:8], atol=1e-6),
        f"{case}: 같은 시드로 다시 부르니 결과가 다릅니다. seed를 받는 stateless 연산을 쓰세요.",
    )
    flips, deltas = [], []
    for image in images:
        near = [image - middle, image - middle[:, ::-1]]
        flat = [float(np.ptp(difference)) < 1e-4 for difference in near]
        expect(
            any(flat),
            f"{case}: 그림 또는 좌우로 뒤집은 그림에 수 하나를 더한 결과가 아닌 것이 있습니다.",
        )
        flips.append(flat[1])
        deltas.append(float(near[flat.index(True)].mean()))
    flips, deltas = np.array(flips), np.array(deltas)
    expect(
        0.33 < flips.mean() < 0.67,
        f"{case}: 절반쯤 뒤집혀야 하는데 {100 * flips.mean():.0f} %가 뒤집혔습니다.",
    )
    expect(
        np.abs(deltas).max() < 0.1 + 1e-4 and deltas.max() > 0.085 and deltas.min() < -0.085,
        f"{case}: 더한 밝기가 -0.1에서 0.1까지 퍼져야 하는데 {deltas.min():.3f}에서 {deltas.max():.3f}까지입니다.",
    )
    for flipped in (False, True):
        share = np.mean(deltas[flips == flipped] > 0)
        expect(
            0.28 < share < 0.72,
            f"{case}: {'뒤집은' if flipped else '뒤집지 않은'} 그림 가운데 {100 * share:.0f} %가 밝아졌습니다. "
            "두 연산에 같은 시드를 주면 뒤집기와 밝기가 묶입니다. 시드를 둘로 나누세요.",
        )
    for place in (0, 1):
        some = np.full((20, 2), 5)
        some[:, place] = np.arange(20)
        results = [augmented(middle, seed) for seed in some]
        expect(
            np.ptp(results, axis=0).max() > 1e-3,
            f"시드의 {'첫째' if place == 0 else '둘째'} 수만 다른 20가지: 결과가 모두 같습니다. "
            "seed의 두 수를 모두 쓰세요.",
        )
    case = "값이 0과 1뿐인 그림"
    for flipped, delta, seed in zip(flips[:30], deltas[:30], seeds[:30], strict=True):
        got = augmented(extreme, seed)
        base = extreme[:, ::-1] if flipped else extreme
        expect(0 <= got.min() and got.max() <= 1, f"{case}: [0, 1]을 벗어난 값이 있습니다.")
        expect_close(got, np.clip(base + delta, 0, 1), case, tol=1e-4)


@problem("깨진 파일을 거르며 샤드에 적기", minutes=10)
def write_shards(answer):
    """The bytes of every readable file, dealt out to the shards in turn."""
    good = [_jpeg(_colours(6, 9, seed=seed)) for seed in range(12)]
    grey = _jpeg(_colours(7, 5, seed=20)[..., 0])
    cases = {
        "예시": ([good[0], good[1], b"not an image", good[3], good[4]], 2),
        "성한 파일 7개, 샤드 3개": (good[:7], 3),
        "잘린 파일, 빈 파일, 흑백 파일": ([good[0][: len(good[0]) // 2], good[1], b"", grey, good[2]], 2),
        "샤드 하나": (good[:4], 1),
        "파일보다 샤드가 많을 때": (good[:3], 5),
        "처음과 끝이 깨진 12개": ([b"\xff\xd8\xff", *good[1:11], good[11][:-60]], 4),
        "성한 파일이 없을 때": ([b"x", b""], 2),
    }
    for case, (contents, shards) in cases.items():
        with tempfile.TemporaryDirectory() as name:
            source, target = Path(name, "images"), Path(name, "shards")
            source.mkdir()
            target.mkdir()
            paths = []
            for index, content in enumerate(contents):
                paths.append(str(source / f"{index:02d}.jpg"))
                Path(paths[-1]).write_bytes(content)
            labels = 5 * np.arange(len(paths)) % 7
            with untouched(case, paths, labels):
                skipped = answer(paths, labels, target, shards)
            expect_type(skipped, list, case)
            broken = [path for path, content in zip(paths, contents, strict=True) if not _readable(content)]
            _expect_files(
                [Path(path).name for path in skipped],
                [Path(path).name for path in broken],
                f"{case}, 거른 파일",
            )
            names = [f"{shard:05d}-of-{shards:05d}.tfrecord" for shard in range(shards)]
            found = sorted(path.name for path in target.iterdir())
            expect(found == names, f"{case}: 샤드의 이름이 {names}여야 하는데 {found}입니다.")
            kept = [index for index, path in enumerate(paths) if path not in broken]
            for shard, file in enumerate(names):
                where = f"{case}, {file}"
                records = _records(target / file, where)
                _expect_files(
                    [_which(image, contents) for image, _ in records],
                    kept[shard::shards],
                    f"{where}에 든 파일의 번호",
                )
                expect_close(
                    [label for _, label in records],
                    labels[kept[shard::shards]],
                    f"{where}, 레이블",
                    tol=0,
                )


@problem("샤드를 원래 순서로 읽기", minutes=10)
def read_shards(answer):
    """Images and labels come back in the order in which they were dealt out."""
    cases = {
        "예시": (5, 2),
        "레코드 7개, 샤드 3개": (7, 3),
        "샤드 하나": (4, 1),
        "레코드보다 샤드가 많을 때": (3, 5),
        "레코드 90개, 샤드 4개": (90, 4),
        "레코드 64개, 샤드 20개": (64, 20),
    }
    for case, (count, shards) in cases.items():
        labels = 3 * np.arange(count) % 11
        with tempfile.TemporaryDirectory() as name:
            files = [str(Path(name, f"{s:05d}-of-{shards:05d}.tfrecord")) for s in range(shards)]
            for shard, file in enumerate(files):
                with tf.io.TFRecordWriter(file) as writer:
                    for index in range(shard, count, shards):
                        writer.write(_example(str(index).encode(), labels[index]))
            dataset = answer(list(files), _decode_number)
            _expect_dataset(dataset, case)
            spec = dataset.element_spec
            expect(
                isinstance(spec, tuple) and len(spec) == 2,
                f"{case}: 원소가 (그림, 레이블) 튜플이어야 하는데 {type(spec).__name__}입니다.",
            )
            expect(
                spec[0] == tf.TensorSpec((2, 2, 3), tf.float32),
                f"{case}: 그림이 decode의 결과 (2, 2, 3) float32여야 하는데 {tuple(spec[0].shape)} {spec[0].dtype.name}입니다.",
            )
            expect(
                spec[1] == tf.TensorSpec((), tf.int64),
                f"{case}: 레이블이 () int64여야 하는데 {tuple(spec[1].shape)} {spec[1].dtype.name}입니다.",
            )
            for turn in ("", ", 두 번째로 읽을 때"):
                pairs = list(dataset.take(count + 1).as_numpy_iterator())
                expect(
                    len(pairs) == count,
                    f"{case}{turn}: {count}개를 읽어야 하는데 {_count(pairs, count)}개입니다.",
                )
                ids = [int(image[0, 0, 0]) for image, _ in pairs]
                expect(
                    sorted(ids) == list(range(count)),
                    f"{case}{turn}: 레코드마다 꼭 한 번 나와야 하는데 겹치거나 빠진 것이 있습니다.",
                )
                wrong = next((place for place, index in enumerate(ids) if place != index), None)
                expect(
                    wrong is None,
                    f"{case}{turn}: {wrong}번 자리에 {wrong}번 레코드가 나와야 하는데 {ids[wrong or 0]}번이 나왔습니다.",
                )
                expect_close([label for _, label in pairs], labels, f"{case}{turn}, 레이블", tol=0)


@problem("파이프라인 완성", minutes=15)
def make_pipeline(answer):
    """Load once, shuffle every epoch, augment afresh, batch, prefetch; validation in a fixed order."""
    examples = [_build(answer, "예시", 10, 4, training) for training in (True, False)]
    _check_structure(*(dataset for dataset, *_ in examples))  # First, because it needs no epoch.
    _check_validation("예시의 검증", 10, 4, examples[1])
    _check_seeds(answer, "예시의 훈련", 10, 4, _check_training("예시의 훈련", 10, 4, examples[0], 3))
    for case, count, batch, epochs in (
        ("나누어떨어지는 훈련 12개, 배치 3개", 12, 3, 3),
        ("훈련 43개, 배치 8개", 43, 8, 5),
    ):
        _check_training(case, count, batch, _build(answer, case, count, batch, training=True), epochs)
    for case, count, batch in (("배치보다 적은 검증 3개", 3, 8), ("검증 43개, 배치 8개", 43, 8)):
        _check_validation(case, count, batch, _build(answer, case, count, batch, training=False))


def _check_training(case: str, count: int, batch: int, built: tuple, total: int) -> list:
    """Look at ``total`` epochs and return them.

    Three of at least ten files have the same batches by chance once in two million times. Only 43 files fill more
    than half a buffer; the first batches of five epochs have none of the last thirteen once in ten million times.
    """
    full = count // batch
    dataset, loads, labels = built
    _expect_spec(dataset, case, batch)
    epochs = []
    for number in range(1, total + 1):
        where = f"{case}, {number}에포크"
        ids, marks, got, draws = _epoch(dataset, case, count)
        epochs.append((ids, marks, got, draws))
        sizes = [len(part) for part in ids]
        expect(
            sizes == [batch] * full,
            f"{where}: 배치의 크기가 {[batch] * full}이어야 하는데 {sizes}입니다. 훈련에서는 모자란 배치를 버립니다.",
        )
        flat = np.concatenate(ids)
        expect(len(np.unique(flat)) == len(flat), f"{where}: 같은 파일이 두 번 나왔습니다.")
        expect_close(np.concatenate(got), labels[flat], f"{where}, 파일과 짝이 맞는 레이블", tol=0)
        expect(np.all(np.concatenate(marks) == 1), f"{where}: 증강을 꼭 한 번씩 거치지 않은 그림이 있습니다.")
        drawn = np.concatenate(draws)
        expect(
            len(np.unique(drawn)) == len(drawn),
            f"{where}: 증강에 같은 시드를 받은 그림이 있습니다. 그림마다 시드가 달라야 합니다.",
        )
    orders = [np.concatenate(epoch[0]) for epoch in epochs]
    expect(
        any(not np.array_equal(order, np.sort(order)) for order in orders),
        f"{case}: 파일이 늘 받은 순서대로 나옵니다. 훈련에서는 섞어야 합니다.",
    )
    expect(
        any(not np.array_equal(orders[0], order) for order in orders[1:]),
        f"{case}: 에포크마다 순서가 같습니다. 캐시는 셔플보다 앞에 있어야 하고, 에포크마다 다시 섞어야 합니다.",
    )
    groups = [{tuple(sorted(part)) for part in epoch[0]} for epoch in epochs]
    expect(
        any(groups[0] != group for group in groups[1:]),
        f"{case}: 배치의 구성이 에포크마다 같습니다. 배치로 묶기 전에 섞으세요.",
    )
    if count > 20:
        latest = max(int(max(epoch[0][0])) for epoch in epochs)
        expect(
            latest >= count // 2 + batch + 1,
            f"{case}: 첫 배치에 앞쪽 파일만 나옵니다. 셔플 버퍼는 파일 수만큼 커야 합니다.",
        )
    draws = [np.concatenate(epoch[3]) for epoch in epochs]
    expect(
        len(np.unique(np.concatenate(draws))) == sum(map(len, draws)),
        f"{case}: 지난 에포크의 증강이 되풀이됩니다. 에포크마다 새 시드를 쓰고, 증강은 캐시보다 뒤에 두세요.",
    )
    expect(
        loads.total == count,
        f"{case}: {total}에포크 동안 load를 파일마다 한 번, 모두 {count}번 불러야 하는데 {loads.total}번 불렀습니다.",
    )
    return epochs


def _check_seeds(answer, case: str, count: int, batch: int, epochs: list) -> None:
    """Build the pipeline again, with the seed that gave ``epochs`` and with another."""
    same, *_ = _build(answer, case, count, batch, training=True)
    other, *_ = _build(answer, case, count, batch, training=True, seed=12)
    for number, before in enumerate(epochs[:2], 1):
        repeated = _epoch(same, case, count)
        equal = all(
            np.array_equal(np.concatenate(one), np.concatenate(two))
            for one, two in zip(before, repeated, strict=True)
        )
        expect(equal, f"{case}: 같은 seed로 다시 만들었는데 {number}에포크의 순서나 증강이 다릅니다.")
    orders = [np.concatenate(epoch[0]) for epoch in epochs]
    moved = not np.array_equal(np.concatenate(_epoch(other, case, count)[0]), orders[0])
    expect(moved, f"{case}: seed를 바꾸어도 순서가 같습니다.")


def _check_validation(case: str, count: int, batch: int, built: tuple) -> None:
    dataset, loads, labels = built
    _expect_spec(dataset, case, None)
    wanted = [min(batch, count - start) for start in range(0, count, batch)]
    for number in (1, 2):
        where = f"{case}, {number}에포크"
        ids, marks, got, _ = _epoch(dataset, case, count)
        sizes = [len(part) for part in ids]
        expect(
            sizes == wanted,
            f"{where}: 배치의 크기가 {wanted}이어야 하는데 {sizes}입니다. 검증에서는 모자란 배치도 남깁니다.",
        )
        expect_close(np.concatenate(ids), np.arange(count), f"{where}, 파일의 순서", tol=0)
        expect_close(np.concatenate(got), labels, f"{where}, 레이블", tol=0)
        expect(np.all(np.concatenate(marks) == 0), f"{where}: 검증하는 그림을 증강했습니다.")
    expect(
        loads.total == count,
        f"{case}: 2에포크 동안 load를 모두 {count}번 불러야 하는데 {loads.total}번 불렀습니다.",
    )


def _check_structure(training: tf.data.Dataset, validation: tf.data.Dataset) -> None:
    """Look at the stages themselves: what cannot be seen in the batches is how they were made."""
    for name, dataset in (("훈련", training), ("검증", validation)):
        case = f"{name} 파이프라인의 단계"
        stages = list(_stages(dataset))
        names = [type(stage).__name__ for stage in stages if "Options" not in type(stage).__name__]
        expect("Prefetch" in names[0], f"{case}: 마지막 단계가 prefetch가 아닙니다.")
        for stage in stages:
            parallel = getattr(stage, "_num_parallel_calls", None)
            name = type(stage).__name__
            expect(
                name not in ("_MapDataset", "MapDataset"),
                f"{case}: num_parallel_calls를 주지 않은 map이 있습니다.",
            )
            if "ParallelMap" in name and parallel is not None:
                expect(
                    int(parallel) == tf.data.AUTOTUNE,
                    f"{case}: map의 num_parallel_calls가 tf.data.AUTOTUNE이 아니라 {int(parallel)}입니다.",
                )


class _Loads:
    """A ``load`` for the pipeline: the number in the file's name as an image, and how often it was asked."""

    def __init__(self) -> None:
        self.total = 0
        self._lock = threading.Lock()

    def _count(self, path: bytes) -> np.float32:
        with self._lock:
            self.total += 1
        return np.float32(int(path.decode().rpartition("/")[2].removesuffix(".jpg")))

    @tf.autograph.experimental.do_not_convert  # Nothing to convert, and a pipeline is made eight times.
    def __call__(self, path):
        number = tf.numpy_function(self._count, [path], tf.float32)
        return tf.reshape(number, (1, 1, 1)) * tf.constant([1.0, 0.0, 0.0])  # (1, 1, 3)


@tf.autograph.experimental.do_not_convert
def _augment(image, label, seed):
    """Count the calls in channel 1 and leave in channel 2 what the seed gives."""
    draw = tf.random.stateless_uniform((), seed=seed)
    return image + tf.stack([0.0, 1.0, draw]), label


def _build(answer, case: str, count: int, batch: int, training: bool, seed: int = 11):
    loads = _Loads()
    paths = [f"/flowers/k/{index}.jpg" for index in range(count)]
    labels = np.sort(5 * np.arange(count) % 4)
    dataset = answer(paths, labels.copy(), loads, _augment, batch, training, seed)
    _expect_dataset(dataset, case)
    return dataset, loads, labels


def _expect_dataset(got, case: str) -> None:
    expect_returned(got, case)
    expect(
        isinstance(got, tf.data.Dataset),
        f"{case}: 결과의 형이 tf.data.Dataset이어야 하는데 {type(got).__name__}입니다.",
    )


def _expect_spec(dataset: tf.data.Dataset, case: str, batch: int | None) -> None:
    spec = dataset.element_spec
    expect(
        isinstance(spec, tuple) and len(spec) == 2,
        f"{case}: 원소가 (그림, 레이블) 튜플이어야 합니다.",
    )
    expect(
        spec[0].shape.rank == 4 and spec[0].shape.as_list() == [batch, 1, 1, 3],
        f"{case}: 그림의 정적 모양이 {(batch, 1, 1, 3)}이어야 하는데 {spec[0].shape}입니다.",
    )
    expect(
        spec[1].shape.rank == 1 and spec[1].dtype.is_integer,
        f"{case}: 레이블은 랭크 1인 정수여야 하는데 {spec[1].shape} {spec[1].dtype.name}입니다.",
    )


def _epoch(dataset: tf.data.Dataset, case: str, count: int) -> tuple[list, list, list, list]:
    """Return for each batch the numbers of its files, its augmentation counts, its labels and draws."""
    batches = list(dataset.take(count + 1).as_numpy_iterator())
    expect(batches, f"{case}: 배치가 하나도 나오지 않습니다.")
    expect(len(batches) <= count, f"{case}: 한 에포크가 끝나지 않습니다. repeat를 빼세요.")
    images = [np.asarray(image)[:, 0, 0] for image, _ in batches]
    return (
        [image[:, 0].round().astype(int) for image in images],
        [image[:, 1].round().astype(int) for image in images],
        [np.asarray(label) for _, label in batches],
        [image[:, 2] for image in images],
    )


def _stages(dataset: tf.data.Dataset) -> Iterator[tf.data.Dataset]:
    yield dataset
    for part in dataset._inputs():
        yield from _stages(part)


def _split(answer, labels, val: float, test: float, seed: int, case: str) -> Sequence:
    parts = expect_parts(answer(labels, val, test, seed), ["훈련", "검증", "테스트"], case)
    parts = [expect_array(part, case) for part in parts]
    for part in parts:
        expect(
            part.ndim == 1 and (part.size == 0 or part.dtype.kind in "iu"),
            f"{case}: 랭크가 1인 정수 번호 배열 셋이어야 하는데 모양 {part.shape}, 자료형 {part.dtype.name}이 있습니다.",
        )
    return [part.astype(int) for part in parts]


def _expect_files(got: Sequence, expected: Sequence, case: str) -> None:
    missing = [item for item in expected if item not in got]
    extra = [item for item in got if item not in expected]
    show = lambda item: "/".join(item) if isinstance(item, tuple) else item  # noqa: E731
    expect(not missing, f"{case}: {show(missing[0]) if missing else ''}이(가) 빠졌습니다.")
    expect(not extra, f"{case}: {show(extra[0]) if extra else ''}은(는) 들어가면 안 됩니다.")
    expect(
        list(got) == list(expected),
        f"{case}: 순서가 다르거나 겹칩니다. {[show(item) for item in expected]}이어야 합니다.",
    )


def _counted(images: np.ndarray, batch: int, passes: list) -> Iterator[np.ndarray]:
    passes.append(len(images))
    for start in range(0, len(images), batch):
        yield images[start : start + batch]


def _colours(height: int, width: int, seed: int) -> np.ndarray:
    """Return a smooth picture (height, width, 3) uint8 with seeded colours."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def _jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def _readable(content: bytes) -> bool:
    try:
        Image.open(io.BytesIO(content)).load()
    except OSError:
        return False
    return True


def _example(image: bytes, label: int) -> bytes:
    feature = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def _records(file: Path, case: str) -> list[tuple[bytes, int]]:
    pairs = []
    for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        expect(
            set(feature) == {"image", "label"},
            f"{case}: 특징의 이름이 image와 label이어야 하는데 {sorted(feature)}입니다.",
        )
        expect(
            len(feature["image"].bytes_list.value) == len(feature["label"].int64_list.value) == 1,
            f"{case}: image는 bytes_list 하나, label은 int64_list 하나여야 합니다.",
        )
        pairs.append((feature["image"].bytes_list.value[0], feature["label"].int64_list.value[0]))
    return pairs


def _which(image: bytes, contents: Sequence[bytes]) -> int | str:
    return contents.index(image) if image in contents else "원래 파일에 없는 바이트"


def _decode_number(data):
    """A ``decode`` for the reader: the number in the bytes as an image."""
    return tf.fill((2, 2, 3), tf.strings.to_number(data))


def _count(pairs: Sequence, count: int) -> str:
    return f"{count}개보다 많은 수" if len(pairs) > count else str(len(pairs))
