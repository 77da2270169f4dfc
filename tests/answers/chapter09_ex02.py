"""Right and wrong answers to practice 9.2."""

import time

import numpy as np
import tensorflow as tf

from answers import Answers
from tf_study.models.llama import rope_frequencies, rotate

RIGHT, WRONG = Answers(), Answers()
ROWS = ("o_proj", "down_proj")


@RIGHT("cut_axis")
def cut_by_part(name):
    """Look at the last part but one."""
    if "norm" in name:
        return None
    return 1 if name.split(".")[-2] in ROWS else 0


@RIGHT("cut_axis")
def cut_by_table(name):
    """Look every kind up."""
    table = dict.fromkeys("q_proj k_proj v_proj gate_proj up_proj embed_tokens lm_head".split(), 0)
    table |= {"o_proj": np.int64(1), "down_proj": np.int64(1)}
    return next((axis for part, axis in table.items() if part in name), None)


@WRONG("cut_axis")
def cut_of_the_other_layout(name):
    """Take (inputs, outputs) for the layout."""
    axis = cut_by_part(name)
    return axis if axis is None or "model.embed" in name or "lm_head" in name else 1 - axis


@WRONG("cut_axis")
def cut_norms(name):
    """Cut the norms, too."""
    return 1 if name.split(".")[-2] in ROWS else 0


@WRONG("cut_axis")
def cut_only_blocks(name):
    """Leave embedding and head whole."""
    return cut_by_part(name) if "layers" in name else None


@WRONG("cut_axis")
def cut_down_by_rows(name):
    """Forget that down is the second matrix."""
    return 0 if "down_proj" in name else cut_by_part(name)


@WRONG("cut_axis")
def cut_first_layer_only(name):
    """Know layer 0 only."""
    return cut_by_part(name) if "layers" not in name or "layers.0." in name else None


def _sum(comm, x):
    return tf.constant(comm.all_reduce(x.numpy()))


@RIGHT("conjugates")
def conjugates_decorated(comm):
    """Two decorated functions."""

    @tf.custom_gradient
    def f(x):
        return tf.identity(x), lambda dy: _sum(comm, dy)

    @tf.custom_gradient
    def g(x):
        return _sum(comm, x), lambda dy: dy

    return f, g


@RIGHT("conjugates")
def conjugates_gathered(comm):
    """A list, gathered and summed; the gradient of g by stop_gradient."""

    def total(x):
        return tf.convert_to_tensor(np.sum(comm.all_gather(np.asarray(x)), axis=0))

    f = tf.custom_gradient(lambda x: (x + 0, total))
    return [f, lambda x: x + tf.stop_gradient(total(x) - x)]


def _conjugates(comm, f_forward=False, f_backward=True, g_forward=True, g_backward=False, scale=1.0):
    def part(x, summed):
        return _sum(comm, x) * tf.cast(scale, x.dtype) if summed else tf.identity(x)

    def operator(forward, backward):
        return tf.custom_gradient(lambda x: (part(x, forward), lambda dy: part(dy, backward)))

    return operator(f_forward, f_backward), operator(g_forward, g_backward)


WRONG.add("conjugates", _conjugates, "Forget the sum in f.", f_backward=False)
WRONG.add("conjugates", _conjugates, "Sum going back through g, too.", g_backward=True)
WRONG.add("conjugates", _conjugates, "Forget the sum in g.", g_forward=False)
WRONG.add("conjugates", _conjugates, "Sum in front, too.", f_forward=True)
WRONG.add("conjugates", _conjugates, "Halve the sums.", scale=0.5)


@WRONG("conjugates")
def conjugates_swapped(comm):
    """Return g first."""
    return conjugates_decorated(comm)[::-1]


@WRONG("conjugates")
def conjugates_without_gradient(comm):
    """Let NumPy cut the gradient of g."""
    return conjugates_decorated(comm)[0], lambda x: _sum(comm, x)


@WRONG("conjugates")
def conjugates_waiting(comm):
    """Wait for something that nobody sends."""
    f, _ = conjugates_decorated(comm)
    return f, lambda x: tf.constant(comm.recv((comm.rank + 1) % comm.size))


