"""AWQ: 4-bit weights whose rounding spares the input channels with large activations.

A matrix sees ``x W``. Multiplying its rows by s and dividing x by s changes nothing before rounding; after it, the rows
of a large s have smaller errors. ``s = mean|x| ** alpha``, and alpha is the one of a few whose output is nearest. The
division costs nothing at inference: it is folded into what makes x, the gain of a norm or the columns of the matrix
before. Lin et al. 2024 (arXiv:2306.00978), without its search for clipping.

What is rounded is written in AutoAWQ's GEMM layout by :func:`llm_server.weights.save`.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from llm_server import weights
from llm_server.weights import MATRICES, Checkpoint, Quantized
from tf_study.data import texts
from tf_study.errors import StudyError
from tf_study.models import llama

ALPHAS = tuple(step / 10 for step in range(10))
ROWS = 256  # of the activations that alpha is judged by
SMALLEST = 1e-5  # range of a group whose weights are all equal


def quantize(source: str | Path, output: Path, text: Path | None = None, group: int = 64,
             report: Callable[[str], None] = print) -> None:  # fmt: skip
    """Read a model, round its matrices to 4 bits, and write a folder that this engine and vLLM load.

    Args:
        source: as :func:`llm_server.weights.load`.
        output: the folder to write.
        text: a file whose text the activations are measured on; without one, reviews and instructions of the course.
        group: inputs that share a scale and a zero.
        report: told in one line of each layer.

    Raises:
        StudyError: if the model or the text cannot be used, or the folder cannot be written.
    """
    checkpoint, tokenizer = weights.load(source), weights.tokenizer(source)
    rows = calibration(tokenizer, text)
    rounded = awq(checkpoint, rows[::2], group, report)
    before, after = loss(checkpoint, rows[1::2]), loss(rounded, rows[1::2])
    weights.save(rounded, output)
    if checkpoint.source is None:
        tokenizer.save_pretrained(output)
    report(f"따로 둔 글의 토큰당 손실: {before:.3f} → {after:.3f} (4비트, 그룹 {group})")


def calibration(tokenizer, text: Path | None = None, rows: int = 16, length: int = 128) -> np.ndarray:
    """Return tokens (rows, length): English and Korean by turns, or pieces of a file that lie apart.

    Raises:
        StudyError: if the file cannot be read or is too short.
    """
    if text is None:
        english = " ".join(texts._embedded("texts/reviews_en.tsv")[0])
        korean = " ".join(f"{row['instruction']} {row['output']}" for row in texts.instructions_ko())
        halves = [tokenizer(part)["input_ids"][: rows * length // 2] for part in (english, korean)]
        pairs = np.array(halves).reshape(2, 2, -1, length)  # (language, used or kept apart, rows / 4, length)
        return pairs.transpose(2, 0, 1, 3).reshape(rows, length)
    try:
        tokens = tokenizer(text.read_text(encoding="utf-8"))["input_ids"]
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{text}을(를) 읽을 수 없으니 UTF-8 글 파일을 주세요 ({error}).") from None
    if len(tokens) < rows * length:
        raise StudyError(f"{text}의 글이 {len(tokens)}토큰이니 {rows * length}토큰보다 긴 글을 주세요.")
    starts = np.linspace(0, len(tokens) - length, rows).astype(int)
    return np.array([tokens[start : start + length] for start in starts])


def awq(
    checkpoint: Checkpoint,
    tokens: np.ndarray,
    group: int = 64,
    report: Callable[[str], None] = lambda line: None,
) -> Checkpoint:
    """Return the checkpoint with its matrices in 4 bits, and everything else in float16's numbers.

    Args:
        checkpoint: whose matrices are floats.
        tokens: (R, T), what the activations are measured on.
        group: inputs that share a scale and a zero.
        report: told in one line of each layer.

    Raises:
        StudyError: if it is quantized already, or the sizes are no multiples of the group's.
    """
    c = checkpoint.config
    if any(isinstance(tensor, Quantized) for tensor in checkpoint.tensors.values()):
        raise StudyError("이미 양자화한 모델이니 float 가중치의 모델을 주세요.")
    if group % 8 or any(size % group for size in (c.width, c.heads * c.head_dim, c.hidden)):
        raise StudyError(f"그룹 {group}은(는) 8의 배수이면서 행렬의 크기를 나누어야 하니 --group을 바꾸세요.")
    found = {name: _half(t) for name, t in checkpoint.tensors.items() if not name.endswith("_proj.weight")}
    for layer, (inputs, own) in enumerate(_layers(checkpoint, tokens)):
        scaled = _scaled(own, inputs, c, group)
        for name, tensor in scaled.items():
            matrix = name.removesuffix(".weight") in MATRICES
            found[f"model.layers.{layer}.{name}"] = nearest(tensor, group) if matrix else _half(tensor)
        report(f"[{layer + 1}/{c.layers}] 층을 4비트로 바꾸었습니다.")
    return replace(checkpoint, tensors=found)


def nearest(matrix: np.ndarray, group: int) -> Quantized:
    """Round a matrix (n, o) to the nearest of 16 values, evenly spaced from the smallest to the largest of a group."""
    groups = matrix.reshape(len(matrix) // group, group, -1)
    low, high = groups.min(1), groups.max(1)
    scales = _half(np.maximum(high - low, SMALLEST) / 15)
    zeros = np.clip(np.round(-low / scales), 0, 15)
    codes = np.clip(np.round(groups / scales[:, None]) + zeros[:, None], 0, 15)
    return Quantized(codes.reshape(matrix.shape).astype(np.uint8), zeros.astype(np.uint8), scales)


def search(matrix: np.ndarray, x: np.ndarray, group: int) -> np.ndarray:
    """Return the scale (n,) of the inputs of a matrix (n, o) with which it is best rounded for x (rows, n)."""
    mean = np.maximum(np.abs(x).mean(0), 1e-8)
    wanted, best = x @ matrix, (np.inf, None)
    for alpha in ALPHAS:
        scale = np.maximum(mean**alpha, 1e-4)
        scale /= np.sqrt(scale.max() * scale.min())
        error = np.mean(((x / scale) @ nearest(matrix * scale[:, None], group).matrix() - wanted) ** 2)
        if error < best[0]:
            best = error, scale
    return best[1]


def loss(checkpoint: Checkpoint, tokens: np.ndarray) -> float:
    """Return the mean loss of the next token in tokens (R, T), in nat."""
    for inputs, _ in _layers(checkpoint, tokens):
        x = inputs["next"]
    tensors = checkpoint.tensors
    head = tensors["model.embed_tokens.weight" if checkpoint.config.tie_embeddings else "lm_head.weight"]
    x = _rms(x[:, :-1], tensors["model.norm.weight"], checkpoint.config.eps)
    logits = tf.matmul(tf.reshape(x, (-1, x.shape[-1])), head, transpose_b=True)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tokens[:, 1:].reshape(-1), logits)
    return float(tf.reduce_mean(losses))


def _scaled(
    own: Mapping[str, np.ndarray], inputs: Mapping, c: llama.Config, group: int
) -> dict[str, np.ndarray]:
    """Return a layer's tensors with the scales of its matrices multiplied in, and divided out before them."""
    found = dict(own)
    q, k, v, out, gate, up, down = (f"{name}.weight" for name in MATRICES)

    def fold(names, x, before):
        rows = np.asarray(x).reshape(-1, x.shape[-1])
        rows = rows[:: max(1, len(rows) // ROWS)]
        scale = search(np.concatenate([found[name] for name in names], 1), rows, group)
        for name in names:
            found[name] = found[name] * scale[:, None]
        found[before] = found[before] / scale  # a gain (n,), or the columns of a matrix (m, n)

    fold((down,), inputs[down], up)
    if c.heads == c.kv_heads:  # Else the columns of v make the inputs of several heads of out at once.
        fold((out,), inputs[out], v)
    fold((q, k, v), inputs[q], "input_layernorm.weight")
    fold((gate, up), inputs[gate], "post_attention_layernorm.weight")
    return found


def _layers(checkpoint: Checkpoint, tokens: np.ndarray):
    """Compute tokens (R, T) layer by layer; yield the inputs of each one's matrices and what comes next, and its tensors."""
    c = checkpoint.config
    frequencies = tf.constant(checkpoint.frequencies())
    x = tf.gather(checkpoint.tensors["model.embed_tokens.weight"], tokens)  # (R, T, d)
    causal = tf.linalg.band_part(tf.ones((tokens.shape[1],) * 2, tf.bool), -1, 0)
    q, k, v, out, gate, up, down = (f"{name}.weight" for name in MATRICES)
    for layer in range(c.layers):
        prefix = f"model.layers.{layer}."
        own = {
            name.removeprefix(prefix): tensor.matrix() if isinstance(tensor, Quantized) else tensor
            for name, tensor in checkpoint.tensors.items()
            if name.startswith(prefix)
        }
        a = _rms(x, own["input_layernorm.weight"], c.eps)
        heads = [
            tf.einsum("rthd->rhtd", tf.reshape(a @ own[name], (*tokens.shape, -1, c.head_dim)))
            for name in (q, k, v)
        ]
        positions = tf.range(tokens.shape[1])
        turned = [llama.rotate(part, positions, frequencies) for part in heads[:2]]
        keys, values = (tf.repeat(part, c.heads // c.kv_heads, 1) for part in (turned[1], heads[2]))
        scores = tf.matmul(turned[0], keys, transpose_b=True) / c.head_dim**0.5
        mixed = tf.matmul(tf.nn.softmax(tf.where(causal, scores, -1e9)), values)  # (R, H, T, D)
        mixed = tf.reshape(tf.einsum("rhtd->rthd", mixed), (*tokens.shape, -1))
        x += mixed @ own[out]
        b = _rms(x, own["post_attention_layernorm.weight"], c.eps)
        inner = tf.nn.silu(b @ own[gate]) * (b @ own[up])
        x += inner @ own[down]
        yield {q: a, out: mixed, gate: b, down: inner, "next": x}, own


def _rms(x, gain, eps: float):
    return x * tf.math.rsqrt(tf.reduce_mean(x * x, -1, keepdims=True) + eps) * gain


def _half(tensor: np.ndarray) -> np.ndarray:
    """Return float32 numbers that float16 has, as they are when the file is read again."""
    return tensor.astype(np.float16).astype(np.float32)
