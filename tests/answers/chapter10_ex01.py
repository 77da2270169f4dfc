"""Right and wrong answers to practice 10.1."""

import bisect
import dataclasses
import math

import numpy as np
import tensorflow as tf

from answers import Answers

RIGHT, WRONG = Answers(), Answers()
BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}


# -- held_bytes ----------------------------------------------------------------------------------------


@RIGHT("held_bytes")
def held_by_identity(variables):
    """A dictionary by id."""
    once = {id(v): v for v in variables}
    return sum(math.prod(v.shape) * tf.as_dtype(v.dtype).size for v in once.values())


@RIGHT("held_bytes")
def held_by_loop(variables):
    """Remember the ids; NumPy counts the bytes."""
    seen, total = set(), 0
    for v in variables:
        if id(v) not in seen:
            seen.add(id(v))
            total += tf.convert_to_tensor(v).numpy().nbytes
    return total


@RIGHT("held_bytes")
def held_by_is(variables):
    """Compare with ``is`` against those before; a NumPy integer."""
    total = np.int64(0)
    for i, v in enumerate(variables):
        if not any(v is w for w in variables[:i]):
            total += int(np.prod(v.shape, dtype=int)) * tf.as_dtype(v.dtype).size
    return total


@WRONG("held_bytes")
def held_twice(variables):
    """Count shared variables as often as they occur."""
    return sum(math.prod(v.shape) * tf.as_dtype(v.dtype).size for v in variables)


@WRONG("held_bytes")
def held_by_set(variables):
    """A set of variables, which cannot be hashed."""
    return sum(math.prod(v.shape) * tf.as_dtype(v.dtype).size for v in set(variables))


@WRONG("held_bytes")
def held_by_name(variables):
    """Take variables of one name and shape for one."""
    once = {(getattr(v, "name", id(v)), tuple(v.shape)): v for v in variables}
    return sum(math.prod(v.shape) * tf.as_dtype(v.dtype).size for v in once.values())


@WRONG("held_bytes")
def held_by_shape(variables):
    """Take variables of one shape and type for one."""
    once = {(tuple(v.shape), str(v.dtype)): v for v in variables}
    return sum(math.prod(v.shape) * tf.as_dtype(v.dtype).size for v in once.values())


@WRONG("held_bytes")
def held_four_bytes(variables):
    """Four bytes for everything."""
    return 4 * sum(math.prod(v.shape) for v in {id(v): v for v in variables}.values())


@WRONG("held_bytes")
def held_elements(variables):
    """Elements instead of bytes."""
    return sum(math.prod(v.shape) for v in {id(v): v for v in variables}.values())


@WRONG("held_bytes")
def held_trainable(variables):
    """Leave frozen variables out."""
    return held_by_identity([v for v in variables if getattr(v, "trainable", True)])


@WRONG("held_bytes")
def held_without_scalars(variables):
    """Skip variables without axes."""
    return held_by_identity([v for v in variables if v.shape != ()])


@WRONG("held_bytes")
def held_and_emptied(variables):
    """Empty the list."""
    total = held_by_identity(variables)
    variables.clear()
    return total


# -- parameters ----------------------------------------------------------------------------------------


def _parameters(
    c,
    tie=True,
    kv=True,
    width=True,
    inner=(2, 3),
    norms=2,
    final=True,
    vectors=(1, 2),
    rows=True,
    qk=2,
    own=True,
    bias=("none", "qkv", "all"),
    head_bias=False,
    pooler=True,
    layers=True,
    unit=1,
):
    d = c.d if width else c.h // c.a
    q, k, m = c.a * d, (c.kv if kv else c.a) * d, inner[c.gated]
    norm = vectors[c.norm == "layer"] * c.h
    biases = 0
    if c.bias != "none" and c.bias in bias:
        biases = q + 2 * k
        if c.bias == "all":
            biases += 2 * c.h + (m - 1) * c.f
    block = 2 * c.h * q + 2 * c.h * k + m * c.h * c.f + biases + norms * norm
    block += qk * c.d if c.qk_norm else 0
    total = c.V * c.h + (c.rows * c.h if rows else 0) + block * (c.L if layers else 1) + final * norm
    if c.head == "own":
        total += c.V * c.h * own + (c.V if head_bias else 0)
    elif c.head == "pooler":
        total += (c.h**2 + c.h) * pooler
    elif not tie:
        total += c.V * c.h
    return total // unit if unit == 1 else total / unit


