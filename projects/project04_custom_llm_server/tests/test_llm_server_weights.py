"""Folders of others and our own: read right, or refused with one sentence."""

import tf_study  # noqa: F401  isort: skip

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy

from llm_server import weights
from llm_server.quantize import awq
from tf_study.errors import StudyError
from tf_study.models.llama import Config, hf_sizes

LLAMA3 = dict(
    factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64
)  # so small that all three kinds of frequencies occur


@pytest.fixture(scope="module")
def folder(checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("모델")
    weights.save(checkpoint, path)
    return path


@pytest.fixture(scope="module")
def rounded(checkpoint, tmp_path_factory):
    """A folder in 4 bits."""
    path = tmp_path_factory.mktemp("양자화")
    weights.save(awq(checkpoint, np.random.default_rng(0).integers(0, 300, (4, 32)), group=32), path)
    return path


def equal(a, b):
    assert (
        a.config == b.config
        and a.stops == b.stops
        and a.context == b.context
        and set(a.tensors) == set(b.tensors)
    )
    for name, tensor in a.tensors.items():
        other = b.tensors[name]
        assert isinstance(tensor, weights.Quantized) == isinstance(other, weights.Quantized)
        for key in ("codes", "zeros", "scales") if isinstance(tensor, weights.Quantized) else ("data",):
            np.testing.assert_array_equal(getattr(tensor, key), getattr(other, key), name)


def test_what_is_saved_is_read_again(checkpoint, folder, rounded, tmp_path):
    equal(weights.load(folder), checkpoint)
    again = weights.load(rounded)
    weights.save(again, tmp_path)
    equal(weights.load(tmp_path), again)
    assert (tmp_path / "model.safetensors").read_bytes() == (rounded / "model.safetensors").read_bytes()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_folders_of_transformers(tmp_path, dtype, tied):
    """Sharded, in its own names, in every type, with a head of its own, with Llama 3's positions."""
    torch = pytest.importorskip("torch", reason="torch는 make advanced가 설치합니다.")
    import transformers

    config = Config(64, 32, 2, 4, 1, 48, head_dim=16, rope_base=5e5, eps=1e-6, tie_embeddings=tied)
    torch.manual_seed(0)
    scaling = {"rope_scaling": {"rope_type": "llama3", **LLAMA3}} if tied else {}
    theirs = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            **hf_sizes(config), eos_token_id=[3, 5], max_position_embeddings=99, **scaling
        )
    )
    frequencies = theirs.model.rotary_emb.inv_freq.numpy().copy()
    theirs.to(getattr(torch, dtype))
    theirs.save_pretrained(tmp_path, max_shard_size="9kB")
    assert (tmp_path / weights.INDEX).is_file()
    found = weights.load(tmp_path)
    assert found.config == config and found.stops == {3, 5} and found.context == 99
    for name, tensor in theirs.state_dict().items():
        if name in found.tensors:
            mine = found.tensors[name].T if name.endswith("_proj.weight") else found.tensors[name]
            np.testing.assert_array_equal(mine, tensor.float().numpy(), name)
    assert set(theirs.state_dict()) - set(found.tensors) == ({"lm_head.weight"} if tied else set())
    np.testing.assert_allclose(found.frequencies(), frequencies, rtol=1e-5)


def test_llama3s_frequencies_are_of_three_kinds():
    config = Config(64, 32, 2, 4, 1, 48, head_dim=16, rope_base=5e5)
    plain, found = (replace(weights.tiny(config), scaling=s).frequencies() for s in ({}, LLAMA3))
    ratio = found / plain
    assert ratio.max() == 1 and np.isclose(ratio.min(), 1 / 8) and ((ratio > 0.13) & (ratio < 0.99)).any()


