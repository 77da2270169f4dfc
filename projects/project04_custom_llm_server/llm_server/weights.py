"""Where the numbers come from: a folder as Hugging Face saves it, the course's SmolLM2, or random ones for tests.

A checkpoint is a Llama: ``LlamaForCausalLM`` in float32, float16 or bfloat16, or with 4-bit matrices in AutoAWQ's GEMM
layout, which is what vLLM loads too. Anything else is refused with one sentence.
"""

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import safetensors
from safetensors.numpy import save_file

from tf_study import cli
from tf_study.errors import StudyError
from tf_study.models.llama import Config, hf_sizes
from tf_study.pretrained import gguf, smol, store

PACKAGED = "smollm2"
CARD, WHOLE, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json",
    "chat_template.jinja",
)  # fmt: skip
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)  # AutoAWQ's order of eight outputs in a word, lowest bits first
MATRICES = (
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
)  # fmt: skip


@dataclass(frozen=True)
class Quantized:
    """A matrix (n, o) in 4 bits: ``(codes - zeros) * scales``, with a grid for every group of n / g inputs.

    ``codes`` (n, o) and ``zeros`` (g, o) are uint8 of 0-15, ``scales`` (g, o) float32.
    """

    codes: np.ndarray
    zeros: np.ndarray
    scales: np.ndarray

    def matrix(self) -> np.ndarray:
        """Return the float32 matrix (n, o)."""
        groups = self.codes.reshape(len(self.scales), -1, self.codes.shape[1]).astype(np.float32)
        return ((groups - self.zeros[:, None]) * self.scales[:, None]).reshape(self.codes.shape)


@dataclass(frozen=True)
class Checkpoint:
    """A Llama's sizes and weights.

    Attributes:
        config: its sizes.
        context: most tokens that it was trained for.
        tensors: by Hugging Face's names; a matrix of ``*_proj`` is (inputs, outputs), the transposed of theirs, and
            may be :class:`Quantized`.
        stops: the tokens that end an answer.
        scaling: Llama 3's stretching of the positions (``rope_scaling`` of its config), if it has any.
        source: the folder it was read from.
    """

    config: Config
    context: int
    tensors: Mapping[str, np.ndarray | Quantized]
    stops: frozenset[int] = frozenset()
    scaling: Mapping[str, float] = field(default_factory=dict)
    source: Path | None = None

    def frequencies(self) -> np.ndarray:
        """Return the angle per position of each pair, (D/2,), as transformers' ``ROPE_INIT_FUNCTIONS`` do."""
        plain = self.config.rope_base ** (-np.arange(0, self.config.head_dim, 2) / self.config.head_dim)
        if not self.scaling:
            return plain.astype(np.float32)
        factor, low, high, old = (
            self.scaling[key]
            for key in ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
        )
        turns = old * plain / (2 * math.pi)  # in the context of the first training
        share = np.clip((turns - low) / (high - low), 0, 1)  # 0: stretched, 1: left alone
        return ((1 - share) * plain / factor + share * plain).astype(np.float32)


def load(source: str | Path) -> Checkpoint:
    """Read a checkpoint.

    Args:
        source: a folder, ``smollm2`` for the course's packaged model, or a name of the Hugging Face hub.

    Raises:
        StudyError: if there is none, it is damaged, or not a Llama that this engine computes.
    """
    if str(source) == PACKAGED and not Path(source).exists():
        metadata, config, state = smol.read()
        stops = frozenset({metadata["tokenizer.ggml.eos_token_id"]})
        return Checkpoint(config, metadata["llama.context_length"], _transposed(state), stops)
    return _read(folder(source))


def tokenizer(source: str | Path):
    """Return the model's tokenizer (a fast one of transformers), with its chat template.

    Raises:
        StudyError: if it cannot be read.
    """
    if str(source) == PACKAGED and not Path(source).exists():
        return smol.tokenizer(gguf.read(store.path(PACKAGED))[0])
    import transformers

    where = folder(source)
    try:
        return transformers.PreTrainedTokenizerFast.from_pretrained(where)
    except Exception as error:  # the library raises errors of every kind for damaged files
        raise StudyError(
            f"{where}의 tokenizer.json을 읽을 수 없으니 모델 폴더를 다시 받으세요 ({type(error).__name__})."
        ) from error