RIGHT("parameters")(_parameters)


@RIGHT("parameters")
def parameters_by_shapes(c):
    """List the shapes."""
    q, k = c.a * c.d, c.kv * c.d
    norm = [(c.h,)] * (2 if c.norm == "layer" else 1)
    matrices = [(c.h, q), (c.h, k), (c.h, k), (q, c.h), (c.h, c.f), (c.f, c.h)]
    matrices += [(c.h, c.f)] if c.gated else []
    biased = {"none": 0, "qkv": 3, "all": len(matrices)}[c.bias]
    block = norm * 2 + matrices + [(columns,) for _, columns in matrices[:biased]]
    if c.qk_norm:
        block += [(c.d,), (c.d,)]
    outer = [(c.V + c.rows, c.h), *norm]
    outer += {"own": [(c.h, c.V)], "tied": [], "pooler": [(c.h + 1, c.h)]}[c.head]
    return np.int64(sum(math.prod(shape) for shape in outer + block * c.L))


@RIGHT("parameters")
def parameters_by_modules(c):
    """Linear layers with an input column more for the bias."""

    def linear(n, m, kind):
        return (n + (c.bias in kind)) * m

    some, every = ("qkv", "all"), ("all",)
    attention = linear(c.h, (c.a + 2 * c.kv) * c.d, some) + linear(c.a * c.d, c.h, every)
    mlp = linear(c.h, c.f, every) * (1 + c.gated) + linear(c.f, c.h, every)
    norm = {"rms": c.h, "layer": 2 * c.h}[c.norm]
    blocks = c.L * (attention + mlp + 2 * norm + (2 * c.d if c.qk_norm else 0))
    head = c.V * c.h if c.head == "own" else c.h * (c.h + 1) * (c.head == "pooler")
    return c.V * c.h + c.rows * c.h + blocks + norm + head


WRONG.add("parameters", _parameters, "count the tied head again", tie=False)
WRONG.add("parameters", _parameters, "as many key heads as query heads", kv=False)
WRONG.add("parameters", _parameters, "heads of width h / a", width=False)
WRONG.add("parameters", _parameters, "always two matrices in the MLP", inner=(2, 2))
WRONG.add("parameters", _parameters, "always three matrices in the MLP", inner=(3, 3))
WRONG.add("parameters", _parameters, "one norm a block", norms=1)
WRONG.add("parameters", _parameters, "no norm outside the blocks", final=False)
WRONG.add("parameters", _parameters, "one vector in every norm", vectors=(1, 1))
WRONG.add("parameters", _parameters, "two vectors in every norm", vectors=(2, 2))
WRONG.add("parameters", _parameters, "no learned positions", rows=False)
WRONG.add("parameters", _parameters, "no norm of queries and keys", qk=0)
WRONG.add("parameters", _parameters, "one vector for queries and keys", qk=1)
WRONG.add("parameters", _parameters, "never a head of its own", own=False)
WRONG.add("parameters", _parameters, "no biases", bias=())
WRONG.add("parameters", _parameters, "no biases of queries, keys and values alone", bias=("all",))
WRONG.add("parameters", _parameters, "a bias in the head", head_bias=True)
WRONG.add("parameters", _parameters, "no pooler", pooler=False)
WRONG.add("parameters", _parameters, "one block", layers=False)
WRONG.add("parameters", _parameters, "billions", unit=1e9)


@WRONG("parameters")
def parameters_rule_of_thumb(c):
    """12 L h² and the vocabulary."""
    return 12 * c.L * c.h**2 + c.V * c.h


# -- state_bytes ---------------------------------------------------------------------------------------


