"""Right and wrong answers to practice 9.1."""

import itertools
import time

import numpy as np

from answers import Answers

RIGHT, WRONG = Answers(), Answers()


# -- bounds --------------------------------------------------------------------------------------------


@RIGHT("bounds")
def bounds_by_formula(length, count):
    """Where piece i begins, in closed form."""
    base, extra = divmod(length, count)
    return [i * base + min(i, extra) for i in range(count + 1)]


@RIGHT("bounds")
def bounds_by_sum(length, count):
    """Add the sizes up."""
    sizes = np.full(count, length // count)
    sizes[: length % count] += 1
    return np.concatenate([[0], np.cumsum(sizes)])


@RIGHT("bounds")
def bounds_by_loop(length, count):
    """Give the rest to the pieces in turn."""
    edges = [0]
    for i in range(count):
        edges.append(edges[-1] + length // count + (i < length % count))
    return tuple(edges)


@WRONG("bounds")
def bounds_without_rest(length, count):
    """Lose the remainder."""
    return [i * (length // count) for i in range(count + 1)]


@WRONG("bounds")
def bounds_rest_last(length, count):
    """Give all the rest to the last piece."""
    return [i * (length // count) for i in range(count)] + [length]


@WRONG("bounds")
def bounds_rest_behind(length, count):
    """Give the rest to the last pieces, one each."""
    return [i * length // count for i in range(count + 1)]


@WRONG("bounds")
def bounds_round_up(length, count):
    """Round every piece up, the last takes what is left."""
    size = -(-length // count)
    return [min(i * size, length) for i in range(count + 1)]


@WRONG("bounds")
def bounds_float(length, count):
    """Float boundaries."""
    return [float(edge) for edge in bounds_by_formula(length, count)]


@WRONG("bounds")
def bounds_sizes(length, count):
    """The sizes instead of the boundaries."""
    return np.diff(bounds_by_formula(length, count))


@WRONG("bounds")
def bounds_starts(length, count):
    """Only where the pieces begin."""
    return bounds_by_formula(length, count)[:-1]


# -- ring_plan -----------------------------------------------------------------------------------------


def _plan(rank, size, direction, shift=0, flip=1, steps=0, swap=False):
    pairs = []
    for step in range(1, size + steps):
        sent = (rank - flip * direction * (step + shift)) % size
        received = (sent - flip * direction) % size
        pairs.append((received, sent) if swap else (sent, received))
    return pairs


RIGHT("ring_plan")(_plan)


@RIGHT("ring_plan")
def plan_from_the_end(rank, size, direction):
    """Walk back from the piece that must arrive last; an array."""
    chunks = [(rank - direction * k) % size for k in range(size)]
    order = chunks[1:] + chunks[:1]
    return np.array(list(itertools.pairwise(order))).reshape(size - 1, 2)


@RIGHT("ring_plan")
def plan_by_receiving(rank, size, direction):
    """What was received is what is sent next."""
    mine, pairs = (rank - direction) % size, []
    for _ in range(size - 1):
        pairs.append([mine, (mine - direction) % size])
        mine = pairs[-1][1]
    return pairs


WRONG.add("ring_plan", _plan, "begin with the own piece", shift=-1)
WRONG.add("ring_plan", _plan, "begin two pieces back", shift=1)
WRONG.add("ring_plan", _plan, "go the other way", flip=-1)
WRONG.add("ring_plan", _plan, "one step too many", steps=1)
WRONG.add("ring_plan", _plan, "one step too few", steps=-1)
WRONG.add("ring_plan", _plan, "swap what is sent and received", swap=True)


@WRONG("ring_plan")
def plan_one_way(rank, size, direction):
    """Ignore the direction."""
    return _plan(rank, size, 1)


@WRONG("ring_plan")
def plan_negative(rank, size, direction):
    """Forget the modulo."""
    return [(rank - direction * step, rank - direction * (step + 1)) for step in range(1, size)]


@WRONG("ring_plan")
def plan_own_only(rank, size, direction):
    """Send the own piece again and again."""
    return [(rank, (rank - direction) % size)] * (size - 1)


# -- reduce_scatter and ring_all_reduce ----------------------------------------------------------------


def _scatter(
    comm,
    array,
    direction=1,
    copy=True,
    first=0,
    way=None,
    receive_first=False,
    whole=False,
    add=True,
    mean=False,
    twice=False,
    result="own",
    floor=False,
    steps=0,
    dtype=None,
):
    N, r, d = comm.size, comm.rank, way or direction
    work = array.copy() if copy else array
    edges = [i * (len(work) // N) for i in range(N + 1)] if floor else bounds_by_formula(len(work), N)
    parts = [work[low:high] for low, high in itertools.pairwise(edges)]
    for sent, received in _plan(r, N, d, shift=first, steps=steps):
        if not receive_first:
            comm.send((r + d) % N, work if whole else parts[sent])
        got = comm.recv((r - d) % N)
        if receive_first:
            comm.send((r + d) % N, parts[sent])
        if whole:
            got = got[edges[received] : edges[received + 1]]
        if add:
            parts[received] += got
        else:
            parts[received][:] = got
        if twice:
            comm.send((r + d) % N, parts[received][:0])
            comm.recv((r - d) % N)
    own = parts[r] / N if mean else parts[r]
    return {"own": own if dtype is None else own.astype(dtype), "all": work, "none": None}[result]


RIGHT("reduce_scatter")(_scatter)


@RIGHT("reduce_scatter")
def scatter_carrying(comm, array, direction):
    """Carry the sum along instead of storing it; np.array_split."""
    N, r = comm.size, comm.rank
    parts = np.array_split(array, N)
    carried = parts[(r - direction) % N]
    for k in range(2, N + 1):
        comm.send((r + direction) % N, carried)
        carried = comm.recv((r - direction) % N) + parts[(r - direction * k) % N]
    return carried + 0


@RIGHT("reduce_scatter")
def scatter_dictionary(comm, array, direction):
    """Pieces in a dictionary; empty pieces are not sent."""
    N, r = comm.size, comm.rank
    edges = bounds_by_formula(array.size, N)
    parts = {i: np.array(array[edges[i] : edges[i + 1]]) for i in range(N)}
    for sent, received in plan_from_the_end(r, N, direction):
        if parts[sent].size:
            comm.send((r + direction) % N, parts[sent])
        if parts[received].size:
            parts[received] = parts[received] + comm.recv((r - direction) % N)
    return parts[r]


WRONG.add("reduce_scatter", _scatter, "add into the input", copy=False)
WRONG.add("reduce_scatter", _scatter, "begin with the own piece", first=-1)
WRONG.add("reduce_scatter", _scatter, "go the same way always", way=1)
WRONG.add("reduce_scatter", _scatter, "receive first: all wait", receive_first=True)
WRONG.add("reduce_scatter", _scatter, "send the whole array", whole=True)
WRONG.add("reduce_scatter", _scatter, "overwrite", add=False)
WRONG.add("reduce_scatter", _scatter, "take the mean", mean=True)
WRONG.add("reduce_scatter", _scatter, "return everything", result="all")
WRONG.add("reduce_scatter", _scatter, "return nothing", result="none")
WRONG.add("reduce_scatter", _scatter, "lose the remainder", floor=True)
WRONG.add("reduce_scatter", _scatter, "stop a step early", steps=-1)
WRONG.add("reduce_scatter", _scatter, "go a step too far", steps=1)
WRONG.add("reduce_scatter", _scatter, "send twice as many messages", twice=True)
WRONG.add("reduce_scatter", _scatter, "change the dtype", dtype="float32")


@WRONG("reduce_scatter")
def scatter_over_zero(comm, array, direction):
    """Send everything to rank 0, which adds up and sends the pieces back."""
    if comm.rank:
        comm.send(0, array)
        return comm.recv(0)
    total = array + sum(comm.recv(other) for other in range(1, comm.size))
    parts = np.array_split(total, comm.size)
    for other in range(1, comm.size):
        comm.send(other, parts[other])
    return parts[0]


@WRONG("reduce_scatter")
def scatter_library(comm, array, direction):
    """Call what is there."""
    return Links.reduce_scatter(comm, np.array_split(array, comm.size))


class Links:
    """What a learner finds on ``comm``."""

    @staticmethod
    def reduce_scatter(comm, parts):
        return comm.reduce_scatter(parts)


@WRONG("reduce_scatter")
def scatter_last_rank_silent(comm, array, direction):
    """Rank N - 1 sends nothing in its last step."""
    N, r = comm.size, comm.rank
    parts = np.array_split(array, N)
    for step, (sent, received) in enumerate(_plan(r, N, direction), 1):
        if r < N - 1 or step < N - 1:
            comm.send((r + direction) % N, parts[sent])
        parts[received] = parts[received] + comm.recv((r - direction) % N)
    return parts[r]


@WRONG("reduce_scatter")
def scatter_negative_rank(comm, array, direction):
    """Forget the modulo of the neighbour."""
    N, r = comm.size, comm.rank
    parts = np.array_split(array, N)
    for sent, received in _plan(r, N, direction):
        comm.send(r + direction, parts[sent])
        parts[received] = parts[received] + comm.recv(r - direction)
    return parts[r]


@WRONG("reduce_scatter")
def scatter_stray(comm, array, direction):
    """Send once more at the end."""
    result = _scatter(comm, array, direction)
    if comm.size > 1:
        comm.send((comm.rank + direction) % comm.size, result)
    return result


def _reduce(
    comm, array, direction=1, gather=0, mean=False, shape=True, only_scatter=False, dtype=None, **options
):
    N, r, d = comm.size, comm.rank, direction
    own = _scatter(comm, array.ravel(), d, **options)
    if only_scatter:
        return own
    parts = [own] * N
    for step in range(N - 1):
        comm.send((r + d) % N, parts[(r - d * step) % N])
        parts[(r - d * (step + 1) + gather) % N] = comm.recv((r - d) % N)
    total = np.concatenate(parts)
    total = total / N if mean else total
    total = total if dtype is None else total.astype(dtype)
    return total.reshape(array.shape) if shape else total


RIGHT("ring_all_reduce")(_reduce)


@RIGHT("ring_all_reduce")
def reduce_other_owner(comm, array, direction):
    """Rank r ends the first half with piece r + d, as many descriptions of the ring have it."""
    N, r, d = comm.size, comm.rank, direction
    result = array.flatten()
    edges = bounds_by_sum(result.size, N)
    place = lambda i: slice(edges[i % N], edges[i % N + 1])  # noqa: E731
    for k in range(N - 1):
        comm.send((r + d) % N, result[place(r - d * k)])
        result[place(r - d * (k + 1))] += comm.recv((r - d) % N)
    for k in range(N - 1):
        comm.send((r + d) % N, result[place(r + d - d * k)])
        result[place(r - d * k)] = comm.recv((r - d) % N)
    return result.reshape(array.shape)


@RIGHT("ring_all_reduce")
def reduce_carrying(comm, array, direction):
    """One loop of 2(N - 1) steps."""
    N, r, d = comm.size, comm.rank, direction
    parts = [part.copy() for part in np.array_split(array.reshape(-1), N)]
    for k in range(1, 2 * N - 1):
        comm.send((r + d) % N, parts[(r - d * k) % N])
        got, i = comm.recv((r - d) % N), (r - d * (k + 1)) % N
        parts[i] = parts[i] + got if k < N else got
    return np.concatenate(parts).reshape(array.shape)


WRONG.add("ring_all_reduce", _reduce, "take the mean", mean=True)
WRONG.add("ring_all_reduce", _reduce, "lose the shape", shape=False)
WRONG.add("ring_all_reduce", _reduce, "return the own piece", only_scatter=True)
WRONG.add("ring_all_reduce", _reduce, "put the pieces one off", gather=1)
WRONG.add("ring_all_reduce", _reduce, "add into the input", copy=False)
WRONG.add("ring_all_reduce", _reduce, "lose the remainder", floor=True)
WRONG.add("ring_all_reduce", _reduce, "stop a step early", steps=-1)
WRONG.add("ring_all_reduce", _reduce, "receive first: all wait", receive_first=True)
WRONG.add("ring_all_reduce", _reduce, "send whole arrays first", whole=True)
WRONG.add("ring_all_reduce", _reduce, "go the same way always", way=1)
WRONG.add("ring_all_reduce", _reduce, "return float64", dtype="float64")


@WRONG("ring_all_reduce")
def reduce_over_zero(comm, array, direction):
    """Everything to rank 0 and back."""
    if comm.rank:
        comm.send(0, array)
        return comm.recv(0)
    total = array + sum(comm.recv(other) for other in range(1, comm.size))
    for other in range(1, comm.size):
        comm.send(other, total)
    return total


@WRONG("ring_all_reduce")
def reduce_whole_ring(comm, array, direction):
    """Pass whole arrays round: N - 1 times K, and each adds in another order."""
    N, r = comm.size, comm.rank
    total = passing = array
    for _ in range(N - 1):
        comm.send((r + direction) % N, passing)
        passing = comm.recv((r - direction) % N)
        total = total + passing
    return total + 0


@WRONG("ring_all_reduce")
def reduce_library(comm, array, direction):
    """Call what is there."""
    return comm.all_reduce(array)


@WRONG("ring_all_reduce")
def reduce_then_whole(comm, array, direction):
    """Gather by sending whole arrays."""
    N, r, d = comm.size, comm.rank, direction
    result = array.flatten()
    edges = bounds_by_formula(result.size, N)
    own = _scatter(comm, result, d)
    result[edges[r] : edges[r + 1]] = own
    for step in range(N - 1):
        comm.send((r + d) % N, result)
        i = (r - d * (step + 1)) % N
        result[edges[i] : edges[i + 1]] = comm.recv((r - d) % N)[edges[i] : edges[i + 1]]
    return result.reshape(array.shape)


@WRONG("ring_all_reduce")
def reduce_in_own_order(comm, array, direction):
    """Gather everyone's pieces, not the sums: each adds in its own order."""
    N, r, d = comm.size, comm.rank, direction
    found = [array]
    for _ in range(N - 1):
        comm.send((r + d) % N, found[-1])
        found.append(comm.recv((r - d) % N))
    return np.sum(found, axis=0, dtype=array.dtype)


@WRONG("ring_all_reduce")
def reduce_forever(comm, array, direction):
    """Rank 0 never ends."""
    while comm.rank == 0:
        time.sleep(0.1)
    return _reduce(comm, array, direction)


# -- buckets -------------------------------------------------------------------------------------------


def _fill(sizes, first, cap, reverse=True, over=False, under=False, last=True, flip=False, restart=True):
    numbers = range(len(sizes))
    numbers = reversed(numbers) if reverse else numbers
    found, current, total, limit = [], [], 0, first
    for number in numbers:
        if under and current and total + sizes[number] > limit:
            found, current, total, limit = [*found, current], [], 0, cap
        current.append(number)
        total += sizes[number]
        if not under and (total > limit if over else total >= limit):
            found.append(current)
            current, total, limit = [], 0 if restart else total - limit, cap
    if current and last:
        found.append(current)
    return [bucket[::-1] for bucket in found] if flip else found


RIGHT("buckets")(_fill)


@RIGHT("buckets")
def buckets_recursive(sizes, first, cap):
    """Cut the first bucket off and go on with the rest."""
    found, rest, limit = [], list(range(len(sizes)))[::-1], first
    while rest:
        total = np.cumsum([sizes[i] for i in rest])
        cut = int(np.argmax(total >= limit)) + 1 if total[-1] >= limit else len(rest)
        found, rest, limit = [*found, tuple(rest[:cut])], rest[cut:], cap
    return tuple(found)


@RIGHT("buckets")
def buckets_popping(sizes, first, cap):
    """A copy of the list is emptied."""
    left, found, full = list(sizes), [], True
    while left:
        if full:
            found.append([])
            room = first if len(found) == 1 else cap
        found[-1].append(len(left) - 1)
        room -= left.pop()
        full = room <= 0
    return found


WRONG.add("buckets", _fill, "from the first tensor on", reverse=False)
WRONG.add("buckets", _fill, "close above the limit only", over=True)
WRONG.add("buckets", _fill, "never exceed the limit", under=True)
WRONG.add("buckets", _fill, "forget the last bucket", last=False)
WRONG.add("buckets", _fill, "in rising order within a bucket", flip=True)
WRONG.add("buckets", _fill, "carry the excess over", restart=False)


@WRONG("buckets")
def buckets_one_limit(sizes, first, cap):
    """Forget the first limit."""
    return _fill(sizes, cap, cap)


@WRONG("buckets")
def buckets_first_always(sizes, first, cap):
    """Use the first limit for all."""
    return _fill(sizes, first, first)


@WRONG("buckets")
def buckets_of_sizes(sizes, first, cap):
    """Sizes instead of numbers."""
    return [[sizes[i] for i in bucket] for bucket in _fill(sizes, first, cap)]


@WRONG("buckets")
def buckets_popping_the_input(sizes, first, cap):
    """Empty the list that was given."""
    found = _fill(sizes, first, cap)
    sizes.clear()
    return found


@WRONG("buckets")
def buckets_single_tensors(sizes, first, cap):
    """Look at each tensor's own size only."""
    found = [[]]
    for i in reversed(range(len(sizes))):
        found[-1].append(i)
        if sizes[i] >= (first if len(found) == 1 else cap):
            found.append([])
    return [bucket for bucket in found if bucket]


@WRONG("buckets")
def buckets_empty_end(sizes, first, cap):
    """Leave an empty bucket at the end."""
    return [*_fill(sizes, first, cap), []]


# -- train ---------------------------------------------------------------------------------------------


def _train(
    comm,
    weights,
    X,
    Y,
    gradients,
    rate,
    batch,
    first,
    cap,
    start="broadcast",
    empty="zeros",
    weigh="count",
    calls="buckets",
    update="new",
    drop=False,
    factor=1.0,
    split="bounds",
    order="bucket",
    shuffle=False,
):
    N, r, weights = comm.size, comm.rank, list(weights)
    if start == "broadcast":
        weights = [comm.broadcast(weight) for weight in weights]
    elif start == "last":
        weights = [comm.broadcast(weight, root=N - 1) for weight in weights]
    elif start == "mean":
        weights = [comm.all_reduce(weight) / N for weight in weights]
    elif start == "sum of zeros":
        weights = [comm.all_reduce(weight if r == 0 else 0 * weight) for weight in weights]
    elif start == "once":
        weights = [comm.broadcast(weights[0]), *weights[1:]]
    sizes = [weight.nbytes for weight in weights]
    groups = {
        "buckets": _fill(sizes, first, cap),
        "tensors": [[i] for i in range(len(sizes))],
        "one": [list(range(len(sizes)))],
        "none": [],
    }[calls]
    for begin in range(0, len(X), batch):
        rows = np.arange(begin, min(begin + batch, len(X)))
        if drop and len(rows) < batch:
            break
        if shuffle:
            rows = np.random.permutation(rows)
        if split == "bounds":
            mine = np.array_split(rows, N)[r]
        elif split == "stride":
            mine = rows[r::N]
        elif split == "floor":
            mine = rows[r * (len(rows) // N) : (r + 1) * (len(rows) // N)]
        elif split == "rank 0":
            mine = rows[: 0 if r else None]
        else:
            mine = rows
        if empty == "skip" and not len(mine):
            continue
        own = gradients(weights, X[mine], Y[mine])
        if empty == "zeros" and not len(mine):
            own = [np.zeros_like(weight) for weight in weights]
        share = {
            "count": len(mine) / len(rows),
            "mean": 1 / N,
            "sum": 1.0,
            "twice": len(mine) / len(rows) / N,
        }
        for group in groups:
            line = np.concatenate([own[i].ravel() for i in group]) * share[weigh]
            total = comm.all_reduce(line) * factor
            for i in group if order == "bucket" else sorted(group):
                part, total = np.split(total, [weights[i].size])
                step = rate * part.reshape(weights[i].shape)
                if update == "new":
                    weights[i] = weights[i] - step
                else:
                    weights[i] -= step
        if calls == "none":
            weights = [weight - rate * g for weight, g in zip(weights, own, strict=True)]
    return weights


RIGHT("train")(_train)
RIGHT.add(
    "train", _train, "start with a sum of zeros, rows taken in turn", start="sum of zeros", split="stride"
)


@RIGHT("train")
def train_sums(comm, weights, X, Y, gradients, rate, batch, first, cap):
    """Own rings; sums of gradients with the count in mind; empty ranks are not asked."""
    flat = np.concatenate([weight.ravel() for weight in weights])
    flat = comm.broadcast(flat)
    cuts = np.cumsum([weight.size for weight in weights])[:-1]
    shapes = [weight.shape for weight in weights]
    model = [part.reshape(shape).copy() for part, shape in zip(np.split(flat, cuts), shapes, strict=True)]
    plan = buckets_recursive([weight.nbytes for weight in model], first, cap)
    for begin in range(0, len(X), batch):
        x, y = X[begin : begin + batch], Y[begin : begin + batch]
        low, high = bounds_by_formula(len(x), comm.size)[comm.rank :][:2]
        sums = [np.zeros(shape) for shape in shapes]
        if low < high:
            sums = [(high - low) * g for g in gradients(model, x[low:high], y[low:high])]
        for bucket in plan:
            total = reduce_carrying(comm, np.concatenate([sums[i].ravel() for i in bucket]), 1)
            place = 0
            for i in bucket:
                model[i] -= rate / len(x) * total[place : place + model[i].size].reshape(shapes[i])
                place += model[i].size
    return tuple(model)


WRONG.add("train", _train, "start from the own weights", start="own")
WRONG.add("train", _train, "start from the last rank's weights", start="last")
WRONG.add("train", _train, "start from the mean of the weights", start="mean")
WRONG.add("train", _train, "broadcast the first weight only", start="once")
WRONG.add("train", _train, "skip a batch without rows", empty="skip")
WRONG.add("train", _train, "keep NaN", empty="nothing")
WRONG.add("train", _train, "mean of means", weigh="mean")
WRONG.add("train", _train, "sum of means", weigh="sum")
WRONG.add("train", _train, "divide twice", weigh="twice")
WRONG.add("train", _train, "one message a tensor", calls="tensors")
WRONG.add("train", _train, "one message for all", calls="one")
WRONG.add("train", _train, "no communication", calls="none")
WRONG.add("train", _train, "drop the last batch", drop=True)
WRONG.add("train", _train, "lose the remainder", split="floor")
WRONG.add("train", _train, "everyone takes the whole batch", split="all", weigh="mean")
WRONG.add("train", _train, "rank 0 computes everything", split="rank 0")
WRONG.add("train", _train, "unpack in another order", order="sorted")
WRONG.add("train", _train, "shuffle differently on every rank", shuffle=True)
WRONG.add("train", _train, "go uphill", factor=-1.0)


@WRONG("train")
def train_in_place(comm, weights, X, Y, gradients, rate, batch, first, cap):
    """Update the arrays that were given."""
    for weight in weights:
        weight[...] = comm.broadcast(weight)
    return _train(comm, weights, X, Y, gradients, rate, batch, first, cap, start="own", update="in place")


@WRONG("train")
def train_list_changed(comm, weights, X, Y, gradients, rate, batch, first, cap):
    """Put the new weights into the list that was given."""
    weights[:] = _train(comm, weights, X, Y, gradients, rate, batch, first, cap)
    return weights


@WRONG("train")
def train_everything_on_each(comm, weights, X, Y, gradients, rate, batch, first, cap):
    """No all-reduce: each computes the whole batch."""
    weights = [comm.broadcast(weight) for weight in weights]
    for begin in range(0, len(X), batch):
        rows = slice(begin, begin + batch)
        slopes = gradients(weights, X[rows], Y[rows])
        weights = [weight - rate * g for weight, g in zip(weights, slopes, strict=True)]
    return weights
