"""The package's Llama against Hugging Face's torch implementation, and against lecture 12.1."""

import tf_study  # noqa: F401  isort: skip

import ast
import dataclasses
import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_study import curriculum, notebooks
from tf_study.models import llama

torch = pytest.importorskip("torch")

MHA = llama.Config(64, 32, 2, 4, 4, hidden=48)
GQA = llama.Config(50, 48, 3, 6, 2, hidden=80, rope_base=500000.0, eps=1e-6)
MQA = llama.Config(40, 32, 2, 4, 1, hidden=56, head_dim=16, tie_embeddings=True)
CONFIGS = {"MHA": MHA, "GQA": GQA, "MQA": MQA}


def reference(config, window=None):
    """Return a random torch model of these sizes; with a window it is a Mistral."""
    import transformers

    kind = "Llama" if window is None else "Mistral"
    extra = {} if window is None else {"sliding_window": window, "attn_implementation": "eager"}
    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}ForCausalLM")(
        getattr(transformers, f"{kind}Config")(**llama.hf_sizes(config), initializer_range=0.2, **extra)
    ).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:  # All ones otherwise: a gain that is ignored would go unnoticed.
                weight.uniform_(0.5, 1.5)
    return model


def tokens_of(config, batch=2, length=13):
    return np.random.default_rng(1).integers(0, config.vocab, (batch, length))


@pytest.fixture(scope="module", params=CONFIGS.values(), ids=CONFIGS)
def pair(request):
    """A torch model and ours with its weights."""
    theirs = reference(request.param)
    ours = llama.Llama(request.param)
    llama.load_torch(ours, theirs.state_dict())
    return ours, theirs


def test_logits_equal_transformers(pair):
    ours, theirs = pair
    tokens = tokens_of(ours.config)
    with torch.no_grad():
        expected = theirs(torch.tensor(tokens)).logits.numpy()
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(ours(tokens)[0], expected, atol=1e-4)


def test_cached_decoding_equals_the_full_forward_pass(pair):
    model, _ = pair
    tokens = tokens_of(model.config)
    expected, full_cache = model(tokens)
    logits, cache = model(tokens[:, :5])
    parts = [logits]
    for start, stop in ((5, 6), (6, 9), (9, 10), (10, 13)):
        logits, cache = model(tokens[:, start:stop], cache=cache, start=start)
        parts.append(logits)
    np.testing.assert_allclose(tf.concat(parts, 1), expected, atol=1e-4)
    for (k, v), (full_k, full_v) in zip(cache, full_cache, strict=True):
        assert k.shape == v.shape == (2, model.config.kv_heads, 13, model.config.head_dim)
        np.testing.assert_allclose(k, full_k, atol=1e-4)
        np.testing.assert_allclose(v, full_v, atol=1e-4)


def test_sliding_window_equals_transformers_and_needs_only_the_window():
    theirs = reference(GQA, window=4)
    ours = llama.Llama(GQA, attention=lambda index: llama.Attention(GQA, window=4))
    llama.load_torch(ours, theirs.state_dict())
    tokens = tokens_of(GQA)
    with torch.no_grad():
        expected = theirs(torch.tensor(tokens)).logits.numpy()
    np.testing.assert_allclose(ours(tokens)[0], expected, atol=1e-4)
    cache, parts = None, []
    for position in range(tokens.shape[1]):
        logits, cache = ours(tokens[:, position : position + 1], cache=cache, start=position)
        cache = [(k[:, :, -3:], v[:, :, -3:]) for k, v in cache]
        parts.append(logits)
    np.testing.assert_allclose(tf.concat(parts, 1), expected, atol=1e-4)


def test_parameter_count():
    for config in CONFIGS.values():
        assert llama.parameter_count(config) == llama.Llama(config).count_params()
    assert llama.parameter_count(llama.LLAMA3_8B) == 8_030_261_248
    assert llama.parameter_count(llama.LLAMA3_70B) == 70_553_706_496


def test_the_feed_forward_network_can_be_replaced():
    class Half(keras.layers.Layer):
        def call(self, x):
            return x / 2

    model = llama.Llama(MHA, feed_forward=lambda index: Half() if index == 1 else None)
    assert isinstance(model.blocks[0].feed_forward, llama.SwiGLU)
    assert isinstance(model.blocks[1].feed_forward, Half)
    logits, _ = tf.function(model)(tf.constant(tokens_of(MHA)))
    assert logits.shape == (2, 13, 64)


