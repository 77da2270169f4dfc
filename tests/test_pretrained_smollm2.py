"""SmolLM2: read as llama.cpp's and transformers' own code reads it, spoken by the course's Llama."""

import tf_study  # noqa: F401  isort: skip

import json
import math
import types

import numpy as np
import pytest

import nbval_needs
from tf_study.pretrained import catalog, gguf, smol, store

PARAMETERS = catalog.find("smollm2").parameters


@pytest.fixture(scope="module")
def smollm2():
    """Sizes, weights, tokenizer."""
    nbval_needs.need("smollm2")
    return smol.smollm2()


@pytest.fixture(scope="module")
def speaker(smollm2):
    """The course's Llama with these weights."""
    from tf_study.models import llama

    config, state, _ = smollm2
    return llama.loaded(config, state)


ENGLISH = (
    "The weather was cold this morning, so she put on a warm coat before leaving the house. On her way to the "
    "station she bought a cup of coffee and a newspaper, and read it on the train."
)
KOREAN = (
    "오늘 아침은 날씨가 추워서 집을 나서기 전에 따뜻한 외투를 입었습니다. 역으로 가는 길에 커피 한 잔과 신문을 사서 "
    "기차에서 읽었습니다."
)


def test_every_tensor_equals_the_reference_reader_of_gguf(smollm2):
    """llama.cpp's own Python package takes the blocks apart, transformers' code puts the rows in order."""
    reference = pytest.importorskip("gguf", reason="gguf는 make advanced가 설치합니다.")
    from transformers.modeling_gguf_pytorch_utils import LlamaTensorProcessor

    config, state, _ = smollm2
    sizes = {"num_attention_heads": config.heads, "num_key_value_heads": config.kv_heads}
    rows, kinds, left = LlamaTensorProcessor(config=sizes), set(), set(state)
    for tensor in reference.GGUFReader(store.path("smollm2")).tensors:
        kinds.add(tensor.tensor_type.name)
        # Only what is put in another order is read whole: of the others every eighth row shows where and how they lie.
        step = 1 if "attn_q" in tensor.name or "attn_k" in tensor.name else 8
        weights = reference.quants.dequantize(tensor.data[::step], tensor.tensor_type)
        held = types.SimpleNamespace(numpy=lambda weights=weights: weights)
        (name,) = smol.state_dict({tensor.name: held}, config.heads, config.kv_heads)
        expected = rows.process(weights, tensor.name).weights
        assert len(state[name]) == len(tensor.data)
        np.testing.assert_array_equal(state[name][::step], expected, err_msg=name)
        left.discard(name)
    assert kinds == {"Q4_1", "Q8_0", "F32"} and not left and len(state) == 272


def test_the_order_of_rows_turns_pairs_side_by_side_into_pairs_half_a_head_apart():
    from tf_study.models import llama

    heads, size, width = 3, 8, 5
    weight = np.random.default_rng(0).normal(size=(heads * size, width)).astype("float32")
    x = np.random.default_rng(1).normal(size=(4, width)).astype("float32")
    at, theta = np.arange(4), llama.rope_frequencies(size)
    theirs = (x @ weight.T).reshape(4, heads, size)  # llama.cpp: rows 2i and 2i + 1 are a pair
    turned = (theirs[..., 0::2] + 1j * theirs[..., 1::2]) * np.exp(1j * at[:, None, None] * theta.numpy())
    ours = (x @ smol.half_split_rows(weight, heads).T).reshape(4, heads, size)
    ours = llama.rotate(ours.swapaxes(0, 1), at, theta).numpy().swapaxes(0, 1)
    np.testing.assert_allclose(ours, np.concatenate([turned.real, turned.imag], -1), atol=1e-5)