def _shard(state, rank, size, kv_heads, copy="group", skip=()):
    found = {}
    for name, value in state.items():
        axis = None if any(part in name for part in skip) else cut_by_part(name)
        if axis is None:
            found[name] = value
        elif ("k_proj" in name or "v_proj" in name) and kv_heads < size:
            which = {"group": rank * kv_heads // size, "turn": rank % kv_heads, "first": 0}
            found[name] = value if copy == "all" else np.split(value, kv_heads)[which[copy]]
        else:
            found[name] = np.split(value, size, axis)[rank]
    return found


RIGHT("shard")(_shard)


@RIGHT("shard")
def shard_by_slices(state, rank, size, kv_heads):
    """Slices of rows; copies by repeating the heads first."""
    found = {}
    for name, value in state.items():
        if "norm" in name:
            found[name] = value.copy()
            continue
        if any(part in name for part in (".k_proj", ".v_proj")) and size > kv_heads:
            heads = value.reshape(kv_heads, -1, value.shape[1])
            value = np.repeat(heads, size // kv_heads, axis=0).reshape(-1, value.shape[1])
        turned = value.T if any(part in name for part in ROWS) else value
        step = len(turned) // size
        part = turned[rank * step : (rank + 1) * step]
        found[name] = part.T if turned is not value else part
    return found


WRONG.add("shard", _shard, "Give the copies in turn.", copy="turn")
WRONG.add("shard", _shard, "Give everyone the first head.", copy="first")
WRONG.add("shard", _shard, "Give everyone all heads.", copy="all")
WRONG.add("shard", _shard, "Leave the output of attention whole.", skip=("o_proj",))
WRONG.add("shard", _shard, "Leave the embedding whole.", skip=("embed_tokens", "lm_head"))


@WRONG("shard")
def shard_without_copies(state, rank, size, kv_heads):
    """Cut through the heads."""
    return _shard(state, rank, size, size)


@WRONG("shard")
def shard_strided(state, rank, size, kv_heads):
    """Take every size-th row of the feed-forward network."""
    found = _shard(state, rank, size, kv_heads)
    return {
        name: state[name][rank::size] if "gate_proj" in name or "up_proj" in name else value
        for name, value in found.items()
    }


@WRONG("shard")
def shard_in_place(state, rank, size, kv_heads):
    """Cut the state that was given."""
    state.update(_shard(state, rank, size, kv_heads))
    return state


@WRONG("shard")
def shard_without_norms(state, rank, size, kv_heads):
    """Return only what is cut."""
    found = _shard(state, rank, size, kv_heads)
    return {name: value for name, value in found.items() if "norm" not in name}


@RIGHT("next_token")
def next_gathered(comm, hidden, head, start):
    """Gather the best of every piece, then choose."""
    logits = hidden @ head.T
    best = logits.argmax(1)
    peaks = np.stack(comm.all_gather(logits.max(1)))
    tokens = np.stack(comm.all_gather(best + start))
    return np.take_along_axis(tokens, peaks.argmax(0)[None], 0)[0]


@RIGHT("next_token")
def next_in_one_message(comm, hidden, head, start):
    """One message in double precision, sorted by hand; a list."""
    logits = tf.matmul(hidden, head, transpose_b=True).numpy().astype(float)
    mine = np.stack([logits.max(1), -(logits.argmax(1) + start)], 1)
    every = comm.all_gather(mine)
    return [int(-max(tuple(part[b]) for part in every)[1]) for b in range(len(hidden))]


@RIGHT("next_token")
def next_reduced(comm, hidden, head, start):
    """The largest logit, then the smallest number that reaches it, as a tensor."""
    logits = hidden @ head.T
    top = np.max(comm.all_gather(logits.max(1)), 0)
    reached = np.where(logits == top[:, None], np.arange(start, start + len(head)), 2**31)
    return tf.constant(np.min(comm.all_gather(reached.min(1)), 0))


def _next(comm, hidden, head, start, local=False, largest=False, late=False, own=False, floats=False):
    logits = hidden @ head.T
    best = logits.shape[1] - 1 - logits[:, ::-1].argmax(1) if late else logits.argmax(1)
    best = best if local else best + start
    peaks, tokens = np.stack(comm.all_gather(logits.max(1))), np.stack(comm.all_gather(best))
    which = np.zeros(len(hidden), int) if own else peaks.argmax(0)
    if late:
        which = comm.size - 1 - peaks[::-1].argmax(0)
    found = tokens.max(0) if largest else tokens[which, np.arange(len(hidden))]
    return found.astype("float32") if floats else found


WRONG.add("next_token", _next, "Forget where the piece starts.", local=True)
WRONG.add("next_token", _next, "Choose the largest number.", largest=True)
WRONG.add("next_token", _next, "Choose the last of equal ones.", late=True)
WRONG.add("next_token", _next, "Look at the first piece only.", own=True)
WRONG.add("next_token", _next, "Return floats.", floats=True)


@WRONG("next_token")
def next_from_all_logits(comm, hidden, head, start):
    """Gather the logits."""
    return np.concatenate(comm.all_gather(hidden @ head.T), 1).argmax(1)


@WRONG("next_token")
def next_of_sums(comm, hidden, head, start):
    """Gather the absolute values."""
    logits = np.abs(hidden @ head.T)
    peaks = np.stack(comm.all_gather(logits.max(1)))
    tokens = np.stack(comm.all_gather(logits.argmax(1) + start))
    return tokens[peaks.argmax(0), np.arange(len(hidden))]


@WRONG("next_token")
def next_on_rank_zero(comm, hidden, head, start):
    """Let only rank 0 ask."""
    logits = hidden @ head.T
    if comm.rank:
        return logits.argmax(1) + start
    return next_gathered(comm, hidden, head, start)


def _attention(x, w, c, turn=True, causal=True, scale=True, tile=False, heads=None, first=0, stop=False):
    length, size = x.shape[1], c.head_dim

    def split(name):
        z = x @ tf.transpose(w[f"self_attn.{name}_proj.weight"])
        z = tf.transpose(tf.reshape(z, (*x.shape[:2], -1, size)), (0, 2, 1, 3))
        places = tf.range(first, first + length)
        return rotate(z, places, rope_frequencies(size, c.rope_base)) if turn and name in "qk" else z

    q, k, v = split("q"), split("k"), split("v")
    times = heads(c) if heads else q.shape[1] // k.shape[1]
    k, v = ((tf.tile(z, (1, times, 1, 1)) if tile else tf.repeat(z, times, 1)) for z in (k, v))
    scores = tf.matmul(q, k, transpose_b=True) / (size**0.5 if scale else 1)
    if causal:
        scores += -1e9 * (1 - tf.linalg.band_part(tf.ones((length, length)), -1, 0))
    weights = tf.nn.softmax(scores)
    mixed = tf.transpose((tf.stop_gradient(weights) if stop else weights) @ v, (0, 2, 1, 3))
    return tf.reshape(mixed, (*x.shape[:2], -1)) @ tf.transpose(w["self_attn.o_proj.weight"])


RIGHT("attention")(_attention)


@RIGHT("attention")
def attention_einsum(x, w, c):
    """Groups as an axis of their own, heads one after another."""
    size, out = c.head_dim, 0.0
    q, k, v, o = (w[f"self_attn.{name}_proj.weight"] for name in "qkvo")
    group = q.shape[0] // k.shape[0]
    theta = rope_frequencies(size, c.rope_base)
    places = tf.range(x.shape[1])
    seen = places[:, None] >= places
    for h in range(q.shape[0] // size):
        mine, theirs = slice(h * size, (h + 1) * size), h // group * size
        theirs = slice(theirs, theirs + size)
        one = rotate(tf.einsum("btd,ed->bte", x, q[mine]), places, theta)
        two = rotate(tf.einsum("btd,ed->bte", x, k[theirs]), places, theta)
        scores = tf.where(seen, tf.einsum("bte,bse->bts", one, two) * size**-0.5, -1e9)
        read = tf.einsum("bts,bse->bte", tf.nn.softmax(scores), tf.einsum("btd,ed->bte", x, v[theirs]))
        out += tf.einsum("bte,de->btd", read, o[:, mine])
    return out


WRONG.add("attention", _attention, "Forget RoPE.", turn=False)
WRONG.add("attention", _attention, "Look ahead.", causal=False)
WRONG.add("attention", _attention, "Forget the scale.", scale=False)
WRONG.add("attention", _attention, "Pair the heads in turn.", tile=True)
WRONG.add(
    "attention", _attention, "Take the ratio of the whole model.", heads=lambda c: c.heads // c.kv_heads
)
WRONG.add("attention", _attention, "Let no gradient through the weights.", stop=True)


@WRONG("attention")
def attention_values_turned(x, w, c):
    """Turn the values, too."""
    size = c.head_dim
    z = w["self_attn.v_proj.weight"]
    turned = tf.reshape(
        rotate(tf.reshape(z, (-1, size, z.shape[1])), tf.range(size), tf.ones(z.shape[1] // 2)), z.shape
    )
    return _attention(x, {**w, "self_attn.v_proj.weight": turned}, c)


@WRONG("attention")
def attention_numpy(x, w, c):
    """Return an array, which has no gradient."""
    return _attention(x, w, c).numpy()


def _norm(x, gain, c):
    return x * tf.math.rsqrt(tf.reduce_mean(x * x, -1, keepdims=True) + c.eps) * gain


def _ffn(x, w, swap=False):
    gate, up, down = (tf.transpose(w[f"mlp.{name}_proj.weight"]) for name in ("gate", "up", "down"))
    gate, up = (up, gate) if swap else (gate, up)
    return (tf.nn.silu(x @ gate) * (x @ up)) @ down


def _block(comm, x, w, c, f=True, g=True, inside=False, norm=True, swap=False, place="after", last_f=True):
    first, last = conjugates_decorated(comm)
    f = first if f else tf.identity
    g = last if g else tf.identity
    scaled = (lambda z, name: _norm(z, w[f"{name}_layernorm.weight"], c)) if norm else (lambda z, name: z)
    if place == "before":
        enter = lambda z, name: scaled(f(z), name)  # noqa: E731
    else:
        enter = lambda z, name: f(scaled(z, name))  # noqa: E731
    if inside:
        x = g(x + _attention(enter(x, "input"), w, c))
        return g(x + _ffn(enter(x, "post_attention"), w))
    x = x + g(_attention(enter(x, "input"), w, c))
    z = enter(x, "post_attention") if last_f else scaled(x, "post_attention")
    return x + g(_ffn(z, w, swap))


RIGHT("block")(_block)


@RIGHT("block")
def block_by_hand(comm, x, w, c):
    """Sums written where they stand, in a loop over the two sublayers."""

    @tf.custom_gradient
    def enter(z):
        return z + 0, lambda dy: tf.convert_to_tensor(sum(comm.all_gather(dy.numpy())))

    sublayers = {"input": lambda z: attention_einsum(z, w, c), "post_attention": lambda z: _ffn(z, w)}
    for name, sublayer in sublayers.items():
        root = tf.sqrt(tf.reduce_mean(tf.square(x), -1)[..., None] + c.eps)
        part = sublayer(enter(x / root * w[f"{name}_layernorm.weight"]))
        x += part + tf.stop_gradient(comm.all_reduce(part.numpy()) - part)
    return x


WRONG.add("block", _block, "Forget f.", f=False)
WRONG.add("block", _block, "Forget the second f.", last_f=False)
WRONG.add("block", _block, "Forget g.", g=False)
WRONG.add("block", _block, "Add the residual inside g.", inside=True)
WRONG.add("block", _block, "Forget the norms.", norm=False)
WRONG.add("block", _block, "Swap gate and up.", swap=True)
WRONG.add("block", _block, "Put f in front of the norm, so that its gain gets a part.", place="before")


@WRONG("block")
def block_of_rank_zero(comm, x, w, c):
    """Let rank 0 wait alone."""
    if comm.rank == 0:
        comm.recv(1)
    else:
        comm.barrier()
    return x


@WRONG("block")
def block_gathering(comm, x, w, c):
    """Sum the output once more, to be sure."""
    y = _block(comm, x, w, c)
    return y + tf.stop_gradient(comm.all_reduce(y.numpy()) / comm.size - y)


def _gradients(comm, x, target, w, c, copies="sum", total=False, output=_block, norm_too=False, group="next"):
    with tf.GradientTape() as tape:
        tape.watch(w)
        loss = tf.reduce_mean((output(comm, x, w, c) - target) ** 2)
    found = tape.gradient(loss, w)
    count = max(1, comm.size // c.kv_heads)
    first = comm.rank // count * count
    ranks = range(first, first + count)
    if group == "turn":
        ranks = range(comm.rank % c.kv_heads, comm.size, c.kv_heads)
    for name in found:
        if ("k_proj" in name or "v_proj" in name) and copies != "none" and count > 1:
            summed = tf.constant(comm.all_reduce(found[name].numpy(), group=ranks))
            found[name] = summed / count if copies == "mean" else summed
        if total or norm_too and "norm" in name:
            found[name] = _sum(comm, found[name])
    return loss, found


RIGHT("gradients")(_gradients)


@RIGHT("gradients")
def gradients_numpy(comm, x, target, w, c):
    """Copies gathered over all devices and added by NumPy; everything as arrays."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(list(w.values()))
        loss = tf.reduce_sum(tf.square(block_by_hand(comm, x, w, c) - target)) / tf.size(x, tf.float32)
    found = dict(zip(w, (part.numpy() for part in tape.gradient(loss, list(w.values()))), strict=True))
    if comm.size > c.kv_heads:
        mine = comm.rank * c.kv_heads // comm.size
        for name in ("self_attn.k_proj.weight", "self_attn.v_proj.weight"):
            every = comm.all_gather(found[name])
            found[name] = sum(p for r, p in enumerate(every) if r * c.kv_heads // comm.size == mine)
    return float(loss), found


WRONG.add("gradients", _gradients, "Forget the copies.", copies="none")
WRONG.add("gradients", _gradients, "Average the copies.", copies="mean")
WRONG.add("gradients", _gradients, "Sum all gradients over all devices.", total=True)
WRONG.add("gradients", _gradients, "Sum the gains over all devices.", norm_too=True)
WRONG.add("gradients", _gradients, "Take the wrong neighbours.", group="turn")


@WRONG("gradients")
def gradients_only(comm, x, target, w, c):
    """Forget the loss."""
    return _gradients(comm, x, target, w, c)[1]


@WRONG("gradients")
def gradients_of_some_ranks(comm, x, target, w, c):
    """Let only the first rank sum over all."""
    loss, found = _gradients(comm, x, target, w, c, copies="none")
    if comm.rank == 0:
        comm.all_reduce(np.zeros(4))
    else:
        time.sleep(0.01)
    return loss, found
