import io
import os
import re
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline

from tf_study import data
from tf_study.data import catalog, fetch, texts
from tf_study.data.sampling import balanced_order
from tf_study.errors import StudyError

REAL = Path(os.environ.get("TF_STUDY_DATA") or Path(__file__).parents[2] / "shared" / "data")


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    monkeypatch.setenv("TF_STUDY_PROFILE", "small")
    monkeypatch.setenv(fetch.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv(fetch.DATA_VARIABLE, raising=False)


@pytest.fixture
def full(monkeypatch, tmp_path):
    """The full profile with an empty TF_STUDY_DATA folder, which is returned."""
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("TF_STUDY_PROFILE", "full")
    monkeypatch.setenv(fetch.DATA_VARIABLE, str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def real(request, monkeypatch):
    """The full profile on the real files, for the data set that the test's name begins with."""
    name = request.node.name.split("_")[2]
    if not any((REAL / place).exists() for place in fetch.SOURCES[name].places):
        pytest.skip(f"the real {name} is not here")
    monkeypatch.setenv("TF_STUDY_PROFILE", "full")
    monkeypatch.setenv(fetch.DATA_VARIABLE, str(REAL))


def everything(name) -> tuple[list[str], np.ndarray]:
    (train, y_train), (test, y_test) = getattr(texts, name)()
    return train + test, np.concatenate([y_train, y_test])


# The embedded texts


LABELLED = {"nsmc": (1000, 2), "imdb": (800, 2), "topics_ko": (700, 7)}


@pytest.mark.parametrize(("name", "least", "classes"), [(name, *value) for name, value in LABELLED.items()])
def test_labelled_texts(name, least, classes):
    (train, y_train), (test, y_test) = getattr(texts, name)()
    assert len(train) + len(test) >= least and len(train) == len(y_train) and len(test) == len(y_test)
    assert y_train.dtype == np.int64 and not set(train) & set(test)
    for labels, share in ((y_train, 0.8), (y_test, 0.2)):
        counts = np.bincount(labels, minlength=classes)
        assert len(counts) == classes and counts.max() == counts.min()
        assert len(labels) == pytest.approx(share * (len(train) + len(test)), abs=classes)


def shingles(text: str) -> set[str]:
    text = re.sub(r"\s", "", text).lower()
    return {text[start : start + 3] for start in range(len(text) - 2)}


def near_duplicates(lines: list[str], limit: float = 0.5) -> list[tuple[str, str]]:
    """Return the pairs whose sets of character 3-grams have a Jaccard similarity of ``limit`` or more."""
    sets = [shingles(line) for line in lines]
    index: dict[str, list[int]] = {}
    for number, own in enumerate(sets):
        for gram in own:
            index.setdefault(gram, []).append(number)
    found = []
    for number, own in enumerate(sets):
        shared = np.bincount([other for gram in own for other in index[gram]], minlength=len(sets))
        for other in np.flatnonzero(shared[:number] >= limit * len(own)):
            if shared[other] >= limit * (len(own) + len(sets[other]) - shared[other]):
                found.append((lines[other], lines[number]))
    return found


def columns() -> dict[str, list[str]]:
    """All written texts, by set and column."""
    found = {name: everything(name)[0] for name in LABELLED}
    for name in ("preferences_ko", "instructions_ko"):
        records = getattr(texts, name)()
        for key in ("prompt", "chosen", "rejected", "output"):
            if key in records[0]:
                found[f"{name}.{key}"] = [record[key] for record in records]
        if "input" in records[0]:
            found[f"{name}.question"] = [record["instruction"] + record["input"] for record in records]
    return found


def test_near_duplicates_are_found():
    pair = ["이 영화는 정말 재미있었어요.", "이 영화는 정말 재미있었어요!!"]
    assert near_duplicates(pair) == [tuple(pair)]
    assert near_duplicates(["이 영화는 정말 재미있었어요.", "배송이 너무 늦어서 화가 났습니다."]) == []


def test_no_near_duplicates_and_clean_lines():
    for name, lines in columns().items():
        assert near_duplicates(lines) == [], name
        for line in lines:
            assert line == line.strip() and line.isprintable(), (name, line)
            assert not re.search(r"https?:|www\.|\w@\w|\ufffd", line), (name, line)


@pytest.mark.parametrize("name", LABELLED)
def test_bag_of_words_lands_between_75_and_95_percent(name):
    lines, labels = everything(name)
    options = {"ngram_range": (1, 2)} if name == "imdb" else {"analyzer": "char_wb", "ngram_range": (1, 4)}
    model = make_pipeline(
        TfidfVectorizer(sublinear_tf=True, min_df=2, **options), LogisticRegression(C=10, max_iter=2000)
    )
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    assert 0.75 < cross_val_score(model, lines, labels, cv=folds).mean() < 0.95


def test_preferences():
    pairs = texts.preferences_ko()
    assert len(pairs) >= 300
    for pair in pairs:
        assert list(pair) == ["prompt", "chosen", "rejected"] and all(pair.values())
        assert pair["chosen"] != pair["rejected"]
    longer = np.mean([len(pair["chosen"]) > len(pair["rejected"]) for pair in pairs])
    assert 0.3 < longer < 0.7  # length alone does not give the better answer away


def test_instructions():
    records = texts.instructions_ko()
    assert len(records) >= 300
    for record in records:
        assert list(record) == ["instruction", "input", "output"]
        assert record["instruction"] and record["output"]
    assert 0.3 < np.mean([record["input"] == "" for record in records]) < 0.7


# Choosing samples


def test_same_seed_same_samples_and_prefixes():
    (first, labels), (test, _) = texts.nsmc(train=100, test=20, seed=3)
    (again, _), _ = texts.nsmc(train=100, seed=3)
    (more, _), _ = texts.nsmc(train=200, seed=3)
    (other, _), (other_test, _) = texts.nsmc(train=100, seed=4)
    assert first == again == more[:100] and first != other and len(test) == 20
    assert np.bincount(labels).tolist() == [50, 50]
    assert not set(other_test) & set(more)  # the split does not depend on the seed
    assert texts.preferences_ko(5) == texts.preferences_ko(9)[:5] != texts.preferences_ko(5, seed=1)
    (_, topics), _ = texts.topics_ko(train=21)
    assert np.bincount(topics).tolist() == [3] * 7


def test_balanced_order_keeps_the_share_of_each_class():
    labels = np.repeat([0, 1], [30, 10])
    order = balanced_order(labels, np.random.default_rng(0))
    assert sorted(order) == list(range(40))
    for end in range(4, 41, 4):
        assert abs(labels[order[:end]].sum() - end / 4) <= 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: texts.imdb(train=100_000),
        lambda: texts.nsmc(test=-1),
        lambda: texts.topics_ko(train=589),
        lambda: texts.preferences_ko(10_000),
        lambda: texts.glove(5001),
        lambda: texts.glove(dim=100),
        lambda: texts.fasttext("nowhere.vec"),
    ],
)
def test_asking_for_what_is_not_there(call):
    with pytest.raises(StudyError, match="세요.$"):
        call()


