"""Right and wrong answers to practice 10.2."""

import json
import math
import os

import numpy as np

from answers import Answers

RIGHT, WRONG = Answers(), Answers()
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


# -- shard ---------------------------------------------------------------------------------------------


def _shard(unit, rank, size, copy=True, pad=True, floor=False, front=False, dtype=None):
    width = len(unit) // size if floor else -(-len(unit) // size)
    if front:
        whole = np.pad(unit, (width * size - len(unit), 0))
    else:
        whole = np.pad(unit, (0, max(0, width * size - len(unit)))) if pad else unit
    part = whole[rank * width : (rank + 1) * width]
    part = part.astype(dtype) if dtype else part
    return part.copy() if copy else part


RIGHT("shard")(_shard)


@RIGHT("shard")
def shard_into_zeros(unit, rank, size):
    """Write into zeros."""
    width = -(-len(unit) // size)
    part = np.zeros(width, unit.dtype)
    own = unit[rank * width : (rank + 1) * width]
    part[: len(own)] = own
    return part


@RIGHT("shard")
def shard_rows(unit, rank, size):
    """Cut the padded vector into rows."""
    return np.concatenate([unit, np.zeros(-len(unit) % size, unit.dtype)]).reshape(size, -1)[rank].copy()


WRONG.add("shard", _shard, "a view of the whole", copy=False)
WRONG.add("shard", _shard, "no padding", pad=False)
WRONG.add("shard", _shard, "lose the rest", floor=True)
WRONG.add("shard", _shard, "pad in front", front=True)
WRONG.add("shard", _shard, "another dtype", dtype="float16")


@WRONG("shard")
def shard_array_split(unit, rank, size):
    """Pieces of different sizes."""
    return np.array_split(unit, size)[rank].copy()


@WRONG("shard")
def shard_strided(unit, rank, size):
    """Every size-th element."""
    return np.pad(unit, (0, -len(unit) % size))[rank::size].copy()


@WRONG("shard")
def shard_in_place(unit, rank, size):
    """Use the array that was given."""
    part = _shard(unit, rank, size)
    unit[:] = 0
    return part


# -- gather --------------------------------------------------------------------------------------------


def _gather(comm, part, length):
    return np.concatenate(comm.all_gather(part))[:length]


RIGHT("gather")(_gather)


@RIGHT("gather")
def gather_stacked(comm, part, length):
    """Stack the rows."""
    return np.stack(comm.all_gather(part)).reshape(-1)[:length].copy()


@RIGHT("gather")
def gather_into(comm, part, length):
    """Fill an array."""
    whole = np.empty(length)
    for rank, piece in enumerate(comm.all_gather(part)):
        low = rank * len(part)
        if low < length:
            whole[low : low + len(part)] = piece[: length - low]
    return whole


@WRONG("gather")
def gather_padded(comm, part, length):
    """Keep the padding."""
    return np.concatenate(comm.all_gather(part)) + 0 * length


@WRONG("gather")
def gather_own(comm, part, length):
    """The own piece."""
    return part[:length]


@WRONG("gather")
def gather_by_sum(comm, part, length):
    """Everyone's piece in a vector of zeros, added up: twice the bytes."""
    whole = np.zeros(len(part) * comm.size)
    whole[comm.rank * len(part) : (comm.rank + 1) * len(part)] = part
    return comm.all_reduce(whole)[:length]


@WRONG("gather")
def gather_list(comm, part, length):
    """The pieces as they are."""
    return comm.all_gather(part)


@WRONG("gather")
def gather_interleaved(comm, part, length):
    """Another order."""
    return np.stack(comm.all_gather(part), axis=1).ravel()[:length]


@WRONG("gather")
def gather_on_zero(comm, part, length):
    """Only rank 0 asks."""
    return np.concatenate(comm.all_gather(part))[:length] if comm.rank == 0 else part


# -- gradients -----------------------------------------------------------------------------------------


def _scatter(comm, slope, mean=True, reduce=True):
    rows = np.split(np.pad(slope, (0, -len(slope) % comm.size)), comm.size)
    total = comm.reduce_scatter(rows) if reduce else rows[comm.rank].copy()
    return total / comm.size if mean else total


def _gradients(
    comm,
    parts,
    layers,
    loss,
    x,
    y,
    local_loss=False,
    reverse=False,
    mean=True,
    reduce=True,
    sum_loss=False,
    nest=True,
    hold=False,
    flip_x=False,
):
    xs, kept = [x], []
    for part, layer in zip(parts, layers, strict=True):
        if nest:
            xs.append(layer.forward(_gather(comm, part, layer.length), xs[-1]))
        else:
            unit = _gather(comm, part, layer.length)
            xs.append(layer.forward(unit, xs[-1]))
            if hold:
                kept.append(unit)
    unit = None
    value, dy = loss(xs[-1], y)
    found = []
    for k in range(len(layers) - 1, -1, -1):
        unit = kept[k] if hold else _gather(comm, parts[k], layers[k].length)
        slope, dy = layers[k].backward(unit, xs[k], xs[k] if flip_x else xs[k + 1], dy)
        unit = None
        found.append(_scatter(comm, slope, mean, reduce))
        slope = None
    if not local_loss:
        value = comm.all_reduce(np.array([value]))[0]
        value = value if sum_loss else value / comm.size
    return value, found if reverse else found[::-1]


RIGHT("gradients")(_gradients)


@RIGHT("gradients")
def gradients_del(comm, parts, layers, loss, x, y):
    """A list filled from behind, del."""
    xs, found = [x], [None] * len(parts)
    for k, layer in enumerate(layers):
        unit = _gather(comm, parts[k], layer.length)
        xs.append(layer.forward(unit, xs[k]))
        del unit
    value, dy = loss(xs.pop(), y)
    for k in reversed(range(len(layers))):
        after = xs[k + 1] if k + 1 < len(xs) else np.zeros((len(x), layers[k].m))  # The last one is linear.
        unit = _gather(comm, parts[k], layers[k].length)
        slope, dy = layers[k].backward(unit, xs[k], after, dy)
        del unit
        found[k] = _scatter(comm, slope)
        del slope
    return float(comm.all_reduce(np.array([value / comm.size]))[0]), found


@RIGHT("gradients")
def gradients_by_functions(comm, parts, layers, loss, x, y):
    """Locals end with inner functions."""
    acts = [x]

    def down(k, dy):
        slope, dx = layers[k].backward(_gather(comm, parts[k], layers[k].length), acts[k], acts[k + 1], dy)
        return _scatter(comm, slope), dx

    for k in range(len(layers)):
        acts.append(layers[k].forward(_gather(comm, parts[k], layers[k].length), acts[k]))
    value, dy = loss(acts[-1], y)
    pieces = {}
    for k in range(len(layers))[::-1]:
        pieces[k], dy = down(k, dy)
    return np.mean(comm.all_gather(np.array([value]), kind="loss")), [pieces[k] for k in range(len(layers))]


WRONG.add("gradients", _gradients, "the loss of the own share", local_loss=True)
WRONG.add("gradients", _gradients, "the loss not divided", sum_loss=True)
WRONG.add("gradients", _gradients, "gradients from the last layer", reverse=True)
WRONG.add("gradients", _gradients, "sum of the gradients", mean=False)
WRONG.add("gradients", _gradients, "the own gradient only", reduce=False)
WRONG.add("gradients", _gradients, "the name keeps the last layer", nest=False)
WRONG.add("gradients", _gradients, "keep all layers for the backward pass", nest=False, hold=True)
WRONG.add("gradients", _gradients, "give the input as the output", flip_x=True)


@WRONG("gradients")
def gradients_all_reduce(comm, parts, layers, loss, x, y):
    """All-reduce the whole gradient and cut."""
    xs = [x]
    for part, layer in zip(parts, layers, strict=True):
        xs.append(layer.forward(_gather(comm, part, layer.length), xs[-1]))
    value, dy = loss(xs[-1], y)
    found = [None] * len(layers)
    for k in reversed(range(len(layers))):
        slope, dy = layers[k].backward(_gather(comm, parts[k], layers[k].length), xs[k], xs[k + 1], dy)
        found[k] = _shard(comm.all_reduce(slope), comm.rank, comm.size) / comm.size
        del slope
    return comm.all_reduce(np.array([value]))[0] / comm.size, found


@WRONG("gradients")
def gradients_scatter_at_end(comm, parts, layers, loss, x, y):
    """Keep the whole gradients until the end, as stage 1 does."""
    xs = [x]
    for part, layer in zip(parts, layers, strict=True):
        xs.append(layer.forward(_gather(comm, part, layer.length), xs[-1]))
    value, dy = loss(xs[-1], y)
    slopes = [None] * len(layers)
    for k in reversed(range(len(layers))):
        slopes[k], dy = layers[k].backward(_gather(comm, parts[k], layers[k].length), xs[k], xs[k + 1], dy)
    found = [_scatter(comm, slope) for slope in slopes]
    return comm.all_reduce(np.array([value]))[0] / comm.size, found


@WRONG("gradients")
def gradients_keep_padded(comm, parts, layers, loss, x, y):
    """A name keeps the padded copy of a gradient while the next layer is gathered."""
    xs, found = [x], []
    for part, layer in zip(parts, layers, strict=True):
        xs.append(layer.forward(_gather(comm, part, layer.length), xs[-1]))
    value, dy = loss(xs[-1], y)
    for k in reversed(range(len(layers))):
        slope, dy = layers[k].backward(_gather(comm, parts[k], layers[k].length), xs[k], xs[k + 1], dy)
        rows = np.split(np.pad(slope, (0, -len(slope) % comm.size)), comm.size)
        del slope
        found.insert(0, comm.reduce_scatter(rows) / comm.size)
    return comm.all_reduce(np.array([value]))[0] / comm.size, found


@WRONG("gradients")
def gradients_step(comm, parts, layers, loss, x, y):
    """Change the weights, too."""
    value, found = _gradients(comm, parts, layers, loss, x, y)
    for part, slope in zip(parts, found, strict=True):
        part -= 0.1 * slope
    return value, found


@WRONG("gradients")
def gradients_padded(comm, parts, layers, loss, x, y):
    """Give the layer the padding, too."""
    for part, layer in zip(parts, layers, strict=True):
        x = layer.forward(np.concatenate([*comm.all_gather(part), np.zeros(1)]), x)
    return loss(x, y)


# -- adam ----------------------------------------------------------------------------------------------


def _adam(
    w, g, m, v, t, rate, chunk, bias=True, inside=False, rest=True, square=True, swap=False, store=True
):
    stop = len(w) if rest else len(w) // chunk * chunk
    b1, b2 = (BETA2, BETA1) if swap else (BETA1, BETA2)
    for start in range(0, stop, chunk):
        s = slice(start, start + chunk)
        a = b1 * m[s] + (1 - b1) * g[s]
        b = b2 * v[s] + (1 - b2) * (g[s] ** 2 if square else np.abs(g[s]))
        if store:
            m[s], v[s] = a, b
        a, b = (a / (1 - b1**t), b / (1 - b2**t)) if bias else (a, b)
        w[s] -= rate * a / (np.sqrt(b + EPSILON) if inside else np.sqrt(b) + EPSILON)


RIGHT("adam")(_adam)


@RIGHT("adam")
def adam_in_place(w, g, m, v, t, rate, chunk):
    """Views and in-place operations."""
    for i in range(-(-len(w) // chunk)):
        x, d, a, b = (array[i * chunk : (i + 1) * chunk] for array in (w, g, m, v))
        a += (1 - BETA1) * (d - a)
        b += (1 - BETA2) * (d * d - b)
        x -= rate / (1 - BETA1**t) * a / (np.sqrt(b / (1 - BETA2**t)) + EPSILON)


@RIGHT("adam")
def adam_flushing(w, g, m, v, t, rate, chunk):
    """Write the files out, return the weights."""
    start = 0
    while start < len(w):
        s = slice(start, min(start + chunk, len(w)))
        m[s] = BETA1 * np.array(m[s]) + (1 - BETA1) * g[s]
        v[s] = BETA2 * np.array(v[s]) + (1 - BETA2) * np.square(g[s])
        w[s] = w[s] - rate * (m[s] / (1 - BETA1**t)) / (np.sqrt(v[s] / (1 - BETA2**t)) + EPSILON)
        start += chunk
    m.flush()
    v.flush()
    return w


WRONG.add("adam", _adam, "no bias correction", bias=False)
WRONG.add("adam", _adam, "epsilon in the root", inside=True)
WRONG.add("adam", _adam, "lose the last chunk", rest=False)
WRONG.add("adam", _adam, "no square", square=False)
WRONG.add("adam", _adam, "swap the betas", swap=True)
WRONG.add("adam", _adam, "never write the files", store=False)


@WRONG("adam")
def adam_whole(w, g, m, v, t, rate, chunk):
    """All at once."""
    _adam(w, g, m, v, t, rate, len(w))


@WRONG("adam")
def adam_rebinding(w, g, m, v, t, rate, chunk):
    """New arrays instead of the old ones."""
    m = BETA1 * m + (1 - BETA1) * g
    v = BETA2 * v + (1 - BETA2) * g**2
    w = w - rate * (m / (1 - BETA1**t)) / (np.sqrt(v / (1 - BETA2**t)) + EPSILON)
    return w


@WRONG("adam")
def adam_read_first(w, g, m, v, t, rate, chunk):
    """Read the files into memory, update there and write back."""
    a, b = np.array(m), np.array(v)
    _adam(w, g, a, b, t, rate, chunk)
    m[:], v[:] = a, b


@WRONG("adam")
def adam_first_chunk(w, g, m, v, t, rate, chunk):
    """Only the first chunk."""
    _adam(w[:chunk], g[:chunk], m[:chunk], v[:chunk], t, rate, chunk)


@WRONG("adam")
def adam_scaling_g(w, g, m, v, t, rate, chunk):
    """Change the gradient."""
    _adam(w, g, m, v, t, rate, chunk)
    g *= 0


# -- train ---------------------------------------------------------------------------------------------


def _train(
    comm,
    layers,
    loss,
    batches,
    folder,
    rate,
    clip,
    chunk,
    shared=False,
    norm="all",
    memory=False,
    keep=False,
    whole=False,
    start=1,
    share=True,
    raise_scale=False,
    lazy=False,
    restart=False,
):
    parts, states, units = [], [], []
    for k, layer in enumerate(layers):
        unit = layer.init()
        parts.append(_shard(unit, comm.rank, comm.size))
        if whole:
            units.append(unit)
        unit = None
        if memory:
            states.append([np.zeros_like(parts[-1]), np.zeros_like(parts[-1])])
            continue
        files = [os.path.join(folder, f"{kind}{k}" if shared else f"{comm.rank}-{k}-{kind}") for kind in "mv"]
        states.append([np.memmap(file, parts[-1].dtype, "w+", shape=parts[-1].shape) for file in files])
    losses, found = [], None
    for t, (x, y) in enumerate(batches, start):
        x, y = (np.split(array, comm.size)[comm.rank if share else 0] for array in (x, y))
        value, found = _gradients(comm, parts, layers, loss, x, y)
        squares = np.array([sum(float(g @ g) for g in found)])
        if norm == "all":
            squares = comm.all_reduce(squares)
        scale = clip / np.sqrt(squares[0])
        scale = scale if raise_scale else min(1.0, scale)
        scale = 1.0 if norm == "none" else scale
        for w, g, (m, v) in zip(parts, found, states, strict=True):
            _adam(w, g * scale, m, v, 1 if restart else t, rate, chunk)
        losses.append(value)
        if not keep:
            found = None
    return losses, parts


RIGHT("train")(_train)


@RIGHT("train")
def train_functions(comm, layers, loss, batches, folder, rate, clip, chunk):
    """A step as a function, so that its names end with it; norms with hypot; in-place scaling."""
    parts = [_shard(layer.init(), comm.rank, comm.size) for layer in layers]
    os.makedirs(f"{folder}/rank{comm.rank}")
    open_file = lambda k, kind, n: np.memmap(  # noqa: E731
        f"{folder}/rank{comm.rank}/{k}{kind}", np.float64, "w+", shape=n
    )
    states = [(open_file(k, "m", len(p)), open_file(k, "v", len(p))) for k, p in enumerate(parts)]

    def step(t, x, y):
        n = len(x) // comm.size
        own = slice(comm.rank * n, (comm.rank + 1) * n)
        value, found = _gradients(comm, parts, layers, loss, x[own], y[own])
        norms = comm.all_gather(np.array(math.hypot(*(np.linalg.norm(g) for g in found))), kind="norm")
        total = math.hypot(*(norm.item() for norm in norms))
        for k, g in enumerate(found):
            if total > clip:
                g *= clip / total
            _adam(parts[k], g, *states[k], t, rate, chunk)
        return value

    return [step(t, *batch) for t, batch in enumerate(batches, 1)], parts


@RIGHT("train")
def train_one_file(comm, layers, loss, batches, folder, rate, clip, chunk):
    """All states of a rank in one file."""
    parts = [_shard(layer.init(), comm.rank, comm.size) for layer in layers]
    edges = np.cumsum([0, *(len(part) for part in parts)])
    file = np.memmap(f"{folder}/states.{comm.rank}", np.float64, "w+", shape=(2, edges[-1]))
    losses = []
    for t, (x, y) in enumerate(batches):
        x, y = np.array_split(x, comm.size)[comm.rank], np.array_split(y, comm.size)[comm.rank]
        value, found = _gradients(comm, parts, layers, loss, x, y)
        size = comm.all_reduce(np.array([np.vdot(g, g) for g in found])).sum() ** 0.5
        while found:
            k = len(found) - 1
            m, v = file[:, edges[k] : edges[k + 1]]
            _adam(parts[k], found.pop() * min(1, clip / size), m, v, t + 1, rate, chunk)
        losses += [value]
    return np.array(losses), tuple(parts)


WRONG.add("train", _train, "one file for all ranks", shared=True)
WRONG.add("train", _train, "clip by the norm of the own pieces", norm="own")
WRONG.add("train", _train, "never clip", norm="none")
WRONG.add("train", _train, "states in memory", memory=True)
WRONG.add("train", _train, "keep the gradients until the next step", keep=True)
WRONG.add("train", _train, "keep the whole layers", whole=True)
WRONG.add("train", _train, "begin with step 2", start=2)
WRONG.add("train", _train, "everyone takes the first share", share=False)
WRONG.add("train", _train, "scale small gradients up", raise_scale=True)
WRONG.add("train", _train, "always step 1", restart=True)


@WRONG("train")
def train_each_layer_clipped(comm, layers, loss, batches, folder, rate, clip, chunk):
    """Clip every layer by its own norm."""
    parts = [_shard(layer.init(), comm.rank, comm.size) for layer in layers]
    file = np.memmap(f"{folder}/{comm.rank}", np.float64, "w+", shape=(2, sum(map(len, parts))))
    states, low = [], 0
    for part in parts:
        states.append(file[:, low : low + len(part)])
        low += len(part)
    losses = []
    for t, (x, y) in enumerate(batches, 1):
        value, found = _gradients(
            comm, parts, layers, loss, *(np.split(array, comm.size)[comm.rank] for array in (x, y))
        )
        for w, g, (m, v) in zip(parts, found, states, strict=True):
            size = comm.all_reduce(np.array([g @ g]))[0] ** 0.5
            _adam(w, g * min(1, clip / size), m, v, t, rate, chunk)
        losses.append(value)
        found = g = None
    return losses, parts


# -- peak_bytes ----------------------------------------------------------------------------------------


def _peak(
    lengths, size, offload, pad=True, both=True, order=True, slopes=True, states=2, bytes_=8, first=False
):
    own = [-(-length // size) if pad else length / size for length in lengths]
    peaks = []
    for k, length in enumerate(lengths):
        done = sum(own[k + 1 :]) if order else sum(own)
        peaks.append(size * own[k] + length * both + done * slopes)
    held = sum(own) * (1 if offload else 1 + states)
    return bytes_ * (held + (peaks[0] if first else max(peaks)))


RIGHT("peak_bytes")(_peak)


@RIGHT("peak_bytes")
def peak_walk(lengths, size, offload):
    """Walk through the backward pass."""
    parts = np.array([math.ceil(length / size) for length in lengths])
    now = parts.sum() + (0 if offload else 2 * parts.sum())
    top = 0
    for part, length in zip(parts[::-1], lengths[::-1], strict=True):
        top = max(top, now + part * size + length)
        now += part
    return int(top) * 8


@RIGHT("peak_bytes")
def peak_cumulative(lengths, size, offload):
    """Cumulative sums."""
    lengths = np.array(lengths)
    padded = lengths + -lengths % size
    own = padded // size
    later = own.sum() - np.cumsum(own)
    return 8 * (own.sum() * (1 if offload else 3) + (later + padded + lengths).max())


WRONG.add("peak_bytes", _peak, "no padding", pad=False)
WRONG.add("peak_bytes", _peak, "no whole gradient", both=False)
WRONG.add("peak_bytes", _peak, "all pieces of the gradient", order=False)
WRONG.add("peak_bytes", _peak, "no pieces of the gradient", slopes=False)
WRONG.add("peak_bytes", _peak, "one moment", states=1)
WRONG.add("peak_bytes", _peak, "float32", bytes_=4)
WRONG.add("peak_bytes", _peak, "always the first layer", first=True)


@WRONG("peak_bytes")
def peak_opposite(lengths, size, offload):
    """States on the device when they are not."""
    return _peak(lengths, size, not offload)


@WRONG("peak_bytes")
def peak_plain(lengths, size, offload):
    """Divide everything by the number of ranks."""
    return 32 * sum(lengths) / size


# -- deepspeed_config ----------------------------------------------------------------------------------


def _config(
    batch,
    micro,
    size,
    clip,
    ratio,
    accumulate=None,
    names=(),
    outside=False,
    check=True,
    clipping=True,
    number=int,
    text=False,
    **zero,
):
    if check and batch % (micro * size):
        raise ValueError(f"{batch} is not a multiple of {micro} x {size}")
    offload = {"device": "cpu", "ratio": ratio}
    config = {
        "train_batch_size": batch,
        "train_micro_batch_size_per_gpu": micro,
        "gradient_accumulation_steps": number(batch / (micro * size)) if accumulate is None else accumulate,
        "bf16": {"enabled": True},
        "zero_optimization": {"stage": 3} | zero,
    }
    (config if outside else config["zero_optimization"])["offload_optimizer"] = offload
    if clipping:
        config["gradient_clipping"] = clip
    for old, new in names:
        config[new] = config.pop(old)
    return json.dumps(config) if text else config


RIGHT("deepspeed_config")(_config)


@RIGHT("deepspeed_config")
def config_with_more(batch, micro, size, clip, ratio):
    """More settings than were asked for; divmod."""
    steps, rest = divmod(batch, micro * size)
    if rest or steps == 0:
        raise ValueError("batch")
    return dict(
        train_batch_size=batch,
        train_micro_batch_size_per_gpu=micro,
        gradient_accumulation_steps=steps,
        gradient_clipping=float(clip),
        bf16=dict(enabled=True),
        optimizer={"type": "AdamW", "params": {"lr": 1e-4}},
        zero_optimization=dict(
            stage=3, overlap_comm=True, offload_optimizer=dict(device="cpu", pin_memory=True, ratio=ratio)
        ),
    )


WRONG.add("deepspeed_config", _config, "no clipping", clipping=False)
WRONG.add("deepspeed_config", _config, "offload beside zero", outside=True)
WRONG.add("deepspeed_config", _config, "stage 2", stage=2)
WRONG.add("deepspeed_config", _config, "stage as text", stage="3")
WRONG.add("deepspeed_config", _config, "no check", check=False)
WRONG.add("deepspeed_config", _config, "float steps", number=float)
WRONG.add("deepspeed_config", _config, "a NumPy number", number=np.int64)
WRONG.add("deepspeed_config", _config, "a string", text=True)
WRONG.add("deepspeed_config", _config, "one step", accumulate=1)
WRONG.add(
    "deepspeed_config",
    _config,
    "a name that DeepSpeed does not know",
    names=[("gradient_clipping", "max_grad_norm")],
)


@WRONG("deepspeed_config")
def config_without_size(batch, micro, size, clip, ratio):
    """Forget the number of GPUs."""
    if batch % (micro * size):
        raise ValueError
    return _config(batch, micro, 1, clip, ratio)


# -- ratio_range ---------------------------------------------------------------------------------------


def _ratio(
    params,
    gpu,
    host,
    gpu_other,
    host_other,
    weights=2,
    kept=2,
    moving=8,
    unit=2**30,
    cut=True,
    empty=True,
    flip=False,
    other=True,
):
    room_gpu = (gpu - gpu_other * other) * unit - weights * params
    room_host = (host - host_other * other) * unit - kept * params
    low, high = 1 - room_gpu / (moving * params), room_host / (moving * params)
    if cut:
        low, high = max(low, 0.0), min(high, 1.0)
    if empty and low > high:
        return None
    return (high, low) if flip else (low, high)


RIGHT("ratio_range")(_ratio)


@RIGHT("ratio_range")
def ratio_in_gib(params, gpu, host, gpu_other, host_other):
    """Everything in GiB; an array."""
    each = params / 2**30
    found = np.array(
        [(gpu_other + 10 * each - gpu) / (8 * each), (host - host_other - 2 * each) / (8 * each)]
    )
    found = np.array([max(found[0], 0), min(found[1], 1)])
    return list(found) if found[0] <= found[1] else None


WRONG.add("ratio_range", _ratio, "no gradients on the host", kept=0)
WRONG.add("ratio_range", _ratio, "no weights on the GPU", weights=0)
WRONG.add("ratio_range", _ratio, "only the states move", moving=6)
WRONG.add("ratio_range", _ratio, "GB instead of GiB", unit=10**9)
WRONG.add("ratio_range", _ratio, "not cut to 0 and 1", cut=False)
WRONG.add("ratio_range", _ratio, "no None", empty=False)
WRONG.add("ratio_range", _ratio, "high before low", flip=True)
WRONG.add("ratio_range", _ratio, "forget what else there is", other=False)
WRONG.add("ratio_range", _ratio, "float32 states", moving=16)
