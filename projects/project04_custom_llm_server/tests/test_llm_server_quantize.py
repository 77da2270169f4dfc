"""4-bit weights: the grid is the known one, AWQ is better than rounding, and the engine computes what they say."""

import tf_study  # noqa: F401  isort: skip

import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from llm_server import quantize, weights
from llm_server.engine.base import Generation
from llm_server.engine.xla import XlaEngine
from llm_server.model import PagedLlama, Stretch
from tf_study.cuda import builder
from tf_study.errors import StudyError
from tf_study.models.llama import Config
from tf_study.pretrained import gguf

needs_compiler = pytest.mark.skipif(builder.compiler() is None, reason="C++ 컴파일러가 없습니다.")
TOKENS = np.random.default_rng(1).integers(0, 300, (8, 48))


@pytest.fixture(scope="module")
def uneven(checkpoint):
    """The tiny Llama with a few inputs forty times as large as the others, as real ones have."""
    tensors = dict(checkpoint.tensors)
    for name in tensors:
        if name.endswith("layernorm.weight"):
            tensors[name] = tensors[name] * np.where(np.arange(64) % 16 == 3, 40, 1).astype(np.float32)
        elif name.endswith(
            ("q_proj.weight", "k_proj.weight", "v_proj.weight", "gate_proj.weight", "up_proj.weight")
        ):
            tensors[name] = (
                tensors[name] / np.where(np.arange(64) % 16 == 3, 20, 1).astype(np.float32)[:, None]
            )
    return replace(checkpoint, tensors=tensors)


@pytest.fixture(scope="module")
def rounded(uneven):
    return quantize.awq(uneven, TOKENS[:4], group=32)


def twin(checkpoint):
    """The same numbers as floats."""
    return replace(
        checkpoint,
        tensors={
            name: tensor.matrix() if isinstance(tensor, weights.Quantized) else tensor
            for name, tensor in checkpoint.tensors.items()
        },
    )


def test_rounding_equals_torchs_fake_quantization():
    torch = pytest.importorskip("torch", reason="torch는 make advanced가 설치합니다.")
    matrix = np.random.default_rng(0).normal(size=(96, 40)).astype(np.float32)
    matrix[:32, :3] = 0.25  # a group without a range
    found = quantize.nearest(matrix, 32)
    channels = matrix.reshape(3, 32, 40).transpose(0, 2, 1).reshape(120, 32)
    theirs = torch.fake_quantize_per_channel_affine(
        torch.tensor(channels),
        torch.tensor(found.scales.reshape(-1)),
        torch.tensor(found.zeros.reshape(-1).astype(np.float32)),
        0, 0, 15,
    )  # fmt: skip
    theirs = theirs.numpy().reshape(3, 40, 32).transpose(0, 2, 1).reshape(96, 40)
    np.testing.assert_allclose(found.matrix(), theirs, atol=1e-6)
    groups = matrix.reshape(3, 32, 40)
    straddling = (groups.min(1) < 0) & (groups.max(1) > 0)
    errors = np.abs(found.matrix() - matrix).reshape(3, 32, 40).max(1)
    assert straddling.mean() > 0.9 and (errors <= 1.01 * found.scales)[straddling].all()


def test_scales_change_nothing_before_rounding(uneven, monkeypatch):
    """With a grid so fine that rounding does nothing, the model is the same; else the folding is wrong."""

    class Fine(weights.Quantized):
        def matrix(self):
            return self.codes

    for heads in (2, 4):  # grouped queries, and a head of keys for each
        checkpoint = uneven
        if heads == 4:
            checkpoint = weights.tiny(Config(300, 64, 2, 4, 4, 128), seed=3)
        monkeypatch.setattr(quantize, "nearest", lambda matrix, group: Fine(matrix, None, None))
        monkeypatch.setattr(quantize, "_half", lambda tensor: tensor)
        # the search needs errors to compare, and finds the largest alpha as good as the smallest
        monkeypatch.setattr(quantize, "search", lambda matrix, x, group: np.abs(x).mean(0) ** 0.7 + 1e-3)
        scaled = quantize.awq(checkpoint, TOKENS[:2], group=32)
        for name in ("self_attn.q_proj", "mlp.down_proj") + (("self_attn.o_proj",) if heads == 4 else ()):
            key = f"model.layers.1.{name}.weight"
            assert np.abs(scaled.tensors[key].codes / checkpoint.tensors[key] - 1).max() > 0.3
        before, after = quantize.loss(checkpoint, TOKENS), quantize.loss(scaled, TOKENS)
        assert after == pytest.approx(before, abs=1e-4)


def test_awq_is_better_than_rounding(uneven, rounded):
    plain = replace(
        uneven,
        tensors={
            name: quantize.nearest(tensor, 32) if name.endswith("_proj.weight") else tensor
            for name, tensor in uneven.tensors.items()
        },
    )
    gaps = []
    for model in (plain, rounded):
        seen = [inputs["next"] for inputs, _ in quantize._layers(model, TOKENS[4:])][-1]
        wanted = [inputs["next"] for inputs, _ in quantize._layers(uneven, TOKENS[4:])][-1]
        gaps.append(float(np.mean((seen - wanted) ** 2)))
    assert gaps[1] < 0.6 * gaps[0]


def test_loss_equals_transformers(checkpoint, tmp_path):
    torch = pytest.importorskip("torch", reason="torch는 make advanced가 설치합니다.")
    import transformers

    weights.save(checkpoint, tmp_path)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    with torch.no_grad():
        wanted = float(model(torch.tensor(TOKENS), labels=torch.tensor(TOKENS)).loss)
    assert quantize.loss(checkpoint, TOKENS) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("ops", [pytest.param(True, marks=needs_compiler), False])
