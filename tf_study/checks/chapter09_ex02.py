"""Checks of practice 9.2: a Llama block on several devices: cuts, f and g, pieces, tokens, attention, gradients.

The devices are threads (:mod:`tf_study.threads`) with the communicator of the real processes, since most
answers are called a dozen times. The reference is the unsplit ``tf_study.models.llama``.
"""

import functools
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from tf_study.expect import (
    Mismatch,
    expect,
    expect_array,
    expect_close,
    expect_parts,
    expect_ranks,
    expect_type,
    untouched,
)
from tf_study.models.llama import Block, Config, rope_frequencies, rotate
from tf_study.practice import problem

Weights = Mapping[str, np.ndarray]

AXES = {  # of the layout (outputs, inputs) of Hugging Face
    "self_attn.q_proj.weight": 0,
    "self_attn.k_proj.weight": 0,
    "self_attn.v_proj.weight": 0,
    "self_attn.o_proj.weight": 1,
    "mlp.gate_proj.weight": 0,
    "mlp.up_proj.weight": 0,
    "mlp.down_proj.weight": 1,
    "input_layernorm.weight": None,
    "post_attention_layernorm.weight": None,
}
OUTER = {"model.embed_tokens.weight": 0, "lm_head.weight": 0, "model.norm.weight": None}
KEY_VALUE = ("k_proj", "v_proj")
LAYOUTS = ((4, 4, 2), (4, 2, 2), (4, 1, 2), (8, 2, 4))  # heads, key-value heads, devices


def _config(heads: int, kv_heads: int) -> Config:
    """Sizes that all differ, so that a mixed-up axis is noticed."""
    return Config(24, width=12, layers=2, heads=heads, kv_heads=kv_heads, hidden=20, head_dim=4)