# Word vectors


def test_glove_covers_the_english_reviews():
    vocabulary, vectors = texts.glove()
    assert len(vocabulary) == len(set(vocabulary)) == 5000 and vocabulary[:2] == ["the", ","]
    assert vectors.shape == (5000, 50) and vectors.dtype == np.float32 and np.isfinite(vectors).all()
    words = [word for line in everything("imdb")[0] for word in re.sub(r"[^\w\s]", "", line.lower()).split()]
    known = set(vocabulary)
    assert np.mean([word in known for word in words]) > 0.99
    assert texts.glove(10)[0] == vocabulary[:10]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    nearest = np.argsort(unit @ unit[vocabulary.index("actress")])[::-1][1:6]
    assert "actor" in [vocabulary[index] for index in nearest]


GLOVE = "the 0.1 -0.25 3e-05\ncafé 1 2 3\n. . . 4 5 6\n"  # the third word contains spaces


def test_glove_from_text_and_from_zip(full, monkeypatch):
    monkeypatch.setattr(fetch, "GLOVE_DIMENSIONS", (50, 3))
    monkeypatch.setitem(fetch.SOURCES, "glove_3", fetch.Source(("glove.6B.3d.txt", "glove.6B.zip"), ()))
    (full / "glove.6B.3d.txt").write_text(GLOVE, encoding="utf-8")
    vocabulary, vectors = texts.glove(dim=3)
    assert vocabulary == ["the", "café", ". . ."] and vectors.dtype == np.float32
    assert np.array_equal(vectors, np.float32([[0.1, -0.25, 3e-05], [1, 2, 3], [4, 5, 6]]))
    with zipfile.ZipFile(full / "glove.6B.zip", "w") as archive:
        archive.write(full / "glove.6B.3d.txt", "glove.6B.3d.txt")
    (full / "glove.6B.3d.txt").unlink()
    again = texts.glove(words=2, dim=3)
    assert again[0] == vocabulary[:2] and np.array_equal(again[1], vectors[:2])
    with pytest.raises(StudyError):
        texts.glove(dim=50)  # not in this zip


