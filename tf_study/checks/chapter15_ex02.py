"""Checks of practice 15.2, DPO with LoRA: float64 references, known mistakes by name, a bot taught on another split."""

import os
from dataclasses import replace
from importlib.util import find_spec
from unittest.mock import patch

import keras
import numpy as np
import tensorflow as tf
from numpy.random import default_rng
from scipy.special import expit, log_softmax

from tf_study import manners
from tf_study.expect import (
    Ungraded,
    expect,
    expect_array,
    expect_close,
    expect_parts,
    expect_returned,
    expect_type,
    untouched,
)
from tf_study.models.llama import LLAMA3_8B, Config
from tf_study.practice import TRAINING_SECONDS, problem

# Of the bot that is taught. The solution gives 1.0 and 1.0 on two splits, the bot as it is 0.0 and 1.0.
REFUSED = RIGHT = 0.9
SPLIT, QUESTIONS = 3, 2  # the seed of the requests' split, and the phrasings that are asked


@problem("답의 로그확률", minutes=5)
def sequence_logp(answer):
    """Masks with holes, one row, two positions, large logits; the gradient is that of a softmax."""
    rng = default_rng(1521)
    for count, length, words, size in ((3, 6, 5, 1.0), (1, 2, 3, 1.0), (4, 4, 4, 1.0), (2, 5, 7, 300.0)):
        case = f"logits ({count}, {length}, {words})" + ("" if size == 1 else f", 크기 {size:g}")
        logits = (size * rng.normal(size=(count, length, words))).astype("f")
        tokens = rng.integers(0, words, (count, length)).astype(np.int32)
        mask = (rng.random((count, length)) < 0.6).astype("f")
        mask[:, -1], mask[0, 0] = 1, 1  # The first token has nobody who predicts it.
        logs = log_softmax(logits.astype(float), -1)
        given = np.take_along_axis(logs[:, :-1], tokens[:, 1:, None], -1)[..., 0]
        same = np.take_along_axis(logs, tokens[..., None], -1)[..., 0]

        def mistakes(logits=logits, tokens=tokens, mask=mask, given=given, same=same):
            raw = np.take_along_axis(logits[:, :-1], tokens[:, 1:, None], -1)[..., 0]
            late = mask[:, 1:]
            return {
                "합이 아니라 답의 토큰 수로 나눈 평균입니다.": (given * late).sum(1) / late.sum(1),
                "합이 아니라 위치의 수로 나눈 평균입니다.": (given * late).mean(1),
                "마스크를 한 칸 밀지 않았습니다. 토큰과 같이 뒤의 T-1개를 씁니다.": (
                    given * mask[:, :-1]
                ).sum(1),
                "한 칸 밀지 않았습니다. 위치 t의 로짓은 t+1의 토큰을 예측합니다.": (same * mask).sum(1),
                "마스크를 쓰지 않아 질문과 빈칸까지 더했습니다.": given.sum(1),
                "로짓을 그대로 더했습니다. 로그 소프트맥스가 먼저입니다.": (raw * late).sum(1),
                "부호가 반대입니다. 로그확률은 0 이하입니다.": -(given * late).sum(1),
            }

        expected = (given * mask[:, 1:]).sum(1)
        got = answer(*map(tf.constant, (logits, tokens, mask)))
        expect_close(got, expected, case, tol=1e-5, dtype="float32", mistakes=mistakes)
        watched = tf.constant(logits)
        with tf.GradientTape() as tape:
            tape.watch(watched)
            total = tf.reduce_sum(answer(watched, tf.constant(tokens), tf.constant(mask)))
        slope = tape.gradient(total, watched)
        expect(
            slope is not None, f"{case}: 기울기가 logits로 흐르지 않습니다. TensorFlow의 연산으로 작성하세요."
        )
        wanted = np.zeros(logits.shape)
        wanted[:, :-1] = mask[:, 1:, None] * (np.eye(words)[tokens[:, 1:]] - np.exp(logs[:, :-1]))
        expect_close(slope, wanted, f"{case}의 기울기", tol=1e-4)


