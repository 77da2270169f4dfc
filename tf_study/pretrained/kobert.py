"""KoBERT's tokenizer (SKT 2019), built from the model's own ``spiece.model``, without the package sentencepiece.

Classes that transformers picks for the file put ``<sep>`` and ``<cls>`` at the end as XLNet does, or turn every
word into ``[UNK]``; both raise no error and train a classifier that guesses.
"""

from pathlib import Path

from tf_study.data.fetch import damaged
from tf_study.errors import StudyError
from tf_study.pretrained import store

# What KoBERT's README publishes.
SENTENCE, IDS = "한국어 모델을 공유합니다.", [2, 4958, 6855, 2046, 7088, 1050, 7843, 54, 3]
UNIGRAM = 1  # kind of a sentencepiece model; the other is byte-pair encoding


def kobert_tokenizer():
    """Return KoBERT's tokenizer, a fast one of transformers: ``[CLS] text [SEP]``, padding number 1.

    Raises:
        StudyError: if the model cannot be had, see :func:`tf_study.pretrained.hub`, or its file is another's.
    """
    path = store.hub("kobert") / "spiece.model"
    tokenizer = read(path)
    if tokenizer(SENTENCE).input_ids != IDS:
        raise damaged(path)
    return tokenizer


def read(path: Path):
    """Return the tokenizer of a sentencepiece model whose special pieces are BERT's.

    Raises:
        StudyError: if the file is missing, cut off or of another format.
    """
    import transformers
    from google.protobuf.message import DecodeError
    from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
    from transformers.utils import sentencepiece_model_pb2_new as schema

    proto = schema.ModelProto()
    try:
        proto.ParseFromString(path.read_bytes())
    except FileNotFoundError:
        raise StudyError(f"{path} 파일이 없으니 그 폴더를 지우고 모델을 다시 받으세요.") from None
    except DecodeError as error:
        raise damaged(path) from error
    ids = {piece.piece: number for number, piece in enumerate(proto.pieces)}
    special = {role: f"[{role.upper()}]" for role in ("unk", "pad", "cls", "sep", "mask")}
    if not set(special.values()) <= set(ids):
        raise damaged(path)
    core = Tokenizer(_model(proto, ids, special["unk"]))
    core.normalizer = _normalizer(proto.normalizer_spec.precompiled_charsmap)
    core.pre_tokenizer, core.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(special[role], ids[special[role]]) for role in ("cls", "sep")],
    )
    named = {f"{role}_token": piece for role, piece in special.items()}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=512, **named)


def _model(proto, ids: dict[str, int], unknown: str):
    from tokenizers import models

    if proto.trainer_spec.model_type == UNIGRAM:
        return models.Unigram([(piece.piece, piece.score) for piece in proto.pieces], unk_id=ids[unknown])
    merges = [  # every way to make a piece of two, the piece with the best score first
        (name[:cut], name[cut:])
        for name in sorted(ids, key=lambda name: -proto.pieces[ids[name]].score)
        for cut in range(1, len(name))
        if name[:cut] in ids and name[cut:] in ids
    ]
    return models.BPE(ids, merges, unk_token=unknown, fuse_unk=True)


def _normalizer(charsmap: bytes):
    """What sentencepiece does to a text first: its table of characters, then one space between words."""
    from tokenizers import Regex, normalizers

    steps = [normalizers.Precompiled(charsmap)] if charsmap else []
    return normalizers.Sequence([*steps, normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")])
