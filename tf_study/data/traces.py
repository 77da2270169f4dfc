"""What other programs decided, recorded by a script in their own environment."""

import json

from tf_study.data import store


def vllm_blocks() -> dict:
    """Return the decisions of vLLM's ``KVCacheManager`` on three random traces of requests.

    Recorded by ``tools/record_vllm.py``, which says what happens in them; same in both profiles.

    Returns:
        ``version`` of vLLM, and ``traces``: dictionaries with ``block_size``, ``blocks``, ``caching``, the free
        queue at the end ``free``, and ``log``, a list of operations on numbered requests:

        - ``["add", number, prompt, hit, table]``: tokens found in the cache, blocks; ``table`` is ``None`` where
          the request was refused;
        - ``["token", number, token, blocks]``: blocks added for one more token, ``None`` where there were none;
        - ``["free", number, queue]``: the request ended or was refused a block; block numbers of the free queue.
    """
    return json.loads(store.path("traces/vllm_blocks.json").read_text(encoding="utf-8"))