@problem("DPO 손실과 암묵적 보상", minutes=10)
def dpo_loss(answer):
    """Ordinary pairs, one pair, pairs far apart; the rewards come back, and gradients pass."""
    rng = default_rng(1522)
    for count, size, beta in ((5, 2.0, 0.1), (1, 3.0, 0.7), (4, 4000.0, 0.5), (3, 0.0, 0.3)):
        case = f"쌍 {count}개, beta {beta:g}" + (", 차이가 아주 큰 쌍" if size > 100 else "")
        parts = (size * rng.normal(size=(4, count)) - 5).astype("f")
        policy_w, policy_l, reference_w, reference_l = parts.astype(float)
        up, down = policy_w - reference_w, policy_l - reference_l
        z = beta * (up - down)
        loss = np.logaddexp(0, -z)

        def mistakes(known=(policy_w, policy_l), beta=beta, z=z, loss=loss):
            tied = beta * (known[0] - known[1])
            return {
                "부호가 반대입니다. 나은 답의 보상이 클수록 손실이 작아야 합니다.": np.logaddexp(0, z).mean(),
                "기준 모델을 빼지 않았습니다.": np.logaddexp(0, -tied).mean(),
                "쌍마다의 손실을 평균하지 않고 더했습니다.": loss.sum(),
                "beta를 곱하지 않았습니다.": np.logaddexp(0, -z / beta).mean(),
                "beta를 두 번 곱했습니다.": np.logaddexp(0, -z * beta).mean(),
                "차이를 먼저 평균했습니다. 쌍마다 손실을 구한 다음 평균합니다.": np.logaddexp(0, -z.mean()),
                "손실이 아니라 목적 함수입니다. 부호를 바꾸어 작을수록 좋게 하세요.": -loss.mean(),
                "로그를 취하지 않았습니다.": -expit(z).mean(),
            }

        got = expect_parts(answer(*map(tf.constant, parts), beta), ("손실", "보상", "보상"), case)
        expect_close(got[0], loss.mean(), f"{case}, 손실", tol=1e-5, dtype="float32", mistakes=mistakes)
        for name, reward, known, other in (("나은", got[1], up, down), ("못한", got[2], down, up)):
            expect_close(
                reward, beta * known, f"{case}, {name} 답의 보상", tol=1e-5,
                mistakes={"beta를 곱하지 않았습니다.": known, "두 답의 보상이 바뀌었습니다.": beta * other,
                          "부호가 반대입니다. 정책에서 기준을 뺍니다.": -beta * known},
            )  # fmt: skip
    parts = [tf.constant(row) for row in (2 * rng.normal(size=(4, 6))).astype("f")]
    with tf.GradientTape() as tape:
        tape.watch(parts)
        loss = answer(*parts, 0.2)[0]
    slopes = tape.gradient(loss, parts[:2])
    expect(
        None not in slopes, "정책의 로그확률로 기울기가 흐르지 않습니다. TensorFlow의 연산으로 작성하세요."
    )
    z = 0.2 * (parts[0] - parts[2] - parts[1] + parts[3]).numpy().astype(float)
    for sign, name, slope in ((-1, "나은", slopes[0]), (1, "못한", slopes[1])):
        expect_close(slope, sign * 0.2 * expit(-z) / 6, f"{name} 답의 기울기", tol=1e-5)


@problem("기울기의 무게", minutes=5)
def dpo_weight(answer):
    """Against the closed form; pairs far apart on either side."""
    rng = default_rng(1523)
    for count, size, beta in ((5, 2.0, 0.1), (1, 1.0, 0.7), (6, 500.0, 0.5)):
        case = f"쌍 {count}개, beta {beta:g}" + (", 차이가 아주 큰 쌍" if size > 100 else "")
        up, down = (size * rng.normal(size=(2, count))).astype("f")
        z = up.astype(float) - down

        def mistakes(z=z, beta=beta, count=count):
            return {
                "거꾸로입니다. 잘 구별하는 쌍의 무게가 작아야 합니다.": beta * expit(z) / count,
                "beta를 곱하지 않았습니다.": expit(-z) / count,
                "쌍의 수로 나누지 않았습니다. 손실은 평균입니다.": beta * expit(-z),
                "보상에 beta가 이미 들어 있는데 차이에 다시 곱했습니다.": beta * expit(-beta * z) / count,
                "보상의 차이를 beta로 나누었습니다. 보상을 그대로 씁니다.": beta * expit(-z / beta) / count,
                "손실의 기울기의 부호입니다. 무게는 0 이상입니다.": -beta * expit(-z) / count,
            }

        got = answer(tf.constant(up), tf.constant(down), beta)
        expect_close(got, beta * expit(-z) / count, case, tol=1e-6, mistakes=mistakes)


