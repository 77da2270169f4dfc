"""What ``--model`` and ``--engine`` name: where the weights come from, the tokenizer, and the engines."""

import os
from collections.abc import Sequence
from pathlib import Path

from llm_server import text, weights
from llm_server.engine.base import Engine
from llm_server.text import Text
from tf_study.errors import StudyError

TINY = "tiny"  # random weights over bytes: it babbles, but all of the server works on it


def load(model: str) -> tuple[str | weights.Checkpoint, Text, str]:
    """Return what an engine reads, the tokenizer, and the model's name in the API.

    Args:
        model: ``tiny``, or as :func:`llm_server.weights.load`.

    Raises:
        StudyError: if the tokenizer cannot be read.
    """
    if model == TINY:
        from tf_study.models.llama import Config

        tokenizer = text.bytewise()
        config = Config(vocab=len(tokenizer), width=64, layers=2, heads=4, kv_heads=2, hidden=128)
        stops = frozenset({tokenizer.eos_token_id})
        return weights.tiny(config, context=512, stops=stops), Text(tokenizer, stops), TINY
    tokenizer = weights.tokenizer(model)
    source = model if model == weights.PACKAGED else weights.folder(model)
    name = model if model.count("/") == 1 and not Path(model).exists() else Path(model).resolve().name
    return model, Text(tokenizer, text.stops(tokenizer, source)), name


def engines(
    kind: str,
    source: str | weights.Checkpoint,
    replicas: int,
    waiting: int,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    arguments: Sequence[str] = (),
) -> Sequence[Engine]:
    """Return engines that have not started.

    Args:
        kind: one of the command line's; ``auto`` is vLLM where there is a GPU and vLLM, else the course's own.
        source: the model.
        replicas: how many, each with weights and a cache of its own.
        waiting: requests that may wait for each of them.
        tensor_parallel: GPUs of vLLM that share each matrix.
        pipeline_parallel: groups of GPUs of vLLM that share the layers.
        arguments: more of vLLM's command line.

    Raises:
        StudyError: if something is asked for that only vLLM does.
    """
    from llm_server.engine import vllm
    from llm_server.engine.xla import XlaEngine

    if kind == "vllm" or (kind == "auto" and os.environ.get(vllm.VARIABLE) and vllm.gpus()):
        parallel = dict(tensor_parallel=tensor_parallel, pipeline_parallel=pipeline_parallel)
        options = dict(waiting=waiting, arguments=arguments, **parallel)
        return [vllm.VllmEngine(source, **options) for _ in range(replicas)]
    if arguments or tensor_parallel * pipeline_parallel > 1:
        raise StudyError("여러 GPU로 나누거나 vLLM의 인수를 주려면 --engine vllm을 쓰세요.")
    return [XlaEngine(source, waiting=waiting) for _ in range(replicas)]