def _states(
    total,
    trainable,
    recipe,
    stage=0,
    devices=1,
    master=4,
    first=(1, 2, 3),
    up=True,
    of_bytes=False,
    frozen_gradients=False,
    frozen_states=False,
    frozen_weights=True,
    same_gradient=False,
    moments=None,
    whole=False,
    gigabytes=False,
):
    def share(count, size, begin):
        if stage < begin:
            return count * size
        if of_bytes:
            return -(-count * size // devices)
        return (-(-count // devices) if up else count // devices) * size

    state = master * recipe.master
    state += (recipe.moments if moments is None else moments) * BYTES[recipe.state]
    gradient = BYTES[recipe.weight if same_gradient else recipe.gradient]
    found = {
        "weights": share(total if frozen_weights else trainable, BYTES[recipe.weight], first[2]),
        "gradients": share(total if frozen_gradients else trainable, gradient, first[1]),
        "states": share(total if frozen_states else trainable, state, first[0]),
    }
    if whole and stage:
        found = {key: -(-value // devices) for key, value in found.items()}
    return {key: value / 1e9 for key, value in found.items()} if gigabytes else found


RIGHT("state_bytes")(_states)


@RIGHT("state_bytes")
def states_by_table(total, trainable, recipe, stage=0, devices=1):
    """A table of rows, rounding up with math.ceil."""
    sizes = {name: tf.as_dtype(name).size for name in (recipe.weight, recipe.gradient, recipe.state)}
    state = recipe.moments * sizes[recipe.state] + (4 if recipe.master else 0)
    rows = [("states", trainable, state), ("gradients", trainable, sizes[recipe.gradient])]
    rows.append(("weights", total, sizes[recipe.weight]))
    found = {}
    for number, (name, count, size) in enumerate(rows, 1):
        found[name] = size * (math.ceil(count / devices) if number <= stage else count)
    return found


@RIGHT("state_bytes")
def states_by_padding(total, trainable, recipe, stage=0, devices=1):
    """Pad to a multiple, as the lecture does."""
    padded = [(count + -count % devices) // devices for count in (total, trainable)]
    weights = padded[0] if stage == 3 else total
    gradients = padded[1] if stage in (2, 3) else trainable
    states = padded[1] if stage else trainable
    each = recipe.moments * BYTES[recipe.state] + 4 * int(recipe.master)
    return dict(
        weights=np.int64(weights) * BYTES[recipe.weight],
        gradients=np.int64(gradients) * BYTES[recipe.gradient],
        states=np.int64(states) * each,
    )


WRONG.add("state_bytes", _states, "forget the master weights", master=0)
WRONG.add("state_bytes", _states, "master weights of two bytes", master=2)
WRONG.add("state_bytes", _states, "divide everything at stage 1", whole=True)
WRONG.add("state_bytes", _states, "divide gradients at stage 1", first=(1, 1, 3))
WRONG.add("state_bytes", _states, "divide weights at stage 2", first=(1, 2, 2))
WRONG.add("state_bytes", _states, "divide weights first", first=(3, 2, 1))
WRONG.add("state_bytes", _states, "never divide", first=(9, 9, 9))
WRONG.add("state_bytes", _states, "round down", up=False)
WRONG.add("state_bytes", _states, "round the bytes instead of the parameters", of_bytes=True)
WRONG.add("state_bytes", _states, "gradients of frozen parameters", frozen_gradients=True)
WRONG.add("state_bytes", _states, "states of frozen parameters", frozen_states=True)
WRONG.add("state_bytes", _states, "forget frozen weights", frozen_weights=False)
WRONG.add("state_bytes", _states, "gradients as wide as the weights", same_gradient=True)
WRONG.add("state_bytes", _states, "always two moments", moments=2)
WRONG.add("state_bytes", _states, "gigabytes", gigabytes=True)


@WRONG("state_bytes")
def states_sixteen(total, trainable, recipe, stage=0, devices=1):
    """16 bytes a parameter, whatever the recipe."""
    share = -(-total // devices) if stage == 3 else total
    return {"weights": 2 * share, "gradients": 2 * share, "states": 12 * share}


@WRONG("state_bytes")
def states_float(total, trainable, recipe, stage=0, devices=1):
    """Divide without rounding."""
    found = _states(total, trainable, recipe)
    for name, begin in (("states", 1), ("gradients", 2), ("weights", 3)):
        if stage >= begin:
            found[name] /= devices
    return found


@WRONG("state_bytes")
def states_sum(total, trainable, recipe, stage=0, devices=1):
    """The sum instead of the parts."""
    return sum(_states(total, trainable, recipe, stage, devices).values())


# -- activation_bytes ----------------------------------------------------------------------------------


def _activations(
    c,
    s,
    b,
    attention="plain",
    checkpoint=False,
    mask=1,
    kv=True,
    width=True,
    gate=(2, 3),
    logit=4,
    pooler=0,
    layers=True,
    batch=True,
    working=True,
    double_input=False,
    flash=4,
    drop=True,
    square=True,
    selective=0,
    size=1,
    flash_square=False,
):
    d = c.d if width else c.h // c.a
    q, k = c.a * d, (c.kv if kv else c.a) * d
    token = size * (8 * c.h + 4 * q + 4 * k + 2 * gate[c.gated] * c.f)
    scores = c.a * s if square else c.a
    if attention == "plain" or flash_square:
        token += size * 2 * scores
    elif attention == "flash":
        token += flash * c.a
    else:
        token += selective * scores
    if c.dropout and drop:
        token += 2 * mask * c.h
        if attention == "plain":
            token += (2 * size + mask) * scores
    tokens = s * (b if batch else 1)
    count = c.L if layers else 1
    blocks = tokens * token * count
    if checkpoint:
        blocks = tokens * 2 * c.h * (count - (not double_input) * working)
        blocks += tokens * token * working
    return {"blocks": blocks, "logits": tokens * c.V * (pooler if c.head == "pooler" else logit)}


RIGHT("activation_bytes")(_activations)


@RIGHT("activation_bytes")
def activations_by_formula(c, s, b, attention="plain", checkpoint=False):
    """Whole tensors first, in the order of a block."""
    sbh, q, k, f = s * b * c.h, s * b * c.a * c.d, s * b * c.kv * c.d, s * b * c.f
    square = c.a * s * s * b
    block = 8 * sbh + 2 * q + 2 * k + 2 * k + 2 * q + (6 * f if c.gated else 4 * f)
    if attention == "plain":
        block += 5 * square if c.dropout else 2 * square
    if attention == "flash":
        block += 4 * c.a * s * b
    if c.dropout:
        block += 2 * sbh
    blocks = c.L * block
    if checkpoint:
        blocks = block + 2 * sbh * (c.L - 1)
    return {"blocks": np.int64(blocks), "logits": 4 * s * b * c.V * (c.head != "pooler")}


@RIGHT("activation_bytes")
def activations_by_ratio(c, s, b, attention="plain", checkpoint=False):
    """sbh times a ratio, as in the paper: floats."""
    sbh, wide = s * b * c.h, c.a * s / c.h
    ratio = 8 + 4 * (c.a + c.kv) * c.d / c.h + (6 if c.gated else 4) * c.f / c.h
    ratio += {"plain": (5 if c.dropout else 2) * wide, "selective": 0.0, "flash": 4 * c.a / c.h}[attention]
    ratio += 2.0 * c.dropout
    blocks = sbh * (2 * (c.L - 1) + ratio) if checkpoint else sbh * c.L * ratio
    return {"blocks": blocks, "logits": 0.0 if c.head == "pooler" else 4.0 * s * b * c.V}


@RIGHT("activation_bytes")
def activations_by_layers(c, s, b, attention="plain", checkpoint=False):
    """One layer after the other, the last one whole."""
    whole = _activations(dataclasses.replace(c, L=1), s, b, attention)["blocks"]
    sizes = [whole if layer == 0 or not checkpoint else 2 * s * b * c.h for layer in range(c.L)]
    logits = {"own": 4, "tied": 4, "pooler": 0}[c.head] * s * b * c.V
    return dict(logits=logits, blocks=sum(sizes))


WRONG.add("activation_bytes", _activations, "masks of two bytes", mask=2)
WRONG.add("activation_bytes", _activations, "float masks", mask=4)
WRONG.add("activation_bytes", _activations, "no dropout", drop=False)
WRONG.add("activation_bytes", _activations, "as many key heads as query heads", kv=False)
WRONG.add("activation_bytes", _activations, "heads of width h / a", width=False)
WRONG.add("activation_bytes", _activations, "the MLP has always two tensors", gate=(2, 2))
WRONG.add("activation_bytes", _activations, "the MLP has always three tensors", gate=(3, 3))
WRONG.add("activation_bytes", _activations, "logits of two bytes", logit=2)
WRONG.add("activation_bytes", _activations, "no logits", logit=0)
WRONG.add("activation_bytes", _activations, "logits of an encoder", pooler=4)
WRONG.add("activation_bytes", _activations, "one layer", layers=False)
WRONG.add("activation_bytes", _activations, "a batch of one", batch=False)
WRONG.add("activation_bytes", _activations, "only the inputs with checkpoints", working=False)
WRONG.add("activation_bytes", _activations, "the input of the layer twice", double_input=True)
WRONG.add("activation_bytes", _activations, "no statistics of flash attention", flash=0)
WRONG.add("activation_bytes", _activations, "statistics of two bytes", flash=2)
WRONG.add("activation_bytes", _activations, "flash attention keeps the matrix", flash_square=True)
WRONG.add("activation_bytes", _activations, "attention without the length", square=False)
WRONG.add("activation_bytes", _activations, "selective recomputation keeps the softmax", selective=2)
WRONG.add("activation_bytes", _activations, "values of four bytes", size=2)


@WRONG("activation_bytes")
def activations_of_gpt(c, s, b, attention="plain", checkpoint=False):
    """sbh(34 + 5as/h), whatever the architecture."""
    token = 34 * c.h + (5 * c.a * s if attention == "plain" else 0)
    blocks = 2 * s * b * c.h * (c.L - 1) + s * b * token if checkpoint else c.L * s * b * token
    return {"blocks": blocks, "logits": 4 * s * b * c.V}


# -- sequences -----------------------------------------------------------------------------------------


def _sequences(
    c, s, card, weights, size=2, unit=2**30, kv=True, pair=2, layers=True, whole=True, zero=True, up=False
):
    one = pair * (c.L if layers else 1) * (c.kv if kv else c.a) * c.d * s * size
    free = card * unit - (weights if whole else 0)
    count = -(-free // one) if up else free // one
    return max(0, count) if zero else count


RIGHT("sequences")(_sequences)


@RIGHT("sequences")
def sequences_by_token(c, s, card, weights, size=2):
    """Bytes a token first, and an if."""
    token = sum(2 * c.kv * c.d * size for _ in range(c.L))
    free = (card << 30) - weights
    if free <= 0:
        return 0
    return int(np.floor_divide(free, token * s))


@RIGHT("sequences")
def sequences_by_division(c, s, card, weights, size=2):
    """divmod, and a bound."""
    count, _ = divmod(card * 1024**3 - weights, size * s * c.d * c.kv * c.L * 2)
    return 0 if count < 0 else count


WRONG.add("sequences", _sequences, "cards in GB", unit=10**9)
WRONG.add("sequences", _sequences, "query heads", kv=False)
WRONG.add("sequences", _sequences, "keys alone", pair=1)
WRONG.add("sequences", _sequences, "one layer", layers=False)
WRONG.add("sequences", _sequences, "no weights", whole=False)
WRONG.add("sequences", _sequences, "negative", zero=False)
WRONG.add("sequences", _sequences, "round up", up=True)


@WRONG("sequences")
def sequences_of_two_bytes(c, s, card, weights, size=2):
    """Always two bytes."""
    return _sequences(c, s, card, weights)


@WRONG("sequences")
def sequences_in_tokens(c, s, card, weights, size=2):
    """Tokens instead of sequences."""
    return _sequences(c, 1, card, weights, size)


@WRONG("sequences")
def sequences_width_of_heads(c, s, card, weights, size=2):
    """Heads of width h / a."""
    return _sequences(dataclasses.replace(c, d=c.h // c.a), s, card, weights, size)


# -- first_true ----------------------------------------------------------------------------------------


def _first(test, limit, below=0, inclusive=True, none=None, check=True, shift=0):
    low, high = below, limit + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if test(middle) else (middle, high)
    if high > limit and check:
        return none
    return high + shift


RIGHT("first_true")(_first)


@RIGHT("first_true")
def first_by_library(test, limit):
    """bisect with a key."""
    place = bisect.bisect_left(range(1, limit + 1), True, key=test)
    return place + 1 if place < limit else None


@RIGHT("first_true")
def first_by_doubling(test, limit):
    """Double, then halve."""
    high = 1
    while not test(high):
        if high == limit:
            return None
        high = min(2 * high, limit)
    low = high // 2 if high < limit else 0
    low = max(low, 0)
    while high - low > 1:
        middle = (low + high) // 2
        if test(middle):
            high = middle
        else:
            low = middle
    return high


@RIGHT("first_true")
def first_by_recursion(test, limit, low=1):
    """Halve by recursion."""
    if low == limit:
        return low if test(low) else None
    middle = (low + limit) // 2
    return (
        first_by_recursion(test, middle, low) if test(middle) else first_by_recursion(test, limit, middle + 1)
    )


WRONG.add("first_true", _first, "the last false", shift=-1)
WRONG.add("first_true", _first, "one too far", shift=1)
WRONG.add("first_true", _first, "zero for none", none=0)
WRONG.add("first_true", _first, "the limit and one for none", check=False)


@WRONG("first_true")
def first_by_counting(test, limit):
    """Try one after the other."""
    return next((n for n in range(1, limit + 1) if test(n)), None)


@WRONG("first_true")
def first_without_bound(test, limit):
    """Double beyond the limit."""
    high = 1
    while not test(high):
        high *= 2
        if high > 4 * limit:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if test(middle) else (middle, high)
    return high


@WRONG("first_true")
def first_without_last_check(test, limit):
    """Take the limit for an answer."""
    low, high = 1, limit
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if test(middle) else (middle + 1, high)
    return low


@WRONG("first_true")
def first_power(test, limit):
    """Powers of two only."""
    n = 1
    while n <= limit:
        if test(n):
            return n
        n *= 2
    return None


@WRONG("first_true")
def first_in_halves(test, limit):
    """Real division."""
    low, high = 1, limit
    while high - low > 0.5:
        middle = (low + high) / 2
        low, high = (low, middle) if test(middle) else (middle, high)
    return round(high) if test(round(high)) else None


# -- plan ----------------------------------------------------------------------------------------------


def _plan(
    c,
    s,
    b,
    recipe,
    card,
    devices,
    options,
    share=0.9,
    unit=2**30,
    spread=False,
    attention=None,
    reverse=False,
    blank=False,
    batch_shift=0,
    unlimited=False,
    nodes_are_devices=False,
    naive_nodes=False,
    chosen_nodes=False,
    recipe_master=True,
    logits=True,
    dominant=max,
    per_batch=False,
    count=_parameters,
):
    P = count(c)
    usable = share * card * unit
    recipe = recipe if recipe_master else dataclasses.replace(recipe, master=False)

    def items(option, batch, number):
        _, kind, stage, checkpoint = option
        kept = _activations(c, s, batch, attention or kind, checkpoint)
        if spread:
            kept = {key: value // number for key, value in kept.items()}
        if not logits:
            kept["logits"] = 0
        return _states(P, P, recipe, stage, number) | kept

    def fits(option, batch, number):
        return sum(items(option, batch, number).values()) <= usable

    ordered = options[::-1] if reverse else options
    chosen = next((option for option in ordered if fits(option, b, devices)), None)
    used = items(chosen or (options[0] if blank else options[-1]), b, devices)
    batch = 0
    if chosen:
        most = 10**6 if unlimited else 4096
        batch = (_first(lambda n: not fits(chosen, n, devices), most) or most + 1) - 1 + batch_shift
        if per_batch:
            batch = b * int(usable // sum(used.values()))
    last = chosen if chosen_nodes and chosen else options[-1]
    nodes = _first(lambda n: fits(last, b, (1 if nodes_are_devices else 8) * n), 512)
    if naive_nodes:
        nodes = math.ceil(sum(items(options[0], b, 1).values()) / usable / 8)
    return {
        "option": chosen[0] if chosen else None,
        "items": used,
        "dominant": dominant(used, key=used.get),
        "batch": batch,
        "nodes": nodes,
    }


RIGHT("plan")(_plan)


@RIGHT("plan")
def plan_by_loops(c, s, b, recipe, card, devices, options):
    """Loops, one after the other."""
    P, most = parameters_by_shapes(c), int(card * 2**30 * 9 / 10)

    def report(option, batch, number):
        _, attention, stage, checkpoint = option
        found = states_by_table(P, P, recipe, stage, number)
        found.update(activations_by_formula(c, s, batch, attention, checkpoint))
        return found

    result = {"option": None, "items": report(options[-1], b, devices), "batch": 0, "nodes": None}
    for option in options:
        found = report(option, b, devices)
        if sum(found.values()) <= most:
            result |= {"option": option[0], "items": found, "batch": b}
            while result["batch"] < 4096:
                if sum(report(option, result["batch"] + 1, devices).values()) > most:
                    break
                result["batch"] += 1
            break
    for nodes in range(1, 513):
        if sum(report(options[-1], b, 8 * nodes).values()) <= most:
            result["nodes"] = nodes
            break
    result["dominant"] = sorted(result["items"], key=result["items"].get)[-1]
    return result


@RIGHT("plan")
def plan_by_bisection(c, s, b, recipe, card, devices, options):
    """Other parts, bisect from the library."""
    P, most = parameters_by_modules(c), 0.9 * card * 1024**3

    def need(option, batch=b, number=devices):
        kept = activations_by_layers(c, s, batch, *option[1::2])
        return states_by_padding(P, P, recipe, option[2], number) | kept

    def over(found):
        return sum(found.values()) > most

    fitting = [option for option in options if not over(need(option))]
    option = fitting[0] if fitting else options[-1]
    items = need(option)
    batch = bisect.bisect_left(range(1, 4097), True, key=lambda n: over(need(option, n)))
    nodes = first_by_library(lambda n: not over(need(options[-1], b, 8 * n)), 512)
    largest = max(items.values())
    return dict(
        option=option[0] if fitting else None,
        items=items,
        dominant=next(key for key, value in items.items() if value == largest),
        batch=batch if fitting else 0,
        nodes=nodes,
    )


WRONG.add("plan", _plan, "fill the card", share=1)
WRONG.add("plan", _plan, "cards in GB", unit=10**9)
WRONG.add("plan", _plan, "divide activations by the devices", spread=True)
WRONG.add("plan", _plan, "always plain attention", attention="plain")
WRONG.add("plan", _plan, "always flash attention", attention="flash")
WRONG.add("plan", _plan, "the last option that fits", reverse=True)
WRONG.add("plan", _plan, "the items of the first option if none fits", blank=True)
WRONG.add("plan", _plan, "the first batch that does not fit", batch_shift=1)
WRONG.add("plan", _plan, "batches beyond the limit", unlimited=True)
WRONG.add("plan", _plan, "devices instead of nodes", nodes_are_devices=True)
WRONG.add("plan", _plan, "the whole divided by the cards", naive_nodes=True)
WRONG.add("plan", _plan, "nodes with the chosen option", chosen_nodes=True)
WRONG.add("plan", _plan, "no master weights", recipe_master=False)
WRONG.add("plan", _plan, "no logits", logits=False)
WRONG.add("plan", _plan, "the smallest item", dominant=min)
WRONG.add("plan", _plan, "the batch in proportion to all memory", per_batch=True)
WRONG.add("plan", _plan, "12 L h²", count=parameters_rule_of_thumb)


@WRONG("plan")
def plan_without_option(c, s, b, recipe, card, devices, options):
    """The option itself instead of its name."""
    found = _plan(c, s, b, recipe, card, devices, options)
    return found | {"option": next((o for o in options if o[0] == found["option"]), None)}


@WRONG("plan")
def plan_in_gib(c, s, b, recipe, card, devices, options):
    """Items in GiB."""
    found = _plan(c, s, b, recipe, card, devices, options)
    return found | {"items": {key: value / 2**30 for key, value in found["items"].items()}}


@WRONG("plan")
def plan_emptying(c, s, b, recipe, card, devices, options):
    """Take the options out of the list."""
    found = _plan(c, s, b, recipe, card, devices, options)
    options.pop()
    return found