@pytest.mark.parametrize("content", ["", "the 0.1 0.2\n", "the 0.1 x 0.3\n", "the 0.1 0.2 0.3\nof 0.1"])
def test_damaged_glove(full, content, monkeypatch):
    (full / "glove.6B.50d.txt").write_text(content)
    with pytest.raises(StudyError, match="glove.6B.50d.txt|0개"):
        texts.glove(words=5)


def test_fasttext(tmp_path):
    path = tmp_path / "cc.ko.vec"
    path.write_text("3 2\n</s> 0.5 -1 \n영화 1e-3 2 \nnew york 3 4\n", encoding="utf-8")
    vocabulary, vectors = texts.fasttext(path)
    assert vocabulary == ["</s>", "영화", "new york"]
    assert np.array_equal(vectors, np.float32([[0.5, -1], [1e-3, 2], [3, 4]]))
    assert texts.fasttext(path, words=1)[0] == ["</s>"]
    for content in ("3 2\n</s> 0.5 -1\n", "3 2\n</s> 0.5\n", "", "영화 1 2\n"):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(StudyError, match="cc.ko.vec"):
            texts.fasttext(path)
    path.write_bytes("1 2\n영화 1 2\n".encode("cp949"))
    with pytest.raises(StudyError, match="cc.ko.vec"):
        texts.fasttext(path)


# Full profile, formats and faults


def write_nsmc(folder, lines="1\t정말 좋았다\t1\n2\t별로였다\t0\n", encoding="utf-8"):
    (folder / "nsmc").mkdir(exist_ok=True)
    for name in fetch.NSMC_FILES:
        (folder / "nsmc" / name).write_bytes(("id\tdocument\tlabel\n" + lines).encode(encoding))


def test_nsmc_leaves_out_empty_documents_only(full):
    write_nsmc(full, '1\t"따옴표 하나\t1\n2\t\t1\n3\t줄\u2028바꿈\t0\n4\t끝\t0\n')
    (train, labels), _ = texts.nsmc()
    assert sorted(train) == sorted(['"따옴표 하나', "줄\u2028바꿈", "끝"]) and labels.sum() == 1
    write_nsmc(full, "1\t좋다\t1\n2\t싫다\t0\n", encoding="utf-8-sig")
    assert len(texts.nsmc()[0][0]) == 2


@pytest.mark.parametrize(
    ("lines", "number"),
    [
        ("1\t좋다\t1\n\n2\t싫다\t0\n", 3),
        ("1\t좋다\t1\n2\t싫다\n", 3),
        ("1\t좋다\tgood\n", 2),
        ("1\ta\tb\t1\n", 2),
    ],
)
def test_nsmc_with_an_empty_or_broken_line(full, lines, number):
    write_nsmc(full, lines)
    with pytest.raises(StudyError, match=f"ratings_train.txt 파일의 {number}번째 줄"):
        texts.nsmc()


@pytest.mark.parametrize("encoding", ["cp949", "utf-16"])
def test_nsmc_in_another_encoding(full, encoding):
    write_nsmc(full, encoding=encoding)
    with pytest.raises(StudyError, match="UTF-8"):
        texts.nsmc()