def _layer(c: Config, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the weights of one block by their names within it."""
    q, kv = c.heads * c.head_dim, c.kv_heads * c.head_dim
    rows = {"q_proj": q, "k_proj": kv, "v_proj": kv, "o_proj": c.width}
    rows |= {"gate_proj": c.hidden, "up_proj": c.hidden, "down_proj": c.width}
    columns = {"o_proj": q, "down_proj": c.hidden}
    state = {}
    for name in AXES:
        part = name.split(".")[-2]
        if part in rows:
            shape = (rows[part], columns.get(part, c.width))
            state[name] = rng.normal(size=shape) / shape[1] ** 0.5
        else:
            state[name] = rng.uniform(0.5, 1.5, c.width)
    return {name: value.astype("float32") for name, value in state.items()}


def _piece(name: str, value: np.ndarray, rank: int, size: int, kv_heads: int) -> np.ndarray:
    axis = OUTER[name] if name in OUTER else AXES[name.partition("layers.")[2].partition(".")[2] or name]
    if axis is None:
        return value
    if any(part in name for part in KEY_VALUE) and kv_heads < size:
        return np.split(value, kv_heads)[rank * kv_heads // size]
    return np.split(value, size, axis)[rank]


def _pieces(w: Weights, size: int, c: Config) -> list[dict[str, np.ndarray]]:
    return [
        {name: _piece(name, value, rank, size, c.kv_heads) for name, value in w.items()}
        for rank in range(size)
    ]


@problem("자르는 축", minutes=5)
def cut_axis(answer):
    """Every kind of weight, in several layers."""
    names = dict(OUTER)
    for index in (0, 7, 31):
        names |= {f"model.layers.{index}.{name}": axis for name, axis in AXES.items()}
    for name, axis in names.items():
        got = answer(name)
        if axis is None:
            expect(got is None, f"{name}: 모든 장치에 통째로 두므로 None이어야 하는데 {got!r}입니다.")
            continue
        expect(got is not None, f"{name}: 나누어야 하는데 None입니다.")
        cause = "Hugging Face의 가중치는 (출력, 입력) 모양이라 열로 자르는 것은 축 0, 행으로 자르는 것은 축 1입니다."
        expect_close(got, axis, name, tol=0, mistakes={cause: 1 - axis})


@problem("f와 g", minutes=5)
def conjugates(answer):
    """Values, gradients and who sends when, for two, three and four devices."""
    rng = np.random.default_rng(902)
    for size, shape, dtype in ((2, (2, 3, 4), "float32"), (3, (5,), "float64"), (4, (1, 7), "float32")):
        case = f"장치 {size}개"
        x, dy = (rng.normal(size=(size, *shape)).astype(dtype) for _ in range(2))

        def run(comm, x=x, dy=dy, case=case):
            found = []
            for name, operator in zip("fg", expect_parts(answer(comm), ("f", "g"), case), strict=True):
                given = tf.constant(x[comm.rank])
                start = sum(comm.sent.values())
                with tf.GradientTape() as tape:
                    tape.watch(given)
                    y = operator(given)
                where = f"{case}, {comm.rank}번, {name}의 순전파"
                expect(tf.is_tensor(y), f"{where}: 결과가 텐서가 아니라 {type(y).__name__}입니다.")
                middle = sum(comm.sent.values())
                slope = tape.gradient(y, given, output_gradients=tf.constant(dy[comm.rank]))
                found.append((y, slope, middle - start, sum(comm.sent.values()) - middle))
            return found

        for rank, results in enumerate(expect_ranks(run, size, case, timeout=1.5)):
            for name, (y, slope, forward, backward) in zip("fg", results, strict=True):
                where = f"{case}, {rank}번, {name}의"
                same = {"더하면 안 되는 곳에서 더했습니다.": x.sum(0)}
                wanted = x[rank] if name == "f" else x.sum(0)
                mistakes = same if name == "f" else _unsummed(x, rank)
                expect_close(y, wanted, f"{where} 순전파", dtype=dtype, mistakes=mistakes)
                expect(slope is not None, f"{where} 역전파: 기울기가 흐르지 않습니다.")
                wanted = dy.sum(0) if name == "f" else dy[rank]
                same = {
                    "역전파에서 또 더했습니다. 모든 장치가 온전한 기울기를 이미 가지고 있습니다.": dy.sum(0)
                }
                mistakes = same if name == "g" else _unsummed(dy, rank)
                expect_close(slope, wanted, f"{where} 역전파", dtype=dtype, mistakes=mistakes)
                silent, way = (forward, "순전파") if name == "f" else (backward, "역전파")
                expect(not silent, f"{where} {way}: 통신이 필요 없는데 {silent}바이트를 보냈습니다.")


def _unsummed(x: np.ndarray, rank: int) -> dict[str, np.ndarray]:
    return {
        "장치끼리 더하지 않았습니다.": x[rank],
        "더하지 않고 평균했습니다.": x.mean(0),
    }


@problem("가중치 조각", minutes=10)
def shard(answer):
    """The whole state of small models, with more and with fewer key-value heads than devices."""
    for heads, kv_heads, size in ((4, 4, 1), *LAYOUTS, (4, 2, 4)):
        c = _config(heads, kv_heads)
        rng = np.random.default_rng(903)
        state = {
            f"model.layers.{i}.{name}": value for i in range(2) for name, value in _layer(c, rng).items()
        }
        state |= {
            name: rng.normal(size=(c.width,) if axis is None else (c.vocab, c.width))
            for name, axis in OUTER.items()
        }
        for rank in range(size):
            case = f"KV 헤드 {kv_heads}개, 장치 {size}개, {rank}번"
            given = dict(state)
            with untouched(case, *state.values()):
                got = answer(given, rank, size, kv_heads)
            same = given.keys() == state.keys() and all(given[name] is state[name] for name in state)
            expect(same, f"{case}: 받은 dict를 바꾸었습니다. 새 dict를 만들어 돌려주세요.")
            expect_type(got, dict, case)
            missing, extra = sorted(set(state) - set(got)), sorted(set(got) - set(state))
            expect(not missing, f"{case}: {missing[:1]}이 없습니다.")
            expect(not extra, f"{case}: {extra[:1]}은 받은 적이 없는 이름입니다.")
            for name, value in state.items():
                wanted = _piece(name, value, rank, size, kv_heads)
                mistakes = {}
                if kv_heads < size and any(part in name for part in KEY_VALUE):
                    other = np.split(value, kv_heads)[rank % kv_heads]
                    mistakes = {"이 장치의 쿼리 헤드가 보는 KV 헤드가 아닙니다.": other}
                expect_close(got[name], wanted, f"{case}, {name}", tol=0, mistakes=mistakes)


@problem("로짓을 모으지 않는 다음 토큰", minutes=10)
def next_token(answer):
    """Whole numbers, so that equal logits are equal; few bytes; pieces of different sizes."""
    rng = np.random.default_rng(904)
    cases = {
        "장치 2개": (2, (300, 300), 3),
        "장치 3개, 크기가 다른 조각": (3, (101, 250, 90), 4),
        "토큰 하나": (2, (64, 64), 1),
        "모든 로짓이 음수": (2, (120, 120), 2),
        "같은 로짓": (3, (40, 40, 40), 3),
    }
    for case, (size, rows, batch) in cases.items():
        head = rng.integers(-3, 4, (sum(rows), 16)).astype("float32")
        hidden = rng.integers(-3, 4, (batch, 16)).astype("float32")
        if case == "모든 로짓이 음수":
            head, hidden = -np.abs(head) - 1, np.abs(hidden) + 1
        if case == "같은 로짓":
            head = np.tile(head[:40], (3, 1))
        starts = np.concatenate([[0], np.cumsum(rows)])
        logits = hidden @ head.T
        parts = [logits[:, low:high] for low, high in zip(starts[:-1], starts[1:], strict=True)]
        local = np.stack([part.argmax(1) for part in parts])
        peaks = np.stack([part.max(1) for part in parts])
        best = peaks.argmax(0)
        mistakes = {
            "조각 안의 번호입니다. 조각이 시작하는 번호를 더하세요.": local[best, np.arange(batch)],
            "번호가 가장 큰 것을 골랐습니다. 로짓이 가장 큰 것을 고릅니다.": (local + starts[:-1, None]).max(
                0
            ),
            "첫 장치의 조각만 보았습니다.": local[0],
            "로짓이 같으면 번호가 작은 것을 고릅니다.": logits.shape[1] - 1 - logits[:, ::-1].argmax(1),
        }

        def run(comm, hidden=hidden, head=head, starts=starts):
            low, high = starts[comm.rank], starts[comm.rank + 1]
            got = answer(comm, hidden.copy(), head[low:high].copy(), int(low))
            return got, sum(comm.sent.values())

        for rank, (got, sent) in enumerate(expect_ranks(run, size, case)):
            where = f"{case}, {rank}번"
            kind = expect_array(got, where).dtype
            expect(kind.kind in "iu", f"{where}: 토큰 번호는 정수여야 하는데 자료형이 {kind}입니다.")
            expect_close(got, logits.argmax(1), where, tol=0, mistakes=mistakes)
            limit = 16 * batch * (size - 1)
            expect(
                sent <= limit,
                f"{where}: {sent}바이트를 보냈습니다. 토큰마다 최댓값과 번호만 모으면 {limit}바이트로 넉넉합니다.",
            )


def _mix(x, w: Weights, c: Config, turn=True, causal=True, scale=True, tile=False):
    """Grouped-query attention of the heads that ``w`` holds, from its definition; options are mistakes."""
    length, size = x.shape[1], c.head_dim

    def split(name):
        z = tf.einsum("btd,nd->btn", x, w[f"self_attn.{name}_proj.weight"])
        z = tf.transpose(tf.reshape(z, (*x.shape[:2], -1, size)), (0, 2, 1, 3))
        frequencies = rope_frequencies(size, c.rope_base)
        return rotate(z, tf.range(length), frequencies) if turn and name in "qk" else z

    q, k, v = split("q"), split("k"), split("v")
    times = q.shape[1] // k.shape[1]
    k, v = ((tf.tile(z, (1, times, 1, 1)) if tile else tf.repeat(z, times, 1)) for z in (k, v))
    scores = tf.einsum("bhtd,bhsd->bhts", q, k) / (size**0.5 if scale else 1)
    if causal:
        scores = tf.where(tf.linalg.band_part(tf.ones((length, length)), -1, 0) > 0, scores, -1e9)
    mixed = tf.transpose(tf.nn.softmax(scores) @ v, (0, 2, 1, 3))
    return tf.reshape(mixed, (*x.shape[:2], -1)) @ tf.transpose(w["self_attn.o_proj.weight"])


def _normalized(x, gain, c: Config):
    return x * tf.math.rsqrt(tf.reduce_mean(x * x, -1, keepdims=True) + c.eps) * gain


def _ffn(x, w: Weights):
    gate, up, down = (tf.transpose(w[f"mlp.{name}_proj.weight"]) for name in ("gate", "up", "down"))
    return (tf.nn.silu(x @ gate) * (x @ up)) @ down


def _blocked(x, pieces, c: Config, times=1, norm=True):
    """Return what a block gives that adds up these pieces; ``times`` is how often the residual is counted."""
    for name, layer in (
        ("input_layernorm", lambda z, w: _mix(z, w, c)),
        ("post_attention_layernorm", _ffn),
    ):
        parts = [layer(_normalized(x, w[f"{name}.weight"], c) if norm else x, w) for w in pieces]
        x = times * x + tf.add_n(parts)
    return x


def _whole(c: Config, w: Weights, layer: Callable[[Block], Callable] = lambda block: block):
    """Return a function ``x, dy`` → output, gradient of x, gradients by name, of the unsplit block."""
    block = Block(c)
    a, ffn = block.attention, block.feed_forward
    kernels = (a.query, a.key, a.value, a.out, ffn.gate, ffn.up, ffn.down)
    holders = [layer.kernel for layer in kernels]
    holders += [block.attention_norm.gain, block.feed_forward_norm.gain]
    for holder, value in zip(holders, w.values(), strict=True):
        holder.assign(value.T)

    def run(x, dy):
        given = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(given)
            y = layer(block)(given)[0]
        slope, *slopes = tape.gradient(y, [given, *holders], output_gradients=tf.constant(dy))
        named = zip(w, slopes, strict=True)
        return y.numpy(), slope.numpy(), {name: s.numpy().T for name, s in named if s is not None}

    return run


def _drawn(seed: int, heads: int, kv_heads: int):
    c, rng = _config(heads, kv_heads), np.random.default_rng(seed)
    w = _layer(c, rng)
    x, dy = (rng.normal(size=(2, 5, c.width)).astype("float32") for _ in range(2))
    return c, w, x, dy


@functools.cache
def _attended(heads: int, kv_heads: int) -> tuple:
    """What is drawn for :func:`attention`, and what the unsplit attention makes of it; once for all answers."""
    c, w, x, dy = _drawn(905, heads, kv_heads)
    return c, w, x, dy, *_whole(c, w, lambda block: block.attention)(x, dy)


@functools.cache
def _through_block(heads: int, kv_heads: int) -> tuple:
    """The same for :func:`block`."""
    c, w, x, dy = _drawn(906, heads, kv_heads)
    return c, w, x, dy, *_whole(c, w)(x, dy)


@functools.cache
def _learnt(heads: int, kv_heads: int) -> tuple:
    """What is drawn for :func:`gradients`, the loss and its gradients."""
    c, w, x, target = _drawn(907, heads, kv_heads)
    unsplit = _whole(c, w)
    y = unsplit(x, target)[0]
    return c, w, x, target, np.mean((y - target) ** 2), unsplit(x, 2 * (y - target) / y.size)[2]


@problem("나눈 어텐션", minutes=20)
def attention(answer):
    """The partial sums of all devices added up, and the gradients of every piece."""
    for heads, kv_heads, size in ((4, 2, 1), *LAYOUTS):
        c, w, x, dy, y, slope, slopes = _attended(heads, kv_heads)
        case = f"쿼리 헤드 {heads}개, KV 헤드 {kv_heads}개, 장치 {size}개"
        outputs, inputs, gradients = [], [], []
        for rank, piece in enumerate(_pieces(w, size, c)):
            given = {name: tf.constant(value) for name, value in piece.items()}
            states = tf.constant(x)
            with tf.GradientTape() as tape:
                tape.watch([states, given])
                out = _fitting(answer, states, given, c, f"{case}, {rank}번")
            where = f"{case}, {rank}번의 부분합"
            expect(tf.is_tensor(out), f"{where}: 결과가 텐서가 아니라 {type(out).__name__}입니다.")
            expect(out.shape == x.shape, f"{where}: 모양이 {x.shape}이어야 하는데 {tuple(out.shape)}입니다.")
            found = tape.gradient(out, (states, given), output_gradients=tf.constant(dy))
            outputs.append(out)
            inputs.append(found[0])
            gradients.append(found[1])

        def mistakes(x=x, w=w, c=c):
            wrong = {
                "RoPE를 쓰지 않았습니다.": {"turn": False},
                "뒤의 토큰까지 보았습니다.": {"causal": False},
                "점수를 헤드 크기의 제곱근으로 나누지 않았습니다.": {"scale": False},
                "쿼리 헤드와 KV 헤드의 짝이 다릅니다. 이웃한 쿼리 헤드가 KV 헤드 하나를 함께 봅니다.": {
                    "tile": True
                },
            }
            return {text: _mix(x, w, c, **options) for text, options in wrong.items()}

        total = tf.add_n(outputs)
        expect_close(total, y, f"{case}, 부분합을 모두 더한 값", tol=2e-5, mistakes=mistakes)
        expect(
            all(part is not None for part in inputs), f"{case}: 출력에서 입력으로 기울기가 흐르지 않습니다."
        )
        expect_close(tf.add_n(inputs), slope, f"{case}, 입력의 기울기를 모두 더한 값", tol=2e-4)
        _expect_slopes(gradients, slopes, size, c, case)


def _fitting(answer: Callable, x, w: Mapping, c: Config, case: str):
    try:
        return answer(x, w, c)
    except (tf.errors.InvalidArgumentError, ValueError) as error:
        raise Mismatch(
            f"{case}: 모양이 맞지 않습니다. 헤드의 수를 c가 아니라 조각의 모양에서 구했는지 보세요. "
            f"({str(error).splitlines()[0][:120]})"
        ) from None


def _expect_slopes(found: list[Mapping], slopes: Weights, size: int, c: Config, case: str) -> None:
    """The gradients of the pieces are the pieces of the gradient; those of copies add up to it."""
    copies = max(1, size // c.kv_heads)
    for name, whole in slopes.items():
        for rank in range(size):
            where = f"{case}, {rank}번, {name}의 기울기"
            got = found[rank].get(name)
            expect(got is not None, f"{where}: 기울기가 흐르지 않습니다.")
            if any(part in name for part in KEY_VALUE) and copies > 1:
                first = rank - rank % copies
                got = tf.add_n([tf.convert_to_tensor(found[r][name]) for r in range(first, first + copies)])
                where = f"{case}, {first}번부터 복사본 {copies}개, {name}의 기울기의 합"
            wanted = _piece(name, whole, rank, size, c.kv_heads)
            expect_close(got, wanted, where, tol=2e-4)


@problem("나눈 블록", minutes=15)
def block(answer):
    """Output, gradients and bytes on every rank, against the unsplit block."""
    for heads, kv_heads, size in LAYOUTS:
        c, w, x, dy, y, slope, slopes = _through_block(heads, kv_heads)
        case = f"KV 헤드 {kv_heads}개, 장치 {size}개"
        pieces = _pieces(w, size, c)

        def run(comm, x=x, dy=dy, c=c, pieces=pieces):
            given = {name: tf.constant(value) for name, value in pieces[comm.rank].items()}
            states = tf.constant(x)
            with tf.GradientTape() as tape:
                tape.watch([states, given])
                out = answer(comm, states, given, c)
            sent = sum(comm.sent.values())
            if not tf.is_tensor(out):
                raise Mismatch(f"{comm.rank}번: 결과가 텐서가 아니라 {type(out).__name__}입니다.")
            back = tape.gradient(out, (states, given), output_gradients=tf.constant(dy))
            return out, sent, *back

        results = expect_ranks(run, size, case)
        for rank, (out, _, back, _) in enumerate(results):
            where = f"{case}, {rank}번"

            def mistakes(x=x, c=c, pieces=pieces, rank=rank, size=size):
                return {
                    "g를 빠뜨려 이 장치의 부분합만 더했습니다.": _blocked(x, [pieces[rank]], c),
                    "잔차 연결을 g 안에서 더해 장치 수만큼 세었습니다.": _blocked(x, pieces, c, times=size),
                    "RMSNorm을 빠뜨렸습니다.": _blocked(x, pieces, c, norm=False),
                    "잔차 연결을 빠뜨렸습니다.": _blocked(x, pieces, c, times=0),
                }

            expect_close(out, y, f"{where}, 출력", tol=2e-5, mistakes=mistakes)
            expect(back is not None, f"{where}: 출력에서 입력으로 기울기가 흐르지 않습니다.")
            expect_close(back, slope, f"{where}, 입력의 기울기(나눈 계산의 입구마다 f가 있어야 합니다)", 2e-4)
        _expect_slopes([found for *_, found in results], slopes, size, c, case)
        sent, wanted = sum(sent for _, sent, *_ in results), 2 * 2 * (size - 1) * x.nbytes
        expect(
            sent <= wanted,
            f"{case}: 순전파에서 모두 {sent}바이트를 보냈습니다. 올리듀스 두 번이면 {wanted}바이트입니다.",
        )


@problem("복사본의 기울기", minutes=15)
def gradients(answer):
    """Loss and gradients of every rank equal the pieces of the unsplit ones, copies included."""
    for heads, kv_heads, size in (*LAYOUTS, (4, 1, 4)):
        c, w, x, target, loss, slopes = _learnt(heads, kv_heads)
        case = f"KV 헤드 {kv_heads}개, 장치 {size}개"
        pieces = _pieces(w, size, c)

        def run(comm, x=x, target=target, c=c, pieces=pieces):
            given = {name: tf.constant(value) for name, value in pieces[comm.rank].items()}
            return answer(comm, tf.constant(x), tf.constant(target), given, c)

        for rank, got in enumerate(expect_ranks(run, size, case)):
            where = f"{case}, {rank}번"
            found_loss, found = expect_parts(got, ("손실", "기울기"), where)
            expect_close(found_loss, loss, f"{where}, 손실")
            expect_type(found, dict, f"{where}, 기울기")
            missing = [name for name in w if found.get(name) is None]
            expect(not missing, f"{where}: {missing[:1]}의 기울기가 없습니다.")
            for name, whole in slopes.items():
                wanted = _piece(name, whole, rank, size, kv_heads)

                def mistakes(x=x, target=target, c=c, pieces=pieces, rank=rank, name=name, whole=whole):
                    return _unreduced(x, target, c, pieces, rank, name, whole)

                expect_close(found[name], wanted, f"{where}, {name}의 기울기", tol=1e-5, mistakes=mistakes)


def _unreduced(x, target, c: Config, pieces: list, rank: int, name: str, whole: np.ndarray) -> dict:
    """The gradients of one weight on a rank that adds what is none of a copy, or does not add the copies."""
    size = len(pieces)
    if not (any(part in name for part in KEY_VALUE) and c.kv_heads < size):
        every = [_piece(name, whole, other, size, c.kv_heads) for other in range(size)]
        return {"모든 장치에서 더했습니다. 복사본이 아니면 더하지 않습니다.": np.sum(every, 0)}
    held = [{key: tf.constant(value) for key, value in piece.items()} for piece in pieces]
    with tf.GradientTape() as tape:
        tape.watch(held)
        total = tf.reduce_mean((_blocked(x, held, c) - target) ** 2)
    own = tape.gradient(total, held[rank][name])
    right = _piece(name, whole, rank, size, c.kv_heads)
    return {
        "복사본마다 자기 쿼리 헤드에서 온 기울기만 있습니다. 복사본끼리 더하세요.": own,
        "복사본의 기울기를 더하지 않고 평균했습니다.": right * c.kv_heads / size,
    }
