"""The block pool against what vLLM's own manager decided, and its promises on random histories."""

import ast
import collections
import hashlib
import os
import random
import subprocess

import numpy as np
import pytest

from tf_study import curriculum, data, notebooks
from tf_study.paged import Pool

TRACES = data.vllm_blocks()["traces"]
IDS = [f"size {trace['block_size']} caching {trace['caching']}" for trace in TRACES]


def replay(trace):
    """Yield (operation, own decision, vLLM's decision) for every entry of a log."""
    pool, live = Pool(trace["blocks"], trace["block_size"], trace["caching"]), {}
    for operation, number, *entry in trace["log"]:
        if operation == "add":
            prompt, hit, table = entry
            found = pool.lookup(prompt)
            yield "hit", len(found) * pool.size, hit
            count = pool.blocks(len(prompt)) - len(found)
            if not pool.fits(found, count):
                yield "refused", None, table
                continue
            pool.touch(found)
            own = found + pool.take(count)
            yield "table", own, table
            pool.register(own, prompt)
            live[number] = (list(prompt), own)
        elif operation == "token":
            (tokens, own), (token, added) = live[number], entry
            tokens.append(token)
            count = pool.blocks(len(tokens)) - len(own)
            if not pool.fits([], count):
                yield "no block", None, added
                continue
            own += (new := pool.take(count))
            yield "grown", new, added
            pool.register(own, tokens)
        else:
            pool.release(live.pop(number)[1])
            yield "queue", list(pool.free), entry[0]
    yield "end", list(pool.free), trace["free"]


@pytest.mark.parametrize("trace", TRACES, ids=IDS)
def test_every_decision_is_vllms(trace):
    for index, (operation, own, theirs) in enumerate(replay(trace)):
        assert own == theirs, (index, operation)


def test_the_traces_hold_every_kind_of_decision():
    seen = collections.Counter(
        operation for trace in TRACES for operation, own, _ in replay(trace) if own or operation != "hit"
    )
    assert min(seen[kind] for kind in ("hit", "refused", "table", "no block", "grown", "queue", "end")) >= 3


@pytest.mark.skipif("TF_STUDY_VLLM" not in os.environ, reason="TF_STUDY_VLLM names no Python with vLLM")
def test_vllm_still_decides_so():
    script = curriculum.ROOT / "tools" / "record_vllm.py"
    subprocess.run([os.environ["TF_STUDY_VLLM"], script, "--check"], check=True, timeout=300)


@pytest.mark.parametrize("seed", range(20))
def test_no_block_is_lost_and_a_hit_holds_these_tokens(seed):
    r = random.Random(seed)
    size, blocks = r.choice((1, 2, 4)), r.randrange(8, 40)
    pool, live, content = Pool(blocks, size), [], {}
    for _ in range(400):
        if r.random() < 0.5:
            tokens = [r.randrange(2) for _ in range(r.randrange(1, 16))]
            found = pool.lookup(tokens)
            assert len(found) * size < len(tokens)
            for index, block in enumerate(found):
                assert content[block] == tokens[: (index + 1) * size]
            count = pool.blocks(len(tokens)) - len(found)
            if pool.fits(found, count):
                pool.touch(found)
                table = found + pool.take(count)
                for index, block in enumerate(table[len(found) :], len(found)):
                    content[block] = tokens[: (index + 1) * size]
                written = r.randrange(len(found) * size, len(tokens) + 1)
                pool.register(table, tokens, written)
                live.append(table)
        elif live:
            pool.release(live.pop(r.randrange(len(live))))
        named = collections.Counter(block for table in live for block in table)
        assert pool.refs == [named[block] for block in range(blocks)]
        assert set(pool.free) == set(range(1, blocks)) - set(named)
        known = {block for group in pool.by_hash.values() for block in group}
        assert known == {block for block in range(blocks) if pool.hash_of[block]}
    for table in live:
        pool.release(table)
    assert sorted(pool.free) == list(range(1, blocks))


def test_registering_token_by_token_is_registering_at_once():
    tokens = list(range(23))
    slow, fast = Pool(9, 4), Pool(9, 4)
    tables = slow.take(6), fast.take(6)
    for written in range(len(tokens) + 1):
        slow.register(tables[0], tokens, written)
    fast.register(tables[1], tokens)
    assert slow.hash_of == fast.hash_of and slow.by_hash == fast.by_hash


def test_misuse_is_refused():
    pool = Pool(4, 2)
    table = pool.take(3)
    with pytest.raises(ValueError, match="1 blocks asked for, 0 free"):
        pool.take(1)
    pool.release(table)
    with pytest.raises(ValueError, match="free already"):
        pool.release(table)
    assert sorted(pool.free) == [1, 2, 3]


def test_without_caching_nothing_is_found():
    pool = Pool(9, 2, caching=False)
    pool.register(pool.take(4), list(range(8)))
    assert pool.lookup(list(range(8))) == []


def lecture_names(*names):
    """Return functions and classes of lecture 14.4 as they stand there."""
    path = curriculum.ROOT / "chapter14_extreme_inference" / "04_vllm_and_paged_attention.ipynb"
    nodes = [
        node
        for cell in notebooks.read(path).cells
        if cell.cell_type == "code"
        for node in ast.parse(cell.source).body
        if getattr(node, "name", None) in names
    ]
    scope = {"np": np, "sha256": hashlib.sha256}
    exec(ast.unparse(ast.Module(nodes, [])), scope)
    return [scope[name] for name in names]


def test_the_lectures_chain_has_the_pools_hashes():
    (chain,) = lecture_names("chain")
    pool, tokens = Pool(9, 4), list(range(30))
    pool.register(pool.take(8), tokens)
    assert chain(tokens, 4) == pool.hash_of[1:8]


def test_the_lectures_blocks_decide_as_vllm_without_caching():
    (blocks,) = lecture_names("Blocks")
    (trace,) = (trace for trace in TRACES if not trace["caching"])
    room, live = blocks(trace["blocks"], trace["block_size"]), {}
    for operation, number, *entry in trace["log"]:
        if operation == "free":
            room.release(live.pop(number)[0])
            assert room.free[::-1] == entry[0]
            continue
        table, length = live.setdefault(number, [[], 0])
        live[number][1] = length + (len(entry[0]) if operation == "add" else 1)
        had = len(table)
        assert (table[had:] if room.extend(*live[number]) else None) == entry[-1]