def folder(source: str | Path) -> Path:
    """Return the folder of a model; one of the hub is downloaded first, if it is not here yet.

    Raises:
        StudyError: if there is no such model, or it cannot be downloaded.
    """
    path = Path(source)
    if path.is_dir():
        return path
    if path.is_absolute() or str(source).count("/") != 1 or str(source).startswith("."):
        raise StudyError(f"모델 폴더 {source}이(가) 없으니 경로를 확인하거나 {PACKAGED}를 쓰세요.")
    import huggingface_hub

    try:
        wanted = ["*.json", "*.safetensors", "*.jinja"]
        return Path(huggingface_hub.snapshot_download(str(source), allow_patterns=wanted))
    except (OSError, ValueError) as error:  # The network's errors and the hub's own are of these kinds.
        raise StudyError(
            f"{source} 폴더가 없고 허브에서도 받지 못했으니({type(error).__name__}) 이름과 인터넷 연결을 확인하세요."
        ) from error


def tiny(
    config: Config, context: int = 256, seed: int = 0, stops: frozenset[int] = frozenset()
) -> Checkpoint:
    """Return a Llama with random weights, large enough for answers that vary."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in shapes(config).items():
        spread = 0.5 if len(shape) == 1 or "proj" not in name else 2 * shape[0] ** -0.5
        tensors[name] = rng.normal(float(len(shape) == 1), spread, shape).astype(np.float32)
    return Checkpoint(config, context, tensors, stops)


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every tensor of a checkpoint."""
    c = config
    queries, keys = c.heads * c.head_dim, c.kv_heads * c.head_dim
    ends = (
        (c.width, queries), (c.width, keys), (c.width, keys), (queries, c.width),
        (c.width, c.hidden), (c.width, c.hidden), (c.hidden, c.width),
    )  # fmt: skip
    found = {"model.embed_tokens.weight": (c.vocab, c.width), "model.norm.weight": (c.width,)}
    if not c.tie_embeddings:
        found["lm_head.weight"] = (c.vocab, c.width)
    for layer in range(c.layers):
        prefix = f"model.layers.{layer}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            found[f"{prefix}{norm}.weight"] = (c.width,)
        found |= {f"{prefix}{name}.weight": shape for name, shape in zip(MATRICES, ends, strict=True)}
    return found