def test_logits_of_the_courses_llama_equal_transformers(smollm2, speaker):
    torch = pytest.importorskip("torch", reason="torch는 make advanced가 설치합니다.")
    import transformers

    from tf_study.models import llama

    config, state, tokenizer = smollm2
    assert config.tie_embeddings and sum(map(np.size, state.values())) == PARAMETERS
    assert llama.parameter_count(config) == PARAMETERS
    with torch.device("meta"):
        theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**llama.hf_sizes(config)))
    weights = {name: torch.from_numpy(value) for name, value in state.items()}
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    theirs.load_state_dict(weights, assign=True)
    theirs.model.rotary_emb = type(theirs.model.rotary_emb)(
        theirs.config
    )  # Its numbers are not in a state dict.
    ids = tokenizer("The capital of South Korea is Seoul, and its longest river").input_ids
    with torch.no_grad():
        expected = theirs.eval()(torch.tensor([ids])).logits.numpy()
    logits = speaker(np.array([ids]))[0].numpy()
    assert np.abs(expected).max() > 20
    np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_array_equal(logits.argmax(-1), expected.argmax(-1))


def test_it_knows_the_capital(smollm2, speaker):
    _, _, tokenizer = smollm2
    ids = tokenizer("The capital of South Korea is").input_ids
    logits, cache = speaker(np.array([ids]))
    first = int(np.argmax(logits[0, -1]))
    second = int(np.argmax(speaker(np.array([[first]]), cache=cache, start=len(ids))[0][0, -1]))
    assert tokenizer.decode([first, second]) == " Seoul."


def test_the_tokenizer_keeps_every_text_and_adds_nothing(smollm2):
    tokenizer, bare = smollm2[2], smol.bare_tokenizer(gguf.read(store.path("smollm2"))[0])
    assert tokenizer("The capital of South Korea is").input_ids == [504, 3575, 282, 2582, 9096, 314]
    for text in (ENGLISH, KOREAN, "In 2024, 1,234.5 km!", "def f(x):\n\treturn x", "👩‍👩‍👧  끝\n"):
        ids = tokenizer(text).input_ids
        assert tokenizer.decode(ids) == text and bare.encode(text).ids == ids
        assert ids == merge_by_hand(tokenizer, text)
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], add_generation_prompt=True)
    assert chat[0] == 1 and chat.count(2) == 2 and tokenizer.decode(chat).endswith("<|im_start|>assistant\n")


def merge_by_hand(tokenizer, text):
    """Byte-pair encoding by its definition: merge the pair of lowest rank until none is left.

    What a word is is asked of the tokenizer; what becomes of it is not.
    """
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    ranks = {tuple(pair): rank for rank, pair in enumerate(model["merges"])}
    ids = []
    for word, _ in tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text):
        parts = list(word)
        while len(parts) > 1:
            rank, at = min(
                (ranks.get(pair, math.inf), i) for i, pair in enumerate(zip(parts, parts[1:], strict=False))
            )
            if rank == math.inf:
                break
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        ids += [model["vocab"][part] for part in parts]
    return ids


def test_the_model_ends_where_the_file_says(smollm2):
    """transformers' own reader of this file ends at <|im_start|>, and begins every text with it."""
    tokenizer = smollm2[2]
    assert (tokenizer.eos_token, tokenizer.eos_token_id) == ("<|im_end|>", 2)
    assert (tokenizer.bos_token, tokenizer.pad_token) == ("<|im_start|>", "<|im_end|>")
    assert tokenizer("Hi").input_ids == tokenizer("Hi", add_special_tokens=False).input_ids


def test_perplexity_by_token_misleads_between_languages(smollm2, speaker):
    """Korean looks easier by token, since a token is little more than a byte of it, and is harder by byte."""
    by_token, by_byte = {}, {}
    for name, text in (("en", ENGLISH), ("ko", KOREAN)):
        ids = np.array([smollm2[2](text).input_ids])
        logits = speaker(ids)[0].numpy()[0, :-1].astype("float64")
        logits -= logits.max(-1, keepdims=True)
        chosen = np.take_along_axis(logits, ids[0, 1:, None], -1)[:, 0]
        nats = -(chosen - np.log(np.exp(logits).sum(-1))).sum()
        by_token[name] = np.exp(nats / len(chosen))
        by_byte[name] = nats / np.log(2) / len(text.encode())
    assert by_token["ko"] < 0.8 * by_token["en"] and by_byte["ko"] > 2 * by_byte["en"], (by_token, by_byte)


def test_the_kinds_in_use_are_the_ones_that_are_read():
    nbval_needs.need("smollm2")
    _, tensors = gguf.read(store.path("smollm2"))
    assert {tensor.kind for tensor in tensors.values()} == {gguf.F32, gguf.Q4_1, gguf.Q8_0}
