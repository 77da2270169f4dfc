"""Tokens per CPU second of the engine and of Hugging Face's generate, in one process and without a network.

Run from the project's folder, on one thread, so that a CPU second is a second of one core::

    OMP_NUM_THREADS=1 python -m llm_server.measure smollm2
"""

import asyncio
import gc
import sys
import time
from contextlib import aclosing
from dataclasses import replace
from functools import partial

import numpy as np
import tensorflow as tf

from llm_server import quantize, weights
from llm_server.engine.base import Engine, Generation
from llm_server.engine.xla import XlaEngine
from llm_server.weights import Checkpoint, Quantized
from tf_study import cli, verify

PROMPT, ANSWER = 32, 24  # tokens
CLIENTS = (1, 4, 16)
REQUESTS = {1: 4, 4: 2, 16: 2}  # of each client, one after the other


async def closed_loop(engine: Engine, vocabulary: int, clients: int, requests: int) -> float:
    """Let clients ask for one answer after another; return generated tokens per CPU second of the whole process."""
    rng = np.random.default_rng(clients)

    async def client(prompts):
        count = 0
        for prompt in prompts:
            async with aclosing(engine.generate(Generation(tuple(prompt.tolist()), ANSWER))) as pieces:
                async for piece in pieces:
                    count += len(piece.tokens)
        return count

    prompts = rng.integers(0, vocabulary, (clients, requests, PROMPT))
    start = time.process_time()
    counts = await asyncio.gather(*map(client, prompts))
    return sum(counts) / (time.process_time() - start)


async def engine(checkpoint: Checkpoint, **options) -> tuple[list[float], float]:
    """Return the speeds of an engine with these options, one for each of CLIENTS, and the CPU seconds of its start."""
    start = time.process_time()
    made = XlaEngine(checkpoint, report=lambda line: None, **options)
    await made.start()
    ready = time.process_time() - start
    await closed_loop(made, checkpoint.config.vocab, 2, 1)
    speeds = [await closed_loop(made, checkpoint.config.vocab, n, REQUESTS[n]) for n in CLIENTS]
    await made.drain()
    del made
    gc.collect()  # The model's functions refer to it, and it to them.
    return speeds, ready


def torch_model(checkpoint: Checkpoint):
    """Return transformers' model with these weights, which it shares."""
    import torch
    import transformers

    torch.set_num_threads(1)
    sizes = weights.hf_sizes(checkpoint.config) | {"max_position_embeddings": checkpoint.context}
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes))
    state = {
        name: torch.from_numpy(tensor.T if name.endswith("_proj.weight") else tensor)
        for name, tensor in checkpoint.tensors.items()
    }
    model.load_state_dict(state, strict=False, assign=True)
    model.model.rotary_emb = type(model.model.rotary_emb)(model.config)  # Its frequencies are no weights.
    model.tie_weights()
    return model.eval()


def generate(checkpoint: Checkpoint, requests: int = 3) -> float:
    """Return the speed of transformers' ``generate``, one request at a time."""
    import torch

    model = torch_model(checkpoint)
    rng, total = np.random.default_rng(0), 0.0
    for number in range(requests + 1):
        ids = torch.tensor(rng.integers(0, checkpoint.config.vocab, (1, PROMPT)))
        start = time.process_time()
        with torch.no_grad():
            out = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=ANSWER,
                do_sample=False,
                eos_token_id=None,
                pad_token_id=0,
            )
        if number:  # The first one warms up.
            total += time.process_time() - start
        assert out.shape == (1, PROMPT + ANSWER)
    return requests * ANSWER / total


def rounded(checkpoint: Checkpoint) -> Checkpoint:
    """Return the checkpoint with 4-bit matrices; speed does not ask for the best ones."""
    if any(isinstance(tensor, Quantized) for tensor in checkpoint.tensors.values()):
        return checkpoint
    tensors = {
        name: quantize.nearest(tensor, 64) if name.endswith("_proj.weight") else tensor
        for name, tensor in checkpoint.tensors.items()
    }
    return replace(checkpoint, tensors=tensors)


def main(source: str = weights.PACKAGED) -> None:
    """Measure everything and print a table."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    checkpoint = weights.load(source)
    small = rounded(checkpoint)
    rows = [("", *(f"{n}명" for n in CLIENTS), "준비한 CPU 초")]
    if verify.available("torch", "transformers"):
        rows.append(("generate 하나씩", *[f"{generate(checkpoint):.1f}"] * len(CLIENTS), ""))
    for name, model, options in (
        ("엔진, TensorFlow만", checkpoint, dict(xla=False, ops=False)),
        ("엔진, XLA", checkpoint, dict(xla=True, ops=False)),
        ("엔진, XLA와 C++", checkpoint, dict(xla=True)),
        ("엔진, 4비트와 C++", small, dict(xla=False)),
    ):
        speeds, ready = asyncio.run(engine(model, **options))
        rows.append((name, *(f"{speed:.1f}" for speed in speeds), f"{ready:.1f}"))
        print(*rows[-1], sep="  ", file=sys.stderr, flush=True)
    print("CPU 초당 생성한 토큰", cli.table(rows), sep="\n")


if __name__ == "__main__":
    sys.exit(cli.run(partial(main, *sys.argv[1:2])))
