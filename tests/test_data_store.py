"""Embedded data that was damaged, in whatever way, is never used: one sentence says how to bring it back."""

import contextlib
import functools
import re
import shutil
import subprocess

import numpy as np
import pytest

from tf_study import data, diffusion, manners, video
from tf_study.data import quantization, store, unseen
from tf_study.errors import StudyError
from tf_study.models.causal_vae import CausalAutoencoder
from tf_study.models.unet import UNet
from tf_study.models.video_dit import VideoDiT

SENTENCE = re.compile(
    r"과정에 든 데이터 (\S+) 파일이 없거나 원래와 다르니 `(git checkout -- .+)`로 되돌리세요\."
)


def unseen_flowers():
    with unseen.flowers() as (paths, _):
        return paths


@functools.cache
def network(make, *sizes):
    return make(*sizes)


def checkpoint(name, *kind):
    """What fills a network, made once, with a checkpoint."""
    return lambda: diffusion.load_weights(network(*kind), name)


# An embedded file, and what reads it; of the folders of pictures two files stand for all.
LOADERS = {
    "mnist.npz": data.mnist,
    "fashion_mnist.npz": data.fashion_mnist,
    "cifar10_train.png": data.cifar10,
    "cifar10_test.png": data.cifar10,
    "flowers/roses/roses_007.jpg": data.flowers,
    "backbone/objects.npz": data.small_backbone,
    "bert/pretrained.npz": data.small_bert,
    "diffusion/judge14.npz": checkpoint("judge14", diffusion.Classifier),
    "diffusion/unet14.npz": checkpoint("unet14", UNet),
    "diffusion/video_judge.npz": checkpoint("video_judge", diffusion.Classifier, video.CROP),
    "diffusion/video_autoencoder.npz": checkpoint("video_autoencoder", CausalAutoencoder),
    "diffusion/video_dit.npz": checkpoint("video_dit", VideoDiT),
    "manners/answering.npz": manners.load,
    "quantization/layer.npz": quantization.layer,
    "quantization/llmcompressor.npz": quantization.codes,
    "quantization/table.json": quantization.table,
    "texts/reviews_en.tsv": data.imdb,
    "texts/reviews_ko.tsv": data.nsmc,
    "texts/topics_ko.tsv": data.topics_ko,
    "texts/preferences_ko.jsonl": data.preferences_ko,
    "texts/instructions_ko.jsonl": data.instructions_ko,
    "texts/glove.npz": data.glove,
    "traces/vllm_blocks.json": data.vllm_blocks,
    "unseen/clothes.npz": unseen.clothes,
    "unseen/digits.npz": unseen.digits,
    "unseen/objects.png": unseen.objects,
    "unseen/flowers/tulips/tulips_149.jpg": unseen_flowers,
    "unseen/reviews_en.tsv": lambda: unseen.reviews("en"),
    "unseen/reviews_ko.tsv": lambda: unseen.reviews("ko"),
}

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 123\n"
DAMAGES = {
    "cut": lambda content: content[: len(content) // 2],
    "last byte": lambda content: content[:-1],
    "longer": lambda content: content + b"\n",
    "emptied": lambda content: b"",
    "one bit": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
    "flipped": lambda content: content[:99] + bytes(byte ^ 0x5A for byte in content[99:299]) + content[299:],
    "replaced": lambda content: np.random.default_rng(0).bytes(5000),
    "page": lambda content: b"<html>sign in first</html>",
    "pointer": lambda content: POINTER,
    "merge": lambda content: b"<<<<<<< HEAD\n" + content,
    "CRLF": lambda content: content.replace(b"\n", b"\r\n"),
    "missing": None,
    "a folder": None,
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the embedded data below a folder with Hangul and a blank."""
    return shutil.copytree(store.FOLDER, tmp_path_factory.mktemp("data") / "홍 길동" / "embedded")


@pytest.fixture(autouse=True)
def folder(copy, monkeypatch):
    monkeypatch.setenv("TF_STUDY_PROFILE", "small")
    monkeypatch.setattr(store, "FOLDER", copy)
    return copy


def refusal(load) -> tuple[str, str]:
    """Return the file that the refusal of a loader names, and the remedy."""
    with pytest.raises(StudyError) as error:
        load()
    match = SENTENCE.fullmatch(str(error.value))
    assert match, str(error.value)
    return match.groups()


@contextlib.contextmanager
def damaged(file, damage):
    """Damage a file while the block runs; yield whether it is another now."""
    content = file.read_bytes()
    file.unlink()
    if damage == "a folder":
        file.mkdir()
    elif damage != "missing":
        file.write_bytes(DAMAGES[damage](content))
    try:
        yield not file.is_file() or file.read_bytes() != content
    finally:
        file.rmdir() if file.is_dir() else file.unlink(missing_ok=True)
        file.write_bytes(content)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", LOADERS)
def test_a_damaged_file_is_refused(folder, name, damage):
    with damaged(folder / name, damage) as other:
        if other:
            assert refusal(LOADERS[name])[0] == name
        else:
            assert damage == "CRLF" and b"\n" not in (folder / name).read_bytes()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_manifest_is_refused_unless_it_says_the_same(folder, damage):
    with damaged(folder / store.MANIFEST, damage):
        refused = []
        for name in LOADERS:
            try:
                store.path(name)
            except StudyError as error:
                refused.append(SENTENCE.fullmatch(str(error))[1])
        assert set(refused) <= {store.MANIFEST, *LOADERS}
        assert bool(refused) != (damage in ("last byte", "CRLF"))


def test_every_embedded_file_stands_in_the_manifest_and_is_tried_here(folder):
    lines = (folder / store.MANIFEST).read_text(encoding="utf-8")
    assert lines == store.manifest(), "python tools/build_data.py --manifest로 목록을 다시 쓰세요."
    names = {line.split(" ")[2] for line in lines.splitlines()}
    assert {re.sub(r"flowers/.*", "flowers", name) for name in names} == {
        re.sub(r"flowers/.*", "flowers", name) for name in LOADERS
    }


def test_whole_files_are_read_wherever_they_lie(folder):
    for load in set(LOADERS.values()):
        load()
    assert data.flowers() == folder / "flowers"


def test_the_remedy_brings_back_every_file_at_once(folder):
    def git(*arguments):
        subprocess.run(["git", *arguments], cwd=folder.parent, check=True, capture_output=True)

    git("init")
    git("config", "core.autocrlf", "false")
    git("add", "embedded")
    git("-c", "user.name=a", "-c", "user.email=a", "commit", "-m", "a")
    (folder / "mnist.npz").unlink()
    (folder / "texts" / "topics_ko.tsv").write_bytes(b"")
    (folder / store.MANIFEST).write_bytes(b"0 0 mnist.npz\n")
    shutil.rmtree(folder / "flowers" / "daisy")
    name, remedy = refusal(data.mnist)
    assert name == "mnist.npz"
    subprocess.run(remedy, shell=True, cwd=folder.parent, check=True, capture_output=True)
    for name in ("mnist.npz", "texts/topics_ko.tsv", "flowers"):
        store.path(name)
    assert (folder / store.MANIFEST).read_text(encoding="utf-8") == store.manifest()