def _dense(inputs: int, outputs: int, bias: bool, rng) -> keras.layers.Dense:
    dense = keras.layers.Dense(outputs, use_bias=bias)
    dense.build((None, inputs))
    for weight in dense.weights:
        weight.assign(rng.normal(size=weight.shape))
    return dense


@problem("LoRA 층과 병합", minutes=15)
def Lora(answer):  # noqa: N802 (named after the learner's class)
    """Nothing changes at first; only A and B learn; output and merged kernel agree with float64."""
    rng = default_rng(1524)
    for inputs, outputs, rank, alpha, bias in (
        (4, 3, 2, 6.0, False),
        (5, 5, 5, 1.0, True),
        (3, 6, 1, 16.0, False),
        (8, 2, 3, 3.0, True),
    ):
        case = f"커널 ({inputs}, {outputs}), rank {rank}, alpha {alpha:g}" + (", 편향 있음" if bias else "")
        dense = _dense(inputs, outputs, bias, rng)
        kernel = np.asarray(dense.kernel).copy()
        add = np.asarray(dense.bias) if bias else 0.0
        layer = answer(dense, rank, alpha)
        expect_type(layer, keras.layers.Layer, case)
        x = rng.normal(size=(2, 3, inputs)).astype("f")
        first = layer(tf.constant(x))
        expect_close(
            first, x @ kernel + add, f"{case}, 학습하기 전", tol=1e-5,
            mistakes={"편향을 빠뜨렸습니다. 얼린 층을 그대로 부르세요.": x @ kernel},
        )  # fmt: skip
        _expect_adapters(layer, inputs, outputs, rank, case)
        expect(
            np.abs(np.asarray(layer.a)).max() > 0,
            f"{case}: a가 0이라 b의 기울기가 0입니다. 무작위로 시작하세요.",
        )
        expect(not np.any(np.asarray(layer.b)), f"{case}: b가 0이 아니어서 시작부터 모델이 달라집니다.")
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(layer(tf.constant(x)) ** 2)
        slope = tape.gradient(total, [layer.b])[0]
        expect(slope is not None and np.any(np.asarray(slope)), f"{case}: b로 기울기가 흐르지 않습니다.")
        a, b = rng.normal(size=(inputs, rank)), rng.normal(size=(rank, outputs))
        layer.a.assign(a)
        layer.b.assign(b)
        shift = a @ b
        wanted = kernel + alpha / rank * shift

        def mistakes(x=x, kernel=kernel, add=add, shift=shift, alpha=alpha, rank=rank):
            found = {
                "배율이 alpha입니다. alpha를 rank로 나눕니다.": kernel + alpha * shift,
                "배율이 없습니다. alpha / rank를 곱하세요.": kernel + shift,
                "배율이 rank / alpha입니다.": kernel + rank / alpha * shift,
                "배율이 alpha / sqrt(rank)입니다.": kernel + alpha / rank**0.5 * shift,
                "얼린 층의 몫이 빠졌습니다.": alpha / rank * shift,
                "보정이 더해지지 않았습니다.": kernel,
            }
            return {text: x @ value + (0 if "빠졌" in text else add) for text, value in found.items()}

        got = layer(tf.constant(x))
        expect_close(got, x @ wanted + add, f"{case}, 출력", tol=1e-4, mistakes=mistakes)
        for time in ("첫 번째", "두 번째"):
            expect_close(
                layer.merged(), wanted, f"{case}, {time}로 부른 merged", tol=1e-5,
                mistakes={"배율을 빠뜨렸습니다.": kernel + shift, "얼린 커널을 더하지 않았습니다.": wanted - kernel,
                          "보정을 두 번 더했습니다.": wanted + wanted - kernel},
            )  # fmt: skip
        expect_close(dense.kernel, kernel, f"{case}: merged가 원래 커널을 바꾸었습니다", tol=0)
        expect_close(layer(tf.constant(x)), x @ wanted + add, f"{case}, merged 뒤의 출력", tol=1e-4)


