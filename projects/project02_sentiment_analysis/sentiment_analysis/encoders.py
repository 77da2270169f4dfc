"""The encoders by name: where their weights and tokenizers come from, and the network that all of them become.

An encoder is one of transformers' TensorFlow classes, which are made of ``tf_keras``. Its dropout is 0: what is
dropped in training follows from the step's number (:mod:`training`), so that a resumed training goes on exactly.
"""

import base64
import json
import os
import re
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

import numpy as np
import tensorflow as tf

from sentiment_analysis.settings import CLASSES, Settings
from tf_study import pretrained
from tf_study.errors import StudyError
from tf_study.pretrained import e5, kobert, store

TOKENIZER, PIECES = "tokenizer.json", "spiece.model"
HUB = {"koelectra-small": "koelectra_small", "kobert": "kobert"}
FAR = -10000.0  # added to the attention's scores of padding
# Pieces of e5's vocabulary that are kept: Hangul, ASCII, punctuation; 88,570 of 250,002.
KEPT = re.compile(
    r"[▁\u0020-\u007e\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3\u2010-\u2027\u2030-\u203b\u3000-\u303f\u00b7]*"
)


@dataclass(frozen=True)
class Description:
    """What must be known to build a network again: goes into the model's card.

    ``kind``: ``bert`` or ``electra``. ``config``: what transformers' configuration takes. ``first``, ``last``,
    ``pad``: numbers of the special pieces. ``prefix``: goes before every text. ``limit``: tokens at most.
    """

    kind: str
    config: dict
    first: int
    last: int
    pad: int
    limit: int
    prefix: str = ""

    def as_json(self) -> dict:
        """Return the fields."""
        return asdict(self)


@dataclass
class Start:
    """What training starts from: a network, and the files of its tokenizer by name."""

    network: "Network"
    files: dict[str, bytes] = field(default_factory=dict)