def save(checkpoint: Checkpoint, output: Path) -> None:
    """Write a folder that transformers and vLLM load; of quantized matrices, in AutoAWQ's GEMM layout.

    What is not quantized goes with them in float16, as AutoAWQ has it. The tokenizer's files are copied.

    Raises:
        StudyError: if the folder cannot be written.
    """
    arrays, groups = {}, set()
    quantized = any(isinstance(tensor, Quantized) for tensor in checkpoint.tensors.values())
    for name, tensor in checkpoint.tensors.items():
        if isinstance(tensor, Quantized):
            stem = name.removesuffix(".weight")
            groups.add(len(tensor.codes) // len(tensor.scales))
            arrays[f"{stem}.qweight"], arrays[f"{stem}.qzeros"] = _pack(tensor.codes), _pack(tensor.zeros)
            arrays[f"{stem}.scales"] = tensor.scales.astype(np.float16)
        else:
            turned = tensor.T if name.endswith("_proj.weight") else tensor
            arrays[name] = np.ascontiguousarray(turned, np.float16 if quantized else np.float32)
    card = _card(checkpoint) | {"torch_dtype": "float16" if quantized else "float32"}
    if quantized:
        (group,) = groups
        card["quantization_config"] = dict(
            quant_method="awq", bits=4, group_size=group, zero_point=True, version="gemm"
        )
    cli.write(output / WHOLE, lambda part: _write_tensors(arrays, part))
    cli.write_text(output / CARD, json.dumps(card, indent=1))
    _save_tokenizer(checkpoint, output)


def _write_tensors(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    save_file(arrays, path, metadata={"format": "pt"})
    path.chmod(0o644)  # safetensors lets nobody but the owner read it.


def _save_tokenizer(checkpoint: Checkpoint, output: Path) -> None:
    if checkpoint.source is None:
        return
    for name in TOKENIZER:
        if (file := checkpoint.source / name).is_file():
            cli.write(output / name, lambda part, file=file: shutil.copyfile(file, part))


def _card(checkpoint: Checkpoint) -> dict:
    c = checkpoint.config
    card = hf_sizes(c) | {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "max_position_embeddings": checkpoint.context,
        "bos_token_id": None,
        "eos_token_id": sorted(checkpoint.stops) or None,
    }
    if checkpoint.scaling:
        card["rope_scaling"] = {"rope_type": "llama3", **checkpoint.scaling}
    return card


def _read(path: Path) -> Checkpoint:
    try:
        card = json.loads((path / CARD).read_text(encoding="utf-8"))
        if not isinstance(card, dict):
            raise ValueError
    except FileNotFoundError:
        raise StudyError(f"{path}에 {CARD}이 없으니 Hugging Face 형식의 모델 폴더를 주세요.") from None
    except (OSError, ValueError):
        raise _damaged(path / CARD) from None
    _refuse_others(path, card)
    try:
        config = Config(
            vocab=card["vocab_size"],
            width=card["hidden_size"],
            layers=card["num_hidden_layers"],
            heads=card["num_attention_heads"],
            kv_heads=card.get("num_key_value_heads") or card["num_attention_heads"],
            hidden=card["intermediate_size"],
            head_dim=card.get("head_dim") or 0,
            rope_base=float(card.get("rope_theta", 10000.0)),
            eps=card["rms_norm_eps"],
            tie_embeddings=card.get("tie_word_embeddings", False),
        )
        context, ends = int(card["max_position_embeddings"]), card.get("eos_token_id")
        scaling = {
            k: v for k, v in (card.get("rope_scaling") or {}).items() if k not in ("rope_type", "type")
        }
        ends = frozenset(ends if isinstance(ends, list) else [] if ends is None else [ends])
        tensors = _tensors(path, shapes(config))
        found = Checkpoint(config, context, tensors, ends, scaling, path)
        found.frequencies()
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        raise _damaged(path / CARD) from None
    return found


def _refuse_others(path: Path, card: dict) -> None:
    """Raise a StudyError for what this engine would compute wrongly."""
    kind = (card.get("architectures") or [card.get("model_type")])[0]
    if kind != "LlamaForCausalLM":
        raise StudyError(
            f"{path}의 구조 {kind}은(는) 이 엔진이 계산하지 못하니 LlamaForCausalLM 모델을 주거나 vLLM 엔진을 쓰세요."
        )
    scaling, quantization = card.get("rope_scaling") or {}, card.get("quantization_config")
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    reason = None
    if kind not in ("default", "llama3"):
        reason = f"위치 인코딩 {kind}"
    elif card.get("attention_bias") or card.get("mlp_bias"):
        reason = "편향이 있는 행렬"
    elif card.get("hidden_act", "silu") != "silu":
        reason = f"활성화 함수 {card['hidden_act']}"
    elif quantization and [
        quantization.get(key, default)
        for key, default in (("quant_method", None), ("bits", 4), ("version", "gemm"), ("zero_point", True))
    ] != ["awq", 4, "gemm", True]:
        reason = f"양자화 {quantization.get('quant_method')}"
    if reason:
        raise StudyError(f"{path}의 {reason}은(는) 이 엔진이 계산하지 못하니 vLLM 엔진을 쓰세요.")


def _tensors(path: Path, wanted: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray | Quantized]:
    """Read the tensors of these names and shapes; others, such as a tied head, are left."""
    files = _files(path)
    found = {}
    for name, shape in wanted.items():
        stem = name.removesuffix(".weight")
        if f"{stem}.qweight" in files:
            names = [f"{stem}.{part}" for part in ("qweight", "qzeros", "scales")]
            packed = [_tensor(path, files.get(part), part) for part in names]
            found[name] = _unpack(path, stem, shape, *packed)
            continue
        tensor = _tensor(path, files.get(name), name).astype(np.float32)
        tensor = np.ascontiguousarray(tensor.T) if name.endswith("_proj.weight") else tensor
        if tensor.shape != shape or not np.isfinite(tensor).all():
            raise StudyError(f"{path}의 {name}이(가) 설정과 다르거나 수가 아니니 모델 폴더를 다시 받으세요.")
        found[name] = tensor
    return found


def _files(path: Path) -> dict[str, Path]:
    """Return which file has which tensor."""
    if (path / INDEX).is_file():
        try:
            named = json.loads((path / INDEX).read_text(encoding="utf-8"))["weight_map"]
            return {name: path / file for name, file in named.items()}
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            raise _damaged(path / INDEX) from None
    if not (path / WHOLE).is_file():
        raise StudyError(f"{path}에 {WHOLE}이 없으니 safetensors로 저장한 모델 폴더를 주세요.")
    with _opened(path / WHOLE) as file:
        return dict.fromkeys(file.keys(), path / WHOLE)


def _tensor(path: Path, file: Path | None, name: str) -> np.ndarray:
    if file is None:
        raise StudyError(f"{path}에 가중치 {name}이(가) 없으니 모델 폴더를 다시 받으세요.")
    with _opened(file) as opened:
        try:
            return opened.get_tensor(name)
        except (
            safetensors.SafetensorError,
            AttributeError,
            TypeError,
            ValueError,
        ):  # a type that NumPy lacks
            raise _damaged(file) from None


def _opened(file: Path):
    try:
        return safetensors.safe_open(file, "np")
    except (OSError, safetensors.SafetensorError):
        raise _damaged(file) from None


def _damaged(file: Path) -> StudyError:
    return StudyError(f"{file}이(가) 없거나 깨졌으니 모델 폴더를 다시 받거나 다시 만드세요.")


def _pack(codes: np.ndarray) -> np.ndarray:
    """Pack (r, o) codes into (r, o / 8) int32 words, in AutoAWQ's order along the outputs."""
    ordered = codes.reshape(len(codes), -1, 8)[:, :, AWQ_ORDER].astype(np.uint32)
    return np.bitwise_or.reduce(ordered << (4 * np.arange(8, dtype=np.uint32)), axis=2).view(np.int32)


def _unpack_words(words: np.ndarray) -> np.ndarray:
    ordered = (words.view(np.uint32)[:, :, None] >> (4 * np.arange(8, dtype=np.uint32))) & 15
    codes = np.empty(ordered.shape, np.uint8)
    codes[:, :, AWQ_ORDER] = ordered
    return codes.reshape(len(words), -1)


def _unpack(path: Path, stem: str, shape: tuple[int, ...], words, zeros, scales) -> Quantized:
    n, o = shape
    groups = scales.shape[0] if scales.ndim == 2 else 0
    fits = (
        groups
        and n % groups == 0
        and (n // groups) % 8 == 0
        and (words.shape, zeros.shape, scales.shape) == ((n, o // 8), (groups, o // 8), (groups, o))
        and words.dtype == zeros.dtype == np.int32
        and np.isfinite(scales).all()
    )
    if not fits:
        raise StudyError(f"{path}의 {stem}이(가) 설정과 다르거나 수가 아니니 모델 폴더를 다시 만드세요.")
    return Quantized(_unpack_words(words), _unpack_words(zeros), scales.astype(np.float32))


def _transposed(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Take a state dict apart into one with ``*_proj`` matrices as (inputs, outputs); no tensor is there twice."""
    found = {}
    for name in list(state):
        tensor = state.pop(name)
        found[name] = np.ascontiguousarray(tensor.T) if name.endswith("_proj.weight") else tensor
    return found