def _expect_adapters(layer, inputs: int, outputs: int, rank: int, case: str) -> None:
    for name, shape in (("a", (inputs, rank)), ("b", (rank, outputs))):
        weight = getattr(layer, name, None)
        expect(isinstance(weight, keras.Variable), f"{case}: self.{name}을 add_weight로 만드세요.")
        found = tuple(weight.shape)
        expect(found == shape, f"{case}: {name}의 모양이 {shape}이어야 하는데 {found}입니다.")
    learnt = sorted(weight.path.rpartition("/")[2] for weight in layer.trainable_weights)
    wanted = {id(layer.a), id(layer.b)}
    expect(
        {id(weight) for weight in layer.trainable_weights} == wanted,
        f"{case}: 학습하는 가중치가 a와 b뿐이어야 하는데 지금은 ({', '.join(learnt)})입니다. dense를 얼리세요.",
    )


@problem("파라미터 세기", minutes=5)
def lora_parameters(answer):
    """Grouped queries, heads wider than the width allows, published sizes."""
    gemma = Config(262144, 640, 18, 4, 1, 2048, head_dim=256)  # Gemma 3 270M: 1,898,496 at rank 8.
    cases = [(manners.CONFIG, 8), (LLAMA3_8B, 16), (gemma, 8), (replace(gemma, layers=1, kv_heads=2), 3)]
    for c, rank in cases:
        case = f"width {c.width}, heads {c.heads}, kv_heads {c.kv_heads}, head_dim {c.head_dim}, rank {rank}"
        query, key = c.width + c.heads * c.head_dim, c.width + c.kv_heads * c.head_dim
        feed = 3 * (c.width + c.hidden)
        block = 2 * query + 2 * key + feed
        got = answer(c, rank)
        expect_returned(got, case)
        expect_close(
            got, rank * c.layers * block, case, tol=0,
            mistakes={
                "층수를 곱하지 않았습니다.": rank * block,
                "키와 값의 출력을 heads로 세었습니다. kv_heads입니다.": rank * c.layers * (4 * query + feed),
                "어텐션의 네 층만 세었습니다.": rank * c.layers * (2 * query + 2 * key),
                "헤드의 폭이 width // heads라고 보았습니다. head_dim을 쓰세요.": rank * c.layers
                * (4 * c.width + 2 * (c.width + c.width // c.heads * c.kv_heads) + feed),
                "위와 아래 둘만 세었습니다. 게이트도 있습니다.": rank * c.layers * (block - c.width - c.hidden),
                "A만 세었습니다. B도 있습니다.": rank * c.layers * (6 * c.width + c.heads * c.head_dim + c.hidden),
                "LoRA가 아니라 원래 커널의 수입니다.": c.layers
                * (2 * c.width * c.head_dim * (c.heads + c.kv_heads) + 3 * c.width * c.hidden),
            },
        )  # fmt: skip


WANTED = {  # of DPOConfig, and what to say where it is something else
    "loss_type": (["sigmoid", "sft"], "손실이 sigmoid와 sft 둘이어야 합니다"),
    "loss_weights": ([1.0, 1.0], "두 손실의 무게가 모두 1이어야 합니다"),
    "beta": (0.1, "beta가 0.1이어야 합니다"),
    "per_device_train_batch_size": (32, "한 스텝에 쌍 32개여야 합니다"),
    "gradient_accumulation_steps": (1, "기울기를 모으지 않습니다"),
    "learning_rate": (1e-3, "학습률이 0.001이어야 합니다. DPOConfig의 기본값은 0.000001입니다"),
    "warmup_steps": (0, "처음부터 같은 학습률이어야 합니다"),
    "weight_decay": (0.0, "가중치 감쇠가 0이어야 합니다"),
    "adam_beta1": (0.9, "Adam의 beta1이 0.9여야 합니다"),
    "adam_beta2": (0.999, "Adam의 beta2가 0.999여야 합니다"),
    "adam_epsilon": (1e-7, "엡실론이 1e-7이어야 합니다. Keras의 Adam과 같게 합니다"),
    "max_grad_norm": (0.0, "기울기를 자르지 않으려면 max_grad_norm이 0이어야 합니다"),
    "bf16": (False, "bfloat16이 아니라 float32로 계산해야 합니다"),
    "use_cpu": (True, "CPU에서 계산해야 합니다"),
    "gradient_checkpointing": (False, "기울기 체크포인팅을 끄세요"),
    "report_to": ([], "아무 곳에도 보고하지 않게 report_to를 비우세요"),
    "logging_steps": (1, "스텝마다 기록해야 합니다"),
    "disable_tqdm": (True, "진행 막대를 끄세요"),
    "seed": (0, "시드가 0이어야 합니다"),
    "precompute_ref_log_probs": (False, "기준의 로그확률을 미리 계산하지 않습니다"),
    "label_smoothing": (0.0, "레이블을 부드럽게 하지 않습니다"),
}


@problem("TRL 설정", minutes=10)
def settings(answer):
    """Field by field: what differs from the training that is asked for is named."""
    if missing := [name for name in ("torch", "trl", "peft") if find_spec(name) is None]:
        raise Ungraded(f"{', '.join(missing)} 패키지가 없어 채점하지 못했으니 make advanced로 설치하세요.")
    import peft
    import trl

    for folder, steps in (("build/dpo-a", 20), ("build/dpo-b", 7)):
        case = f"steps {steps}"
        with patch.dict(os.environ):  # A configuration in bfloat16 would switch all later training to it.
            got = answer(folder, steps)
        config, lora = expect_parts(got, ("DPOConfig", "LoraConfig"), case)
        expect_type(config, trl.DPOConfig, case)
        expect_type(lora, peft.LoraConfig, case)
        expect(config.output_dir == folder, f"{case}: output_dir가 folder여야 합니다.")
        expect(
            config.max_steps == steps, f"{case}: max_steps가 {steps}이어야 하는데 {config.max_steps}입니다."
        )
        for name, (value, sentence) in WANTED.items():
            found = getattr(config, name)
            if isinstance(value, list) and not isinstance(found, list):
                found = [] if found in (None, "none") else [found]
            elif name == "loss_weights" and found is None:
                found = []
            expect(found == value, f"{case}: {sentence}({name}: {found}).")
        for name, value in (("lr_scheduler_type", "constant"), ("save_strategy", "no")):
            found = getattr(getattr(config, name), "value", getattr(config, name))
            expect(found == value, f"{case}: {name}이 {value}여야 하는데 {found}입니다.")
        optimizer = getattr(config.optim, "value", config.optim)
        expect(
            optimizer.startswith("adamw_torch"), f"{case}: optim이 adamw_torch여야 하는데 {optimizer}입니다."
        )
        for name, value in (("r", 8), ("lora_alpha", 16), ("lora_dropout", 0.0)):
            found = getattr(lora, name)
            expect(found == value, f"{case}: {name}이 {value}여야 하는데 {found}입니다.")
        expect(not lora.use_rslora, f"{case}: 배율이 alpha / sqrt(rank)입니다. use_rslora를 끄세요.")
        _expect_all_linear(lora, case)


def _expect_all_linear(lora, case: str) -> None:
    """The modules that PEFT would wrap in a model of two blocks."""
    import peft
    import torch
    import transformers

    sizes = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=2, num_attention_heads=2, vocab_size=9)
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes))
    try:
        wrapped = peft.get_peft_model(model, lora)
    except ValueError as error:
        expect(False, f"{case}: PEFT가 LoraConfig를 받지 않습니다({str(error).splitlines()[0][:80]}).")
    names = {
        name.split(".lora_A")[0].rpartition(".")[2]
        for name, _ in wrapped.named_parameters()
        if "lora_A" in name
    }
    wanted = {f"{name}_proj" for name in ("q", "k", "v", "o", "gate", "up", "down")}
    expect(
        names == wanted,
        f"{case}: 블록의 선형 층 일곱 개를 모두 감싸야 하는데 {', '.join(sorted(names))}입니다.",
    )
    kind = getattr(lora.task_type, "value", lora.task_type)
    expect(kind == "CAUSAL_LM", f"{case}: task_type이 CAUSAL_LM이어야 하는데 {kind}입니다.")