class Network(tf.Module):
    """An encoder, the mean over the real tokens, and a dense layer: token numbers → logits.

    It can be cut below its last ``blocks`` blocks: ``upper(lower(embed(ids), mask, blocks), mask, blocks)``.
    """

    def __init__(self, about: Description, encoder=None):
        super().__init__()
        self.about = about
        self._encoder = build(about) if encoder is None else encoder
        (self.main,) = (layer for layer in self._encoder.layers if hasattr(layer, "embeddings"))
        self.depth = len(self.main.encoder.layer)
        width = self.main.config.hidden_size
        self.kernel = tf.Variable(tf.zeros((width, len(CLASSES))), name="kernel")
        self.bias = tf.Variable(tf.zeros(len(CLASSES)), name="bias")

    @property
    def weights(self) -> list[tf.Variable]:
        """All variables in a fixed order, the head's last."""
        return [*self._encoder.weights, self.kernel, self.bias]

    def learning(self, blocks: int) -> list[tf.Variable]:
        """Return the variables of the last blocks and the head. All blocks: the embeddings too."""
        if blocks >= self.depth:
            return self.weights
        layers = self.main.encoder.layer[self.depth - blocks :]
        return [variable for layer in layers for variable in layer.weights] + [self.kernel, self.bias]

    def mask(self, ids: tf.Tensor) -> tf.Tensor:
        """Return 1.0 at tokens and 0.0 at padding; ids (B, T) → (B, T)."""
        return tf.cast(ids != self.about.pad, tf.float32)

    def embed(self, ids: tf.Tensor) -> tf.Tensor:
        """Return the word embeddings, (B, T) → (B, T, E)."""
        return tf.gather(self.main.embeddings.weight, ids)

    def lower(self, embedded: tf.Tensor, mask: tf.Tensor, blocks: int) -> tf.Tensor:
        """Return what the last ``blocks`` blocks get, (B, T, E) → (B, T, d)."""
        hidden = self.main.embeddings(None, inputs_embeds=embedded)
        if hasattr(self.main, "embeddings_project"):
            hidden = self.main.embeddings_project(hidden)
        return self._through(hidden, mask, self.main.encoder.layer[: max(0, self.depth - blocks)])

    def upper(self, hidden: tf.Tensor, mask: tf.Tensor, blocks: int) -> tf.Tensor:
        """Return the mean over the tokens of what the last ``blocks`` blocks make, (B, T, d) → (B, d)."""
        hidden = self._through(hidden, mask, self.main.encoder.layer[max(0, self.depth - blocks) :])
        return tf.reduce_sum(hidden * tf.expand_dims(mask, -1), 1) / tf.reduce_sum(mask, 1, keepdims=True)

    def head(self, pooled: tf.Tensor) -> tf.Tensor:
        """Return the logits, (B, d) → (B, 2)."""
        return pooled @ self.kernel + self.bias

    def from_embedded(self, embedded: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Return the logits of word embeddings, (B, T, E) → (B, 2)."""
        return self.head(self.upper(self.lower(embedded, mask, 0), mask, 0))

    def __call__(self, ids: tf.Tensor) -> tf.Tensor:
        """Return the logits of token numbers, (B, T) → (B, 2)."""
        return self.from_embedded(self.embed(ids), self.mask(ids))

    def hidden(self, ids: tf.Tensor) -> tf.Tensor:
        """Return what the encoder makes of token numbers, (B, T) → (B, T, d)."""
        return self.lower(self.embed(ids), self.mask(ids), 0)

    @cache  # noqa: B019  A network lives as long as its training.
    def frozen(self, blocks: int):
        """Return a graph: token numbers (B, T) → what the last blocks get (B, T, d), and the mean they make (B, d)."""

        @tf.function(input_signature=[tf.TensorSpec((None, None), tf.int32)], autograph=False)
        def compute(ids):
            mask = self.mask(ids)
            hidden = self.lower(self.embed(ids), mask, blocks)
            return hidden, self.upper(hidden, mask, blocks)

        return compute

    @staticmethod
    def _through(hidden, mask, layers):
        far = FAR * (1.0 - tf.expand_dims(tf.expand_dims(mask, 1), 1))  # (B, heads, from, to)
        for layer in layers:
            hidden = layer(hidden, far, None, None, None, None, False)[0]
        return hidden


def clipped(gradients) -> list[tf.Tensor]:
    """Return gradients scaled to a global norm of 1 at most; one of a table's rows becomes the whole table's."""
    return [tf.convert_to_tensor(one) for one in tf.clip_by_global_norm(gradients, 1.0)[0]]


def build(about: Description):
    """Return the encoder of a description, all zeros: random numbers that are overwritten would cost seconds."""
    transformers = library()
    from transformers.models.bert import modeling_tf_bert
    from transformers.models.electra import modeling_tf_electra

    with (
        mock.patch.object(modeling_tf_bert, "get_initializer", lambda _: "zeros"),
        mock.patch.object(modeling_tf_electra, "get_initializer", lambda _: "zeros"),
    ):
        if about.kind == "electra":
            encoder = transformers.TFElectraModel(transformers.ElectraConfig(**about.config))
        else:
            encoder = transformers.TFBertModel(
                transformers.BertConfig(**about.config), add_pooling_layer=False
            )
        encoder(np.zeros((1, 1), np.int32))  # makes the variables
    return encoder


def library(torch: bool = False):
    """Return transformers, quiet, with ``tf.keras`` settled on Keras 3.

    Args:
        torch: whether it may import PyTorch, which takes seconds and only the weights from the hub need. The variable
            ``USE_TORCH`` overrules it, and whoever imported transformers before.
    """
    tf.keras.Model  # noqa: B018  transformers' TensorFlow classes would settle it on Keras 2 for everybody.
    with mock.patch.dict(os.environ, USE_TORCH=os.environ.get("USE_TORCH", "AUTO" if torch else "0")):
        import transformers

    transformers.logging.set_verbosity_error()
    tf.get_logger().setLevel("ERROR")  # tf_keras calls functions by their old names.
    return transformers


def load(chosen: Settings, texts: list[str], folder: Path, report) -> Start:
    """Return the encoder that the settings name, before it has learnt sentiments.

    Args:
        texts: training reviews, from which the encoder ``small`` learns Korean; the others know it.
        folder: keeps what ``small`` has learnt until the training is finished.
        report: called with a line of progress.

    Raises:
        StudyError: if the model cannot be had, or a package that reads it is missing.
    """
    if chosen.encoder == "small":
        from sentiment_analysis import pretraining

        return pretraining.load(chosen, texts, folder, report)
    if chosen.encoder == "e5-small":
        return _e5(chosen.tokens)
    return _from_hub(chosen)


def _e5(limit: int) -> Start:
    """multilingual-e5-small, its vocabulary cut to Hangul, ASCII and punctuation: 117 → 55 million weights."""
    sizes, state = e5.read(store.path("e5_small"))
    library()
    tokenizer, pieces = pruned(json.loads(store.path("e5_small", 1).read_text(encoding="utf-8")))
    config = sizes | {"vocab_size": len(pieces)} | _no_dropout()
    names = {piece: number for number, (piece, _) in enumerate(tokenizer["model"]["vocab"])}
    about = Description("bert", config, names["<s>"], names["</s>"], names["<pad>"], limit, "query: ")
    encoder = e5.build(sizes | _no_dropout(), state, pieces)
    files = {TOKENIZER: json.dumps(tokenizer, ensure_ascii=False).encode(), PIECES: sentencepiece(tokenizer)}
    return Start(Network(about, encoder), files)


def pruned(tokenizer: dict) -> tuple[dict, np.ndarray]:
    """Cut the vocabulary of a Unigram tokenizer to special pieces and :data:`KEPT`.

    Args:
        tokenizer: what its ``tokenizer.json`` says; it is changed.

    Returns:
        The tokenizer, and the old numbers of the kept pieces in their new order.
    """
    vocabulary = tokenizer["model"]["vocab"]
    special = {token["content"] for token in tokenizer["added_tokens"]}
    kept = [
        number for number, (piece, _) in enumerate(vocabulary) if piece in special or KEPT.fullmatch(piece)
    ]
    tokenizer["model"]["vocab"] = [vocabulary[number] for number in kept]
    names = {piece: number for number, (piece, _) in enumerate(tokenizer["model"]["vocab"])}
    tokenizer["model"]["unk_id"] = names["<unk>"]
    for token in tokenizer["added_tokens"]:
        token["id"] = names[token["content"]]
    for name, token in tokenizer["post_processor"]["special_tokens"].items():
        token["ids"] = [names[name]]
    return tokenizer, np.array(kept)


def sentencepiece(tokenizer: dict) -> bytes:
    """Return sentencepiece's file of a Unigram ``tokenizer.json``, without the package sentencepiece."""
    library()  # else the next line would import PyTorch, too
    from transformers.utils import sentencepiece_model_pb2_new as schema

    proto = schema.ModelProto()
    kinds = proto.SentencePiece
    special = {token["content"]: kinds.CONTROL for token in tokenizer["added_tokens"]}
    special["<unk>"] = kinds.UNKNOWN
    for piece, score in tokenizer["model"]["vocab"]:
        proto.pieces.add(piece=piece, score=score, type=special.get(piece, kinds.NORMAL))
    names = {piece: number for number, (piece, _) in enumerate(tokenizer["model"]["vocab"])}
    trainer = proto.trainer_spec
    trainer.model_type, trainer.vocab_size = kobert.UNIGRAM, len(names)
    for role, piece in (("unk", "<unk>"), ("bos", "<s>"), ("eos", "</s>"), ("pad", "<pad>")):
        setattr(trainer, f"{role}_id", names[piece])
        setattr(trainer, f"{role}_piece", piece)
    normal = proto.normalizer_spec
    normal.name, normal.precompiled_charsmap = "nmt_nfkc", _characters(tokenizer["normalizer"])
    normal.add_dummy_prefix = normal.remove_extra_whitespaces = normal.escape_whitespaces = True
    return proto.SerializeToString()


def _characters(normalizer: dict) -> bytes:
    """Return the table of characters in a normalizer of ``tokenizer.json``, empty if there is none."""
    if normalizer["type"] == "Precompiled":
        return base64.b64decode(normalizer["precompiled_charsmap"])
    return next(filter(None, map(_characters, normalizer.get("normalizers", []))), b"")


def _from_hub(chosen: Settings) -> Start:
    """KoELECTRA or KoBERT from the hub's folder; their weights are PyTorch's."""
    folder = pretrained.hub(HUB[chosen.encoder])
    if find_spec("torch") is None:
        raise StudyError(
            f"{chosen.encoder}의 가중치는 PyTorch의 파일이라 torch가 있어야 읽으니 make advanced로 설치하세요."
        )
    from safetensors import SafetensorError

    transformers = library(torch=True)
    try:
        if chosen.encoder == "kobert":
            kind, fast = "bert", pretrained.kobert_tokenizer()
            encoder = transformers.TFBertModel.from_pretrained(
                folder, from_pt=True, add_pooling_layer=False, **_no_dropout()
            )
        else:
            kind = "electra"
            fast = transformers.ElectraTokenizerFast.from_pretrained(folder, do_lower_case=False)
            encoder = transformers.TFElectraModel.from_pretrained(folder, from_pt=True, **_no_dropout())
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise StudyError(
            f"{folder}의 모델을 읽을 수 없으니 그 폴더를 지우고 다시 받으세요 ({type(error).__name__})."
        ) from error
    config = encoder.config.to_diff_dict()
    room = encoder.config.max_position_embeddings
    if chosen.tokens > room:
        raise StudyError(f"{chosen.encoder}는 토큰 {room}개까지 받으니 --tokens를 줄이세요.")
    files = {TOKENIZER: fast.backend_tokenizer.to_str().encode()}
    if kind == "bert":
        files[PIECES] = (folder / PIECES).read_bytes()
    numbers = fast.cls_token_id, fast.sep_token_id, fast.pad_token_id
    return Start(Network(Description(kind, config, *numbers, chosen.tokens), encoder), files)


def _no_dropout() -> dict:
    return {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