def test_autoawqs_layout(rounded):
    """The words are made by the loops of AutoAWQ's ``WQLinear_GEMM.from_linear``, written out here."""
    raw = safetensors.numpy.load_file(rounded / "model.safetensors")
    card = json.loads((rounded / "config.json").read_text())
    assert card["quantization_config"] == dict(
        quant_method="awq", bits=4, group_size=32, zero_point=True, version="gemm"
    )
    for name, tensor in weights.load(rounded).tensors.items():
        if not isinstance(tensor, weights.Quantized):
            continue
        stem = name.removesuffix(".weight")
        assert name not in raw and raw[f"{stem}.scales"].dtype == np.float16
        for key, codes in (("qweight", tensor.codes), ("qzeros", tensor.zeros)):
            words = np.zeros((codes.shape[0], codes.shape[1] // 8), np.uint32)
            for column in range(words.shape[1]):
                for place, output in enumerate([0, 2, 4, 6, 1, 3, 5, 7]):
                    words[:, column] |= codes[:, column * 8 + output].astype(np.uint32) << (place * 4)
            np.testing.assert_array_equal(raw[f"{stem}.{key}"], words.view(np.int32))
        assert tensor.codes.max() == 15  # The highest bits are used, too.


def changed(folder, tmp_path, **changes):
    path = tmp_path / "바뀜"
    shutil.copytree(folder, path)
    card = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(card | changes))
    return path


def refused(path):
    with pytest.raises(StudyError) as error:
        weights.load(path)
    sentence = str(error.value)
    assert re.fullmatch(r"[^\n]*[가-힣][^\n]*(세요|쓰세요)[.]", sentence), sentence
    return sentence


@pytest.mark.parametrize(
    "changes, told",
    [
        (dict(architectures=["Qwen3ForCausalLM"]), "Qwen3ForCausalLM"),
        (dict(architectures=None, model_type="gpt2"), "gpt2"),
        (dict(attention_bias=True), "편향"),
        (dict(hidden_act="gelu"), "gelu"),
        (dict(rope_scaling={"rope_type": "yarn", "factor": 2}), "yarn"),
        (dict(quantization_config={"quant_method": "gptq", "bits": 4}), "gptq"),
        (dict(quantization_config={"quant_method": "awq", "bits": 4, "version": "gemv"}), "awq"),
        (dict(rope_scaling={"rope_type": "llama3", "factor": 2}), "깨졌으니"),
        (dict(hidden_size="x"), "다시 받으"),
        (dict(hidden_size=None), "다시 받으"),
        (dict(num_attention_heads=0), "다시 받으"),
        (dict(num_key_value_heads=3), "깨졌으니"),
        (dict(hidden_size=128), "설정과 다르거나"),
        (dict(num_hidden_layers=4), "model.layers.3.input_layernorm.weight"),
        (dict(tie_word_embeddings=True), None),
    ],
    ids=str,
)
def test_other_models_are_refused(folder, tmp_path, changes, told):
    path = changed(folder, tmp_path, **changes)
    if told is None:
        assert weights.load(path).config.tie_embeddings
    else:
        assert told in refused(path)


def damage(path, kind):
    file = path / "model.safetensors"
    content = file.read_bytes()
    tensors = safetensors.numpy.load_file(file)
    if kind == "cut":
        file.write_bytes(content[:-100])
    elif kind == "empty":
        file.write_bytes(b"")
    elif kind == "noise":
        file.write_bytes(b"\xff" * 1000)
    elif kind == "header":
        file.write_bytes(content[:8] + b"{" * 40 + content[48:])
    elif kind == "gone":
        file.unlink()
    elif kind == "folder":
        file.unlink(), file.mkdir()
    elif kind == "json":
        (path / "config.json").write_text("{")
    elif kind == "list":
        (path / "config.json").write_text("[]")
    elif kind == "no json":
        (path / "config.json").unlink()
    elif kind == "index":
        (path / weights.INDEX).write_text('{"weight_map": []}')
    elif kind == "shard":
        names = dict.fromkeys(tensors, "model-00001-of-00002.safetensors")
        (path / weights.INDEX).write_text(json.dumps({"weight_map": names}))
    elif kind == "nan":
        name = next(name for name in tensors if name.endswith(("q_proj.weight", "q_proj.scales")))
        tensors[name] = np.full_like(tensors[name], np.nan)
        safetensors.numpy.save_file(tensors, file)
    elif kind == "shape":
        name = next(name for name in tensors if name.endswith(("up_proj.weight", "up_proj.qweight")))
        tensors[name] = np.ascontiguousarray(tensors[name][:-8])
        safetensors.numpy.save_file(tensors, file)
    elif kind == "type":
        name = next(name for name in tensors if name.endswith(("up_proj.weight", "up_proj.qweight")))
        tensors[name] = tensors[name].astype(np.int64)
        safetensors.numpy.save_file(tensors, file)
    elif kind == "lost":
        tensors.pop(next(name for name in tensors if name.endswith(("down_proj.weight", "down_proj.scales"))))
        safetensors.numpy.save_file(tensors, file)


DAMAGES = ("cut", "empty", "noise", "header", "gone", "folder", "json", "list", "no json", "index", "shard", "nan",
           "shape", "lost")  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("quantized", [False, True])
def test_damaged_folders_are_refused_with_one_sentence(folder, rounded, tmp_path, kind, quantized):
    path = tmp_path / "깨짐"
    shutil.copytree(rounded if quantized else folder, path)
    damage(path, kind)
    refused(path)


def test_words_of_another_type_are_refused(rounded, tmp_path):
    path = tmp_path / "깨짐"
    shutil.copytree(rounded, path)
    damage(path, "type")
    refused(path)


def test_no_such_model(tmp_path, monkeypatch):
    assert "없으니" in refused(tmp_path / "없음") and "없으니" in refused("./없음/이름")
    import huggingface_hub

    def offline(name, **options):
        assert name == "owner/model" and "*.safetensors" in options["allow_patterns"]
        raise OSError("offline")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    assert "허브에서도 받지 못했으니(OSError)" in refused("owner/model")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(tmp_path))
    assert "config.json" in refused("owner/model")
    for content in (None, "{"):
        if content:
            (tmp_path / "tokenizer.json").write_text(content)
        with pytest.raises(StudyError, match="tokenizer.json을 읽을 수 없으니"):
            weights.tokenizer(tmp_path)
