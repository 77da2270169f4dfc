"""The encoders by name: vocabularies cut down, weights in their places, and what is said where there are none."""

import json
from dataclasses import replace

import numpy as np
import pytest

import nbval_needs
from sentiment_analysis import dataset, encoders, tokens
from sentiment_analysis.encoders import PIECES, TOKENIZER, Description
from sentiment_analysis.settings import default
from tf_study.errors import StudyError
from tf_study.pretrained import e5, store


def load(name, folder, **changes):
    return encoders.load(replace(default(name), **changes), [], folder, report=print)


@pytest.fixture(scope="module")
def e5_tokenizer(tmp_path_factory):
    """The folder of e5's files with the pruned vocabulary, its description, and the kept pieces' old numbers."""
    nbval_needs.need("e5_small")
    folder = tmp_path_factory.mktemp("e5")
    state = json.loads(store.path("e5_small", 1).read_text(encoding="utf-8"))
    state, pieces = encoders.pruned(state)
    (folder / TOKENIZER).write_text(json.dumps(state), encoding="utf-8")
    (folder / PIECES).write_bytes(encoders.sentencepiece(state))
    return folder, Description("bert", {}, first=0, last=2, pad=1, limit=64, prefix="query: "), pieces


def test_a_pruned_vocabulary_cuts_korean_as_the_whole_one(e5_tokenizer):
    folder, about, pieces = e5_tokenizer
    texts = dataset.read("embedded").test.texts
    found = tokens.Outside(folder, about).encode(texts)
    wanted = e5.tokenizer()(["query: " + text for text in texts], truncation=True, max_length=64).input_ids
    same = [pieces[row].tolist() == old for row, old in zip(found, wanted, strict=True)]
    assert np.mean(same) > 0.985 and 80_000 < len(pieces) < 100_000


def test_sentencepiece_in_the_graph_and_in_python(e5_tokenizer):
    folder, about, _ = e5_tokenizer
    texts = dataset.read("embedded").test.texts + ["", " ", "ㅋㅋ😀", "a" * 400, "가" * 400]
    inside = tokens.Inside(folder, about)
    found, wanted = inside(texts), tokens.Outside(folder, about).encode(texts)
    pairs = zip(found["ids"].numpy(), found["lengths"].numpy(), wanted, strict=True)
    same = [ids[:length].tolist() == row.tolist() for ids, length, row in pairs]
    assert np.mean(same) >= 0.985 and inside.before == 3  # ties in runs such as !!!!!!
    starts, ends = found["starts"].numpy(), found["ends"].numpy()
    assert not starts[:, :4].any() and not ends[:, :4].any()  # <s>, que, ry, : are not of the text
    for text, first, last, length in zip(texts[:50], starts, ends, found["lengths"].numpy(), strict=False):
        whole = b"".join(text.encode()[a:b] for a, b in zip(first, last, strict=True))
        assert length == 64 or whole.decode() == text


def test_rows_of_a_pruned_embedding(monkeypatch):
    sizes = {
        "vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 12, "max_position_embeddings": 6, "type_vocab_size": 2,
    }  # fmt: skip
    encoders.library()
    about = Description("bert", sizes, 0, 2, 1, 6)
    random, state = np.random.default_rng(0), {}

    class Tensor:
        def __init__(self, shape):
            self.value = random.normal(size=shape).astype(np.float32)

        def numpy(self):
            return self.value

    for variable in encoders.build(about).weights:
        *path, kind = variable.name.split(":")[0].split("/")[2:]
        name = ".".join(path).replace("layer_._", "layer.")
        shape = tuple(variable.shape)[::-1] if kind == "kernel" else tuple(variable.shape)
        state[f"{name}.{e5.KERAS.get(kind, kind)}"] = Tensor(shape)
    words = state["embeddings.word_embeddings.weight"].value
    pieces = np.array([0, 1, 2, 7, 29])
    model = e5.build(sizes, dict(state), pieces)
    np.testing.assert_array_equal(model.bert.embeddings.weight, words[pieces])
    whole = e5.build(sizes, dict(state))
    new, old = np.array([[0, 3, 4, 2]]), np.array([[0, 7, 29, 2]])
    np.testing.assert_allclose(model(new).last_hidden_state, whole(old).last_hidden_state, atol=1e-6)


