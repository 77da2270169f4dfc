"""KoBERT's tokenizer on small models made here, with the numbers that the package sentencepiece 0.2.0 gives for them."""

import base64
import json
import sys

import pytest

import nbval_needs
from tf_study.data import fetch
from tf_study.errors import StudyError
from tf_study.pretrained import kobert, store

SPECIAL = ("[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]")
NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4  # kinds of pieces
UNIGRAM, BPE = 1, 2
PIECES = (
    *(
        "▁한국",
        "어",
        "▁모델",
        "을",
        "▁공유",
        "합니다",
        ".",
        "▁한국어",
        "한국",
        "▁모",
        "델",
        "델을",
        "▁",
        "한",
    ),
    *("국", "모", "공유", "공", "유", "합", "니", "다", "니다", "합니", "A", "B", "▁AB", "!"),
)
UNIGRAM_SCORES = [-1 - 0.37 * (number * 7 % len(PIECES)) for number in range(5, 5 + len(PIECES))]
BPE_SCORES = [-float(number) for number in range(len(PIECES))]

# Text → what SentencePieceProcessor.encode returns for the model of either kind.
REFERENCE = {
    "한국어 모델을 공유합니다.": ([12, 17, 20, 16, 9, 10, 11], [12, 7, 8, 9, 10, 11]),
    "  모델을   공유 합니다!! ": ([17, 20, 16, 9, 17, 10, 32, 32], [7, 8, 9, 17, 10, 32, 32]),
    "漢字 한국 공유니다": ([17, 0, 5, 9, 27], [17, 0, 5, 9, 27]),
    "AB모델한국어": ([31, 20, 15, 13, 6], [17, 29, 30, 20, 15, 13, 6]),
    "": ([], []),
}
WIDE, WIDE_NUMBERS = "ＡＢ 한국ＡＢ", [31, 5, 29, 30]  # with the table of characters of multilingual-e5


def write(path, pieces, scores, kind=UNIGRAM, charsmap=b""):
    """Write a sentencepiece model of the special pieces and these."""
    from transformers.utils import sentencepiece_model_pb2_new as schema

    proto = schema.ModelProto()
    for piece, role in zip(SPECIAL, (UNKNOWN, CONTROL, CONTROL, CONTROL, USER_DEFINED), strict=True):
        proto.pieces.add(piece=piece, score=0, type=role)
    for piece, score in zip(pieces, scores, strict=True):
        proto.pieces.add(piece=piece, score=score, type=NORMAL)
    proto.trainer_spec.model_type = kind
    proto.normalizer_spec.precompiled_charsmap = charsmap
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.mark.parametrize("kind", [UNIGRAM, BPE])
def test_numbers_equal_sentencepiece_without_it(tmp_path, monkeypatch, kind):
    """The package is not needed: with the protobuf of TensorFlow its newest release fails in transformers."""
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    scores = UNIGRAM_SCORES if kind == UNIGRAM else BPE_SCORES
    tokenizer = kobert.read(write(tmp_path / "spiece.model", PIECES, scores, kind))
    for text, numbers in REFERENCE.items():
        assert tokenizer(text).input_ids == [2, *numbers[kind == BPE], 3], text


def test_the_models_table_of_characters_comes_first(tmp_path):
    nbval_needs.need("e5_small")
    steps = json.loads(store.path("e5_small", 1).read_text("utf-8"))["normalizer"]["normalizers"]
    table = base64.b64decode(steps[0]["precompiled_charsmap"])
    tokenizer = kobert.read(write(tmp_path / "spiece.model", PIECES, UNIGRAM_SCORES, charsmap=table))
    assert tokenizer(WIDE).input_ids == [2, *WIDE_NUMBERS, 3]
    without = kobert.read(write(tmp_path / "spiece.model", PIECES, UNIGRAM_SCORES))
    assert without(WIDE).input_ids == [2, 17, 0, 5, 0, 3]


def test_pairs_padding_and_text(tmp_path):
    """As BERT has it, and not XLNet, whose [CLS] comes last and whose padding comes first."""
    tokenizer = kobert.read(write(tmp_path / "spiece.model", PIECES, BPE_SCORES, BPE))
    pair = tokenizer("한국어", "모델을")
    assert pair.input_ids == [2, 12, 3, 7, 8, 3] and pair.token_type_ids == [0, 0, 0, 1, 1, 1]
    batch = tokenizer(["한국어", "한국어 모델을"], padding=True)
    assert batch.input_ids == [[2, 12, 3, 1, 1], [2, 12, 7, 8, 3]]
    assert batch.attention_mask == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert tokenizer.decode(batch.input_ids[1], skip_special_tokens=True) == "한국어 모델을"
    assert tokenizer("한국어[MASK]").input_ids == [2, 12, 4, 3] and tokenizer.mask_token_id == 4


def test_the_published_numbers_tell_kobert_from_another_model(tmp_path, monkeypatch):
    monkeypatch.setenv(fetch.DATA_VARIABLE, str(tmp_path))
    folder = tmp_path / "kobert-base-v1"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    with pytest.raises(StudyError, match=r"spiece\.model 파일이 없으니"):
        kobert.kobert_tokenizer()
    write(folder / "spiece.model", PIECES, BPE_SCORES, BPE)
    with pytest.raises(StudyError, match="깨졌거나"):
        kobert.kobert_tokenizer()
    # The pieces of the published sentence at their published numbers, among 8,002.
    published = dict(
        zip(kobert.IDS[1:-1], ("▁한국", "어", "▁모델", "을", "▁공유", "합니다", "."), strict=True)
    )
    pieces = [published.get(number, f"▁x{number}") for number in range(len(SPECIAL), 8002)]
    write(folder / "spiece.model", pieces, [-1.0] * len(pieces))
    assert kobert.kobert_tokenizer()(kobert.SENTENCE).input_ids == kobert.IDS


def test_kobert_is_on_the_hub_alone(monkeypatch):
    monkeypatch.delenv(fetch.DATA_VARIABLE, raising=False)
    with pytest.raises(StudyError, match="허브에서 받으므로"):
        kobert.kobert_tokenizer()


def test_a_damaged_file_or_one_without_berts_pieces_is_one_sentence(tmp_path):
    path = write(tmp_path / "spiece.model", PIECES, BPE_SCORES, BPE)
    whole = path.read_bytes()
    for content in (b"", b"PK" + bytes(50), whole[:-3], whole.replace(b"[PAD]", b"<pad>")):
        path.write_bytes(content)
        with pytest.raises(StudyError, match="깨졌거나"):
            kobert.read(path)
