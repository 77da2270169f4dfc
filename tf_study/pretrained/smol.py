"""SmolLM2-135M-Instruct (Allal et al. 2025, arXiv:2502.02737): a real Llama of 30 layers that knows English."""

from collections.abc import Mapping

import numpy as np

from tf_study.pretrained import gguf, store

# Names in GGUF files and in LlamaForCausalLM's state dict.
TOP = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
PARTS = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
CONTROL = 3  # token type of <|im_start|> and its like


def smollm2(wrapped: bool = True):
    """Return the model's sizes, weights and tokenizer.

    Args:
        wrapped: give the tokenizer as one of transformers; else as one of ``tokenizers``, whose ``encode(text).ids``
            are the same and take no import of torch.

    Returns:
        ``(config, state, tokenizer)``: a :class:`tf_study.models.llama.Config`; the state dict of
        ``LlamaForCausalLM`` with float32 arrays, for :func:`tf_study.models.llama.load_torch`, without
        ``lm_head.weight``, which is the embedding; a fast tokenizer of transformers with the chat template.

    Raises:
        StudyError: if the model is not here, see ``python main.py models``.
    """
    metadata, config, state = read()
    return config, state, (tokenizer if wrapped else bare_tokenizer)(metadata)


def read():
    """Return what the file says of the model, and its sizes and weights as :func:`smollm2` does."""
    metadata, tensors = gguf.read(store.path("smollm2"))
    config = _config(metadata, tensors)
    return metadata, config, state_dict(tensors, config.heads, config.kv_heads)


def _config(metadata: Mapping, tensors: Mapping[str, gguf.Tensor]):
    """Return the :class:`tf_study.models.llama.Config` of a Llama's GGUF file."""
    from tf_study.models.llama import Config

    sizes = {key.removeprefix("llama."): value for key, value in metadata.items()}
    return Config(
        vocab=len(metadata["tokenizer.ggml.tokens"]),
        width=sizes["embedding_length"],
        layers=sizes["block_count"],
        heads=sizes["attention.head_count"],
        kv_heads=sizes["attention.head_count_kv"],
        hidden=sizes["feed_forward_length"],
        rope_base=sizes["rope.freq_base"],
        eps=sizes["attention.layer_norm_rms_epsilon"],
        tie_embeddings="output.weight" not in tensors,
    )


def state_dict(tensors: Mapping[str, gguf.Tensor], heads: int, kv_heads: int) -> dict[str, np.ndarray]:
    """Return the weights of a Llama's GGUF file under Hugging Face's names and in its order of rows."""
    state = {}
    for name, tensor in tensors.items():
        value = tensor.numpy()
        if name in TOP:
            state[TOP[name]] = value
            continue
        _, layer, part, kind = name.split(".")
        if part in ("attn_q", "attn_k"):
            value = half_split_rows(value, heads if part == "attn_q" else kv_heads)
        state[f"model.layers.{layer}.{PARTS[part]}.{kind}"] = value
    return state


def half_split_rows(weight: np.ndarray, heads: int) -> np.ndarray:
    """Reorder the rows of W_q or W_k from llama.cpp's order to Hugging Face's.

    RoPE turns pairs of rows of a head. llama.cpp stores a pair side by side, rows 2i and 2i + 1; Hugging Face
    keeps them half a head apart, rows i and i + D/2.
    """
    pairs = weight.reshape(heads, -1, 2, weight.shape[-1])  # (head, pair, half, d)
    return pairs.swapaxes(1, 2).reshape(weight.shape)


def bare_tokenizer(metadata: Mapping):
    """Return the ``tokenizers.Tokenizer`` that a GGUF file of SmolLM2 describes.

    transformers' own reader takes it for Llama's: it ends at the wrong token and begins every text with one.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens = metadata["tokenizer.ggml.tokens"]
    merges = [tuple(line.split(" ")) for line in metadata["tokenizer.ggml.merges"]]
    core = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    core.decoder = decoders.ByteLevel()
    kinds = metadata["tokenizer.ggml.token_type"]
    core.add_special_tokens(
        [
            AddedToken(token, special=True, normalized=False)
            for token, kind in zip(tokens, kinds, strict=True)
            if kind == CONTROL
        ]
    )
    return core


def tokenizer(metadata: Mapping):
    """Return :func:`bare_tokenizer` as a fast tokenizer of transformers, with its chat template."""
    import transformers

    tokens = metadata["tokenizer.ggml.tokens"]
    named = {
        f"{role}_token": tokens[metadata[f"tokenizer.ggml.{key}_token_id"]]
        for role, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding"))
    }
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=bare_tokenizer(metadata),
        clean_up_tokenization_spaces=False,
        model_max_length=8192,
        **named,
    )
    fast.chat_template = metadata["tokenizer.chat_template"]
    return fast