def test_koelectra_from_a_folder(tmp_path, monkeypatch):
    """A small ELECTRA with random weights in PyTorch's format, where the real one would lie."""
    torch = pytest.importorskip("torch", reason="torch는 make advanced가 설치합니다.")
    import transformers

    folder = tmp_path / "koelectra-small-v3-discriminator"
    config = transformers.ElectraConfig(
        vocab_size=12, embedding_size=8, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=20, max_position_embeddings=32,
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = transformers.ElectraModel(config).eval()
    theirs.save_pretrained(folder)
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "영화",
        "정말",
        "재미",
        "##있",
        "##어",
        "##요",
        "!",
    ]
    (folder / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    monkeypatch.setenv("TF_STUDY_DATA", str(tmp_path))
    start = load("koelectra-small", tmp_path, tokens=32)
    (tmp_path / TOKENIZER).write_bytes(start.files[TOKENIZER])
    about = start.network.about
    assert (about.kind, about.first, about.last, about.pad) == (
        "electra",
        2,
        3,
        0,
    ) and PIECES not in start.files
    rows = tokens.Outside(tmp_path, about).encode(["정말 재미있어요!", "영화"])
    assert [row.tolist() for row in rows] == [[2, 6, 7, 8, 9, 10, 11, 3], [2, 5, 3]]
    assert tokens.Inside(tmp_path, about)(["정말 재미있어요!"])["ids"].numpy().tolist() == [rows[0].tolist()]
    ids = tokens.padded(rows, about.pad)
    with torch.no_grad():
        wanted = theirs(torch.tensor(ids), attention_mask=torch.tensor(ids != 0)).last_hidden_state.numpy()
    hidden = start.network.hidden(ids).numpy()
    np.testing.assert_allclose(hidden[ids != 0], wanted[ids != 0], atol=1e-5)
    again = encoders.Network(Description(**json.loads(json.dumps(about.as_json()))))
    assert [v.shape for v in again.weights] == [v.shape for v in start.network.weights]
    with pytest.raises(StudyError, match="토큰 32개까지 받으니 --tokens를"):
        load("koelectra-small", tmp_path)
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(StudyError, match="모델을 읽을 수 없으니 그 폴더를 지우고"):
        load("koelectra-small", tmp_path, tokens=32)


@pytest.mark.parametrize(
    "name, folder", [("koelectra-small", "koelectra-small-v3-discriminator"), ("kobert", "kobert-base-v1")]
)
def test_what_is_not_here_is_said(tmp_path, monkeypatch, name, folder):
    monkeypatch.setenv("TF_STUDY_DATA", str(tmp_path))
    monkeypatch.setenv("TF_STUDY_PROFILE", "small")
    with pytest.raises(StudyError, match=f"TF_STUDY_PROFILE=full로 실행하거나 {folder} 폴더를"):
        load(name, tmp_path)
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "config.json").write_text("{}")
    with monkeypatch.context() as patch:
        patch.setattr(encoders, "find_spec", lambda name: None)
        with pytest.raises(StudyError, match="torch가 있어야 읽으니 make advanced로"):
            load(name, tmp_path)
    pytest.importorskip("torch", reason="torch는 make advanced가 설치합니다.")
    with pytest.raises(
        StudyError, match="spiece.model 파일이 없으니" if name == "kobert" else "읽을 수 없으니"
    ):
        load(name, tmp_path)


def test_e5_without_its_files(tmp_path, monkeypatch):
    monkeypatch.setenv("TF_STUDY_CACHE", str(tmp_path))
    monkeypatch.delenv("TF_STUDY_DATA", raising=False)
    monkeypatch.setenv("TF_STUDY_PROFILE", "small")
    with pytest.raises(StudyError, match="python main.py models e5_small를 실행하세요"):
        load("e5-small", tmp_path)