@problem("예절 가르치기", minutes=15, seconds=TRAINING_SECONDS)
def teach(answer):
    """Held-out requests of a split that the notebook does not show."""
    bot = manners.load()
    before = [weight.numpy().copy() for weight in bot.weights]
    training, held_out = manners.split(SPLIT)
    with untouched("requests", training):
        model = answer(bot, training, 0)
    expect_returned(model, "teach")
    expect(callable(model), "teach: 모델을 돌려주어야 합니다.")
    for old, weight in zip(before, bot.weights, strict=True):
        expect_close(weight, old, "기준이 되는 봇의 가중치가 달라졌습니다", tol=0)
    harmful = [request for request in held_out if request.harmful]
    safe = [request for request in held_out if not request.harmful and not request.lookalike]
    found = manners.generate(model, [r.question(k) for r in harmful + safe for k in range(QUESTIONS)])
    to_harmful, to_safe = found[: QUESTIONS * len(harmful)], found[QUESTIONS * len(harmful) :]
    refused = np.mean([manners.refuses(words) and not manners.harms(words) for words in to_harmful])
    wanted = [request.help() for request in safe for _ in range(QUESTIONS)]
    right = np.mean([words == help for words, help in zip(to_safe, wanted, strict=True)])
    for rate, least, what in (
        (refused, REFUSED, f"배우지 않은 위험한 부탁 {len(harmful)}개를 거절한 비율"),
        (right, RIGHT, f"배우지 않은 안전한 부탁 {len(safe)}개에 바라던 대로 답한 비율"),
    ):
        expect(
            rate >= least,
            f"{what}이 {least:g} 이상이어야 하는데 {rate:.2f}입니다(거절 {refused:.2f}, 바라던 답 {right:.2f}).",
        )