def write_imdb(folder, archive: bool):
    reviews = {
        f"{split}/{label}/{number}_{score}.txt": f"{split} {label} {number}"
        for split in ("train", "test")
        for label, score in (("pos", 9), ("neg", 2))
        for number in range(5)
    }
    reviews |= {"train/unsup/0_0.txt": "unlabelled", "train/urls_pos.txt": "address", "README": "read"}
    if not archive:
        for name, text in reviews.items():
            path = folder / "aclImdb" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return
    with tarfile.open(folder / "aclImdb_v1.tar.gz", "w:gz") as tar:
        for name, text in reversed(reviews.items()):
            member = tarfile.TarInfo(f"aclImdb/{name}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))


def test_imdb_from_folder_and_archive_alike(full):
    write_imdb(full, archive=True)
    from_archive = texts.imdb(train=6)
    write_imdb(full, archive=False)
    from_folder = texts.imdb(train=6)
    assert from_archive[0][0] == from_folder[0][0] and from_archive[1][0] == from_folder[1][0]
    for split, (found, labels) in zip(("train", "test"), from_folder, strict=True):
        for text, label in zip(found, labels, strict=True):
            assert text.startswith(f"{split} {'pos' if label else 'neg'} ")
    assert len(from_folder[0][0]) == 6 and len(from_folder[1][0]) == 10


def test_truncated_imdb_archive(full):
    write_imdb(full, archive=True)
    path = full / "aclImdb_v1.tar.gz"
    for content in (path.read_bytes()[:-200], path.read_bytes()[:60], b""):
        path.write_bytes(content)
        with pytest.raises(StudyError, match="aclImdb_v1.tar.gz"):
            texts.imdb()
        assert path.read_bytes() == content  # the learner's own file stays


# The catalog


def test_catalog_says_what_the_loaders_return():
    for item in catalog.CATALOG:
        if item.name in LABELLED:
            (train, _), (test, _) = getattr(texts, item.name)()
            assert item.small.samples == f"{len(train):,} / {len(test):,}"
        elif item.name in ("preferences_ko", "instructions_ko"):
            assert item.small.samples == str(len(getattr(texts, item.name)()))
        elif item.name in ("mnist", "fashion_mnist", "cifar10"):
            (x_train, _), (x_test, _) = getattr(data, item.name)()
            assert item.small.samples == f"{len(x_train):,} / {len(x_test):,}"
            assert item.shape == str(x_train.shape[1:])
    assert catalog.find("flowers").small.samples == str(len(list(data.flowers().glob("*/*.jpg"))))
    assert catalog.find("glove").small.samples == f"{len(texts.glove()[0]):,}단어"


def test_the_readme_has_the_numbers_of_the_catalog():
    """A row names a file; those of texts count both parts together."""
    files = {"imdb": "reviews_en", "nsmc": "reviews_ko", "flowers": "flowers/", "cifar10": "cifar10_train"}
    rows = Path(catalog.__file__).with_name("README.md").read_text(encoding="utf-8").splitlines()
    for item in catalog.CATALOG:
        if item.name == "moving_mnist":  # made on the spot, has no file
            continue
        (row, *_) = (row for row in rows if row.startswith(f"| `{files.get(item.name, item.name)}"))
        parts = [int(part) for part in re.findall(r"\d+", item.small.samples.replace(",", ""))]
        assert item.small.samples in row or f"| {sum(parts):,} (" in row, item.name
        assert item.small.licence in row


def test_table_and_examples(capsys, tmp_path, monkeypatch):
    catalog.print_table()
    table = capsys.readouterr().out.splitlines()
    assert table[0].split()[0] == "이름"
    assert all(any(line.startswith(item.name) for line in table) for item in catalog.CATALOG)
    for name in (*LABELLED, "preferences_ko", "instructions_ko", "glove"):
        assert catalog.show(name, tmp_path) is None
        assert 6 <= len(capsys.readouterr().out.splitlines()) <= 16
    for name in ("mnist", "flowers"):
        path = catalog.show(name, tmp_path)
        assert path == tmp_path / f"{name}.png" and path.stat().st_size > 10_000
    with pytest.raises(StudyError, match="세요.$"):
        catalog.show("flowers", tmp_path / "nowhere")
    with pytest.raises(StudyError, match="세요.$"):
        catalog.show("svhn", tmp_path)
    monkeypatch.setenv("TF_STUDY_PROFILE", "full")
    assert catalog.find("imdb").active.source == "Large Movie Review"
    assert catalog.find("topics_ko").active is catalog.find("topics_ko").small


# The real files


def test_real_imdb(real):
    (train, y_train), (test, y_test) = texts.imdb(train=2000, test=500)
    assert np.bincount(y_train).tolist() == [1000, 1000] and len(test) == 500
    assert not set(train) & set(test) and min(map(len, train)) > 20


def test_real_nsmc(real):
    (train, labels), (test, _) = texts.nsmc()
    assert 149_900 <= len(train) <= 150_000 and 49_900 <= len(test) <= 50_000
    assert abs(labels.mean() - 0.5) < 0.01


def test_real_glove_agrees_with_the_embedded_vectors(real, monkeypatch):
    vocabulary, vectors = texts.glove()
    monkeypatch.setenv("TF_STUDY_PROFILE", "small")
    small_vocabulary, small_vectors = texts.glove()
    rows = {word: row for row, word in enumerate(vocabulary)}
    both = [(row, rows[word]) for row, word in enumerate(small_vocabulary) if word in rows]
    assert len(both) > 4000
    small_rows, full_rows = map(list, zip(*both, strict=True))
    assert full_rows == sorted(full_rows)  # both are in the order of frequency
    # Some copies of the file are rounded to half precision, 11 significant bits.
    np.testing.assert_allclose(vectors[full_rows], small_vectors[small_rows], rtol=2**-10, atol=1e-6)