def test_the_attention_of_a_block_can_be_replaced_with_its_own_kind_of_cache():
    class RunningMean(keras.layers.Layer):
        """Average over all positions so far; its cache is a sum and a count."""

        def call(self, x, cache=None, start=0):
            total = tf.cumsum(x, 1) + (0 if cache is None else cache)
            return total / tf.cast(start + 1 + tf.range(tf.shape(x)[1])[:, None], x.dtype), total[:, -1:]

    model = llama.Llama(MHA, attention=lambda index: RunningMean() if index == 0 else None)
    assert isinstance(model.blocks[0].attention, RunningMean)
    assert isinstance(model.blocks[1].attention, llama.Attention)
    tokens = tokens_of(MHA)
    expected, _ = model(tokens)
    first, cache = model(tokens[:, :7])
    second, _ = model(tokens[:, 7:], cache=cache, start=7)
    np.testing.assert_allclose(tf.concat([first, second], 1), expected, atol=1e-4)


def test_a_wrong_state_dict_is_refused():
    theirs = reference(MHA).state_dict()
    missing = {name: value for name, value in theirs.items() if "up_proj" not in name}
    headless = {name: value for name, value in theirs.items() if name != "lm_head.weight"}
    for state in (missing, headless, {**theirs, "model.extra.weight": theirs["lm_head.weight"]}):
        with pytest.raises((KeyError, ValueError)):
            llama.load_torch(llama.Llama(MHA), state)
    with pytest.raises(ValueError):
        llama.load_torch(llama.Llama(GQA), theirs)
    with pytest.raises(ValueError):
        llama.Config(10, 8, 1, heads=4, kv_heads=3, hidden=8)


def test_a_loaded_model_has_the_weights_and_the_next_one_is_drawn():
    state = {name: value.numpy() for name, value in reference(GQA).state_dict().items()}
    filled, drawn = llama.loaded(GQA, state), llama.Llama(GQA)
    assert np.ptp(drawn.blocks[0].attention.query.kernel) > 0 < np.ptp(drawn.embedding.embeddings)
    llama.load_torch(drawn, state)
    for mine, its in zip(filled.weights, drawn.weights, strict=True):
        np.testing.assert_array_equal(mine, its)


@pytest.fixture(scope="module")
def lecture():
    """The definitions of lecture 12.1: its imports, its names for Keras, its classes and functions."""
    notebook = notebooks.read(
        curriculum.ROOT / "chapter12_modern_llms" / "01_llama_architecture_deepdive.ipynb"
    )
    cells = [ast.parse(cell.source).body for cell in notebook.cells if cell.cell_type == "code"]
    kept = [node for node in cells[0] if isinstance(node, ast.Assign)]
    kinds = (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef)
    kept = [node for body in cells for node in body if isinstance(node, kinds) or node in kept]
    module = types.ModuleType("lecture")
    sys.modules["lecture"] = module  # dataclasses look their module up.
    exec(compile(ast.Module(kept, []), "lecture", "exec"), module.__dict__)
    yield module
    del sys.modules["lecture"]


@pytest.mark.parametrize("name", ["MHA", "GQA", "MQA"])
def test_the_lecture_and_the_package_agree(lecture, name):
    sizes = {**dataclasses.asdict(CONFIGS[name]), "tie_embeddings": False}
    config = llama.Config(**sizes)
    state = {key: value.numpy() for key, value in reference(config).state_dict().items()}
    sizes.pop("tie_embeddings")
    written = lecture.Llama(lecture.Config(**sizes), lecture.RMSNorm, lecture.Attention, lecture.SwiGLU)
    ours = llama.Llama(config)
    lecture.load_torch(written, state)
    llama.load_torch(ours, state)
    tokens = tokens_of(config)
    (logits, cache), (expected, expected_cache) = written(tokens), ours(tokens)
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    np.testing.assert_allclose(cache[1], expected_cache[1], atol=1e-4)
    next_token = tokens[:, :1]
    logits, _ = written(next_token, cache=cache, start=13)
    np.testing.assert_allclose(logits, ours(next_token, cache=expected_cache, start=13)[0], atol=1e-4)
    assert sum(lecture.parameter_parts(lecture.Config(**sizes)).values()) == llama.parameter_count(config)