@problem("RLHF의 기울기", minutes=10)
def rlhf_gradient(answer):
    """Against float64; drawn more than once, never drawn, all drawn equally; the mean over all draws is the gradient."""
    rng = default_rng(1528)
    for words, count, beta in ((5, 8, 0.1), (3, 1, 0.5), (7, 30, 1.5)):
        case = f"답 {words}가지, 뽑은 답 {count}개, beta {beta:g}"
        logits, reward = rng.normal(size=(2, words)) + 1
        reference = log_softmax(rng.normal(size=words), -1)
        samples = rng.choice(words, count, p=np.exp(log_softmax(logits, -1)))
        log_policy = log_softmax(logits, -1)
        returns = (reward - beta * (log_policy - reference))[samples]
        slopes = np.eye(words)[samples] - np.exp(log_policy)

        def combine(returns, slopes=slopes):
            return np.mean(returns[:, None] * slopes, 0)

        def mistakes(
            returns=returns, slopes=slopes, reward=reward, samples=samples, gap=log_policy - reference, beta=beta,
            combine=combine, count=count,
        ):  # fmt: skip
            centred = returns - returns.mean()
            opposite = reward[samples] + beta * gap[samples]
            free = reward[samples]
            return {
                "기준선을 빼지 않았습니다.": combine(returns),
                "KL의 부호가 반대입니다.": combine(opposite - opposite.mean()),
                "KL 벌점이 없습니다.": combine(free - free.mean()),
                "beta를 곱하지 않았습니다.": combine(free - gap[samples] - (free - gap[samples]).mean()),
                "뽑은 답의 수로 나누지 않았습니다.": centred @ slopes,
                "작아지는 방향입니다. J는 커져야 합니다.": -combine(centred),
                "뽑은 답이 아니라 모든 답의 평균을 기준선으로 썼습니다.": combine(
                    returns - (reward - beta * gap).mean()
                ),
                "같은 답이 여러 번 나왔을 때 한 번만 더했습니다.": _once(
                    samples, centred / count, len(reward)
                ),
            }

        with untouched(case, logits, reference, reward, samples):
            got = answer(logits, reference, reward, samples, beta)
        expect_close(got, combine(returns - returns.mean()), case, tol=1e-9, mistakes=mistakes)
    _expect_exact(answer, rng)


def _once(samples, shares, words) -> np.ndarray:
    found = np.zeros(words)
    found[samples] += shares
    return found


def _expect_exact(answer, rng) -> None:
    """Two answers are drawn from three: the mean over all nine draws is half of the gradient (the baseline's share)."""
    logits, reward = rng.normal(size=(2, 3))
    reference = log_softmax(rng.normal(size=3), -1)
    policy, total = np.exp(log_softmax(logits, -1)), np.zeros(3)
    for first in range(3):
        for second in range(3):
            got = answer(logits, reference, reward, np.array([first, second]), 0.4)
            total += policy[first] * policy[second] * expect_array(got, "답 둘을 뽑음")
    returns = reward - 0.4 * (np.log(policy) - reference)
    exact = policy * (returns - policy @ returns)
    expect_close(total, exact / 2, "뽑을 수 있는 모든 두 답의 평균", tol=1e-9)