def test_the_engine_equals_the_floats_of_the_same_numbers(rounded, prompts, answer, tmp_path, ops):
    weights.save(rounded, tmp_path)
    asked = [
        Generation(prompt, count) for prompt, count in zip(prompts[0][:20], prompts[1][:20], strict=True)
    ]
    engines = [XlaEngine(source, xla=False, ops=use, report=lambda line: None)
               for source, use in ((tmp_path, ops), (twin(rounded), False))]  # fmt: skip
    assert answer(engines[0], asked)[0] == answer(engines[1], asked)[0]


@needs_compiler
def test_the_native_product(rounded):
    """Rows in fours and alone, columns that are no multiple of what is computed together, groups."""
    rng = np.random.default_rng(0)
    for n, o, group in ((64, 64, 32), (96, 200, 8), (128, 40, 128)):
        matrix = quantize.nearest(rng.normal(size=(n, o)).astype(np.float32), group)
        model = PagedLlama.__new__(PagedLlama)
        from llm_server import native

        model._matmul = native.library().llm_server_w4
        packed = model._matrix([matrix])
        for rows in (1, 2, 4, 7, 16):
            x = rng.normal(size=(rows, n)).astype(np.float32)
            np.testing.assert_allclose(model._multiply(x, packed), x @ matrix.matrix(), atol=2e-4)


def test_what_cannot_be_rounded(checkpoint, rounded):
    with pytest.raises(StudyError, match="이미 양자화한"):
        quantize.awq(rounded, TOKENS)
    for group in (48, 12, 128):
        with pytest.raises(StudyError, match=f"그룹 {group}은"):
            quantize.awq(checkpoint, TOKENS, group=group)


class Letters:
    """A tokenizer of letters."""

    def __call__(self, text):
        return {"input_ids": [ord(letter) % 300 for letter in text]}


def test_calibration_texts(tmp_path):
    rows = quantize.calibration(Letters())
    assert rows.shape == (16, 128) and rows.dtype.kind == "i"
    latin = [np.mean([chr(token).isascii() for token in row]) > 0.9 for row in rows]
    assert latin[:2] == [True, True] and len({tuple(row) for row in rows}) == 16
    text = tmp_path / "글.txt"
    text.write_text("가나다라 " * 1000, encoding="utf-8")
    assert quantize.calibration(Letters(), text, rows=4, length=50).shape == (4, 50)
    for content in (b"short", b"\xff\xfe\xfa"):
        text.write_bytes(content)
        with pytest.raises(StudyError, match="(토큰보다 긴 글을|글 파일을) 주세요"):
            quantize.calibration(Letters(), text)


def test_from_a_folder_to_a_folder(uneven, tmp_path):
    """Weights, tokenizer and the two losses, which are those of the folders."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    source, output = tmp_path / "원본", tmp_path / "4비트"
    weights.save(uneven, source)
    transformers.PreTrainedTokenizerFast(tokenizer_object=core).save_pretrained(source)
    lines = []
    quantize.quantize(source, output, group=32, report=lines.append)
    assert len(lines) == 4 and lines[0].startswith("[1/3]")
    tokenizer = weights.tokenizer(output)
    assert tokenizer.decode(tokenizer("안녕 hello")["input_ids"]) == "안녕 hello"
    apart = quantize.calibration(tokenizer)[1::2]
    losses = [quantize.loss(weights.load(path), apart) for path in (source, output)]
    assert lines[-1] == f"따로 둔 글의 토큰당 손실: {losses[0]:.3f} → {losses[1]:.3f} (4비트, 그룹 32)"
    with pytest.raises(StudyError, match="이미 양자화한"):
        quantize.quantize(output, tmp_path / "다시", group=32)


def first_two_layers(read, path):
    """What a GGUF file would hold of a model that ends after its second layer."""
    metadata, tensors = read(path)
    kept = {name: tensor for name, tensor in tensors.items() if not re.match(r"blk\.([2-9]|\d\d)\.", name)}
    return metadata | {"llama.block_count": 2}, kept


def test_smollm2_in_4_bits(tmp_path, monkeypatch, smollm2_tokenizer):
    """The first two layers of the real model, in their real sizes, with the words of real texts."""
    monkeypatch.setattr(gguf, "read", partial(first_two_layers, gguf.read))
    loaded, name = weights.load("smollm2"), "model.embed_tokens.weight"
    words, rows = np.unique(quantize.calibration(smollm2_tokenizer, rows=8, length=64), return_inverse=True)
    rows = rows.reshape(8, 64)  # of the words that occur
    short = replace(loaded, config=replace(loaded.config, vocab=len(words)),
                    tensors=loaded.tensors | {name: loaded.tensors[name][words]})  # fmt: skip
    lines = []
    small = quantize.awq(short, rows[::2], report=lines.append)
    assert len(lines) == 2 and lines[-1].startswith("[2/2]")
    weights.save(small, tmp_path)
    paged = [PagedLlama(model, 8, context=64) for model in (weights.load(tmp_path), twin(small), short)]
    one, two, three = (model.step([Stretch(rows[1, :40], 0, [1, 2, 3], True)])[0] for model in paged)
    np.testing.assert_allclose(one, two, atol=2e-3 * np.abs(two).max())
    assert np.corrcoef(two, three)[0, 1] > 0.98
