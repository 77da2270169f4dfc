"""multilingual-e5-small: in TensorFlow as in torch, and what its similarities mean."""

import tf_study  # noqa: F401  isort: skip


import numpy as np
import pytest

import nbval_needs
from tf_study.errors import StudyError
from tf_study.pretrained import catalog, e5, store

PARAMETERS = catalog.find("e5_small").parameters

SENTENCES = (
    "query: 이 영화는 재미있다",
    "query: 이 영화는 재미없다",
    "query: The stock price fell sharply today.",
)


@pytest.fixture(scope="module")
def encoder():
    """The TensorFlow model and its tokenizer."""
    nbval_needs.need("e5_small")
    return e5.e5_small()


@pytest.fixture(scope="module")
def encoded(encoder):
    """The sentences as the tokenizer makes them, and what the TensorFlow model makes of them."""
    model, tokenizer = encoder
    batch = dict(tokenizer(list(SENTENCES), padding=True, return_tensors="np"))
    return batch, model(**batch).last_hidden_state.numpy()


def test_the_tensorflow_bert_equals_torch(encoder, encoded):
    torch = pytest.importorskip("torch", reason="torch는 make advanced가 설치합니다.")
    import transformers

    sizes, tensors = e5.read(store.path("e5_small"))
    assert encoder[0].count_params() == PARAMETERS
    with torch.device("meta"):
        theirs = transformers.BertModel(transformers.BertConfig(**sizes), add_pooling_layer=False)
    weights = {name: torch.from_numpy(tensor.numpy()) for name, tensor in tensors.items()}
    theirs.load_state_dict(weights, assign=True)
    positions = torch.arange(sizes["max_position_embeddings"])[None]
    theirs.embeddings.position_ids, theirs.embeddings.token_type_ids = positions, torch.zeros_like(positions)
    batch, ours = encoded
    with torch.no_grad():
        expected = theirs.eval()(**{name: torch.tensor(value) for name, value in batch.items()})
    real = batch["attention_mask"].astype(bool)
    np.testing.assert_allclose(ours[real], expected.last_hidden_state.numpy()[real], atol=1e-5)


def test_similar_is_not_of_the_same_opinion(encoded):
    batch, hidden = encoded
    mask = batch["attention_mask"][..., None]
    vectors = (hidden * mask).sum(1) / mask.sum(1)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    fun_and_boring, fun_and_stocks = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert fun_and_boring > 0.93, "재미있다 and 재미없다"
    assert 0.7 < fun_and_stocks < 0.8, "far apart, for a model whose cosines lie between 0.7 and 1"


def test_the_tokenizer_is_the_models_own(encoder):
    tokenizer = encoder[1]
    assert tokenizer("query: 이 영화는 재미있다").input_ids == [
        0,
        41,
        1294,
        12,
        1504,
        29549,
        769,
        157403,
        1875,
        2,
    ]
    assert tokenizer.decode(tokenizer("집에 갑니다.").input_ids, skip_special_tokens=True) == "집에 갑니다."
    assert tokenizer.pad_token_id == 1 and tokenizer.model_max_length == 512


def test_tensorflow_classes_read_torch_files_only_when_told(tmp_path):
    """Why :func:`e5_small` sets the weights itself: it needs no torch, and no ``from_pt``, which everyone forgets."""
    pytest.importorskip("torch", reason="torch는 make advanced가 설치합니다.")
    import transformers

    sizes = dict(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    transformers.BertModel(transformers.BertConfig(**sizes)).save_pretrained(tmp_path)
    with pytest.raises(TypeError, match="safe_open"):
        transformers.TFBertModel.from_pretrained(tmp_path)
    transformers.TFBertModel.from_pretrained(tmp_path, from_pt=True)


def test_a_damaged_file_of_e5_is_one_sentence(tmp_path):
    for content in (b"", b"E5S1", b"E5S1" + bytes(400), b"GGUF" + bytes(400)):
        (tmp_path / "e5.bin").write_bytes(content)
        with pytest.raises(StudyError, match="깨졌거나"):
            e5.read(tmp_path / "e5.bin")
