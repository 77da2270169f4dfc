"""Right and wrong answers to practice 15.2."""

import keras
import numpy as np
import tensorflow as tf

from answers import Answers
from tf_study import manners, optimizers, preferences

RIGHT, WRONG = Answers(), Answers()


# -- sequence_logp -------------------------------------------------------------------------------------


def _logp(logits, tokens, mask, shift=1, mask_from=1, mean="", masked=True, normal=True, sign=1.0):
    logs = tf.nn.log_softmax(logits) if normal else logits
    end = tf.shape(tokens)[1] - shift
    found = tf.gather(logs[:, :end], tokens[:, shift:], batch_dims=2)
    used = mask[:, mask_from:][:, :end] if masked else tf.ones_like(found)
    total = sign * tf.reduce_sum(found * used[:, : tf.shape(found)[1]], 1)
    if mean == "answer":
        return total / tf.reduce_sum(used, 1)
    return total / tf.cast(end, tf.float32) if mean == "all" else total


RIGHT("sequence_logp")(_logp)


@RIGHT("sequence_logp")
def sequence_logp_one_hot(logits, tokens, mask):
    """Scores minus the log of the sum, picked with one-hot vectors."""
    wanted = tf.one_hot(tokens[:, 1:], tf.shape(logits)[-1])
    scores = tf.reduce_sum(wanted * logits[:, :-1], -1) - tf.reduce_logsumexp(logits[:, :-1], -1)
    return tf.einsum("nt,nt->n", scores, mask[:, 1:])


@RIGHT("sequence_logp")
def sequence_logp_with_keras(logits, tokens, mask):
    """Keras' loss, a row and a position at a time."""
    losses = keras.losses.sparse_categorical_crossentropy(tokens[:, 1:], logits[:, :-1], from_logits=True)
    return tf.reduce_sum(tf.where(mask[:, 1:] > 0, -losses, 0.0), axis=-1)


WRONG.add("sequence_logp", _logp, "mean over the answer", mean="answer")
WRONG.add("sequence_logp", _logp, "mean over the positions", mean="all")
WRONG.add("sequence_logp", _logp, "mask not shifted", mask_from=0)
WRONG.add("sequence_logp", _logp, "no shift at all", shift=0, mask_from=0)
WRONG.add("sequence_logp", _logp, "prompt and padding counted", masked=False)
WRONG.add("sequence_logp", _logp, "logits as they are", normal=False)
WRONG.add("sequence_logp", _logp, "the loss", sign=-1.0)


@WRONG("sequence_logp")
def sequence_logp_unstable(logits, tokens, mask):
    """The log of probabilities that have become zero."""
    chances = tf.gather(tf.nn.softmax(logits[:, :-1]), tokens[:, 1:], batch_dims=2)
    return tf.reduce_sum(tf.math.log(chances + 1e-9) * mask[:, 1:], 1)


@WRONG("sequence_logp")
def sequence_logp_with_numpy(logits, tokens, mask):
    """Right numbers, no gradient."""
    return tf.constant(_logp(logits, tokens, mask).numpy())


@WRONG("sequence_logp")
def sequence_logp_of_the_batch(logits, tokens, mask):
    """One number for all rows."""
    return tf.reduce_sum(_logp(logits, tokens, mask))


# -- dpo_loss ------------------------------------------------------------------------------------------


def _dpo(pw, pl, rw, rl, beta, flip=1.0, reference=True, mean=True, power=1, early=False, sign=1.0, log=True,
         reward_power=1, swap=False, back=1.0):  # fmt: skip
    up, down = (pw - rw, pl - rl) if reference else (pw, pl)
    z = flip * beta**power * (up - down)
    z = tf.reduce_mean(z) if early else z
    losses = tf.nn.softplus(-z) if log else -tf.sigmoid(z)
    loss = sign * (tf.reduce_mean(losses) if mean else tf.reduce_sum(losses))
    rewards = [back * beta**reward_power * (pw - rw), back * beta**reward_power * (pl - rl)]
    return (loss, *(rewards[::-1] if swap else rewards))


RIGHT("dpo_loss")(_dpo)


@RIGHT("dpo_loss")
def dpo_loss_cross_entropy(policy_w, policy_l, reference_w, reference_l, beta):
    """Two classes: a softmax over both rewards."""
    rewards = beta * tf.stack([policy_w - reference_w, policy_l - reference_l], 1)
    first = tf.zeros(tf.shape(rewards)[0], tf.int32)
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(first, rewards))
    return [loss, rewards[:, 0], rewards[:, 1]]


@RIGHT("dpo_loss")
def dpo_loss_log_sigmoid(policy_w, policy_l, reference_w, reference_l, beta):
    """Ratios first, as in the paper."""
    ratio, ratio_reference = policy_w - policy_l, reference_w - reference_l
    loss = -tf.reduce_mean(tf.math.log_sigmoid(beta * (ratio - ratio_reference)))
    return loss, beta * (policy_w - reference_w), beta * (policy_l - reference_l)


WRONG.add("dpo_loss", _dpo, "rejected minus chosen", flip=-1.0)
WRONG.add("dpo_loss", _dpo, "no reference", reference=False)
WRONG.add("dpo_loss", _dpo, "sum for mean", mean=False)
WRONG.add("dpo_loss", _dpo, "beta forgotten in the loss", power=0)
WRONG.add("dpo_loss", _dpo, "beta squared", power=2)
WRONG.add("dpo_loss", _dpo, "mean of the differences", early=True)
WRONG.add("dpo_loss", _dpo, "the objective without its minus", sign=-1.0)
WRONG.add("dpo_loss", _dpo, "no log", log=False)
WRONG.add("dpo_loss", _dpo, "rewards without beta", reward_power=0)
WRONG.add("dpo_loss", _dpo, "rewards swapped", swap=True)
WRONG.add("dpo_loss", _dpo, "rewards with the other sign", back=-1.0)


@WRONG("dpo_loss")
def dpo_loss_overflow(policy_w, policy_l, reference_w, reference_l, beta):
    """The log of a sigmoid that is zero."""
    up, down = beta * (policy_w - reference_w), beta * (policy_l - reference_l)
    return -tf.reduce_mean(tf.math.log(tf.sigmoid(up - down))), up, down


@WRONG("dpo_loss")
def dpo_loss_constant_policy(policy_w, policy_l, reference_w, reference_l, beta):
    """The policy is taken for a constant: the loss is right and nothing is learnt."""
    return _dpo(tf.stop_gradient(policy_w), tf.stop_gradient(policy_l), reference_w, reference_l, beta)


@WRONG("dpo_loss")
def dpo_loss_own_reference(policy_w, policy_l, reference_w, reference_l, beta):
    """The policy is its own reference: ln 2 for ever."""
    return _dpo(policy_w, policy_l, policy_w, policy_l, beta)


# -- dpo_weight ----------------------------------------------------------------------------------------


def _weight(up, down, beta, flip=1.0, scale=1.0, power=1, mean=True, sign=1.0):
    found = sign * beta**power * tf.sigmoid(-flip * (up - down) * scale)
    return found / tf.cast(tf.shape(up)[0], tf.float32) if mean else found


RIGHT("dpo_weight")(_weight)


@RIGHT("dpo_weight")
def dpo_weight_softmax(reward_w, reward_l, beta):
    """The second of two probabilities."""
    return beta * tf.nn.softmax(tf.stack([reward_w, reward_l]), axis=0)[1] / len(reward_w)


@RIGHT("dpo_weight")
def dpo_weight_tanh(reward_w, reward_l, beta):
    """A sigmoid by another name."""
    return beta * (1 + tf.tanh((reward_l - reward_w) / 2)) / (2 * len(reward_w))


WRONG.add("dpo_weight", _weight, "the other way round", flip=-1.0)
WRONG.add("dpo_weight", _weight, "no beta", power=0)
WRONG.add("dpo_weight", _weight, "not divided by the pairs", mean=False)
WRONG.add("dpo_weight", _weight, "beta squared", power=2)
WRONG.add("dpo_weight", _weight, "the sign of the loss's gradient", sign=-1.0)
WRONG.add("dpo_weight", _weight, "a steeper sigmoid", scale=2.0)


@WRONG("dpo_weight")
def dpo_weight_beta_inside(reward_w, reward_l, beta):
    """beta is in the rewards already."""
    return beta * tf.sigmoid(beta * (reward_l - reward_w)) / len(reward_w)


@WRONG("dpo_weight")
def dpo_weight_overflow(reward_w, reward_l, beta):
    """A quotient of two infinities."""
    large = tf.exp(reward_l - reward_w)
    return beta * large / (1 + large) / len(reward_w)


# -- Lora ----------------------------------------------------------------------------------------------


@RIGHT("Lora")
class _Lora(keras.layers.Layer):
    start_a, start_b, frozen, kernel, twice, scaled, assigned = (
        "he_uniform",
        "zeros",
        True,
        True,
        1.0,
        True,
        False,
    )

    def __init__(self, dense, rank, alpha):
        super().__init__()
        inputs, outputs = dense.kernel.shape
        self.dense, self.rank, self.alpha = dense, rank, alpha
        if self.frozen:
            dense.trainable = False
        self.a = self.add_weight(shape=(inputs, rank), initializer=self.start_a, name="a")
        self.b = self.add_weight(shape=(rank, outputs), initializer=self.start_b, name="b")
        self.built = True

    def scale(self):
        return self.alpha / self.rank

    def call(self, x):
        return self.dense(x) + self.twice * self.scale() * (x @ self.a @ self.b)

    def merged(self):
        change = (self.scale() if self.scaled else 1.0) * (self.a @ self.b)
        if self.assigned:
            self.dense.kernel.assign(self.dense.kernel + change)
            return self.dense.kernel.numpy()
        return self.dense.kernel + change if self.kernel else change


@RIGHT("Lora")
class LoraByWeights(keras.layers.Layer):
    """Weights frozen one by one, A drawn from a normal, the product first."""

    def __init__(self, dense, rank, alpha):
        super().__init__()
        self.dense = dense
        for weight in dense.weights:
            weight.trainable = False
        self.a = self.add_weight((dense.kernel.shape[0], rank), initializer=keras.initializers.RandomNormal())
        self.b = self.add_weight((rank, dense.kernel.shape[1]), initializer=keras.initializers.Zeros())
        self.factor = float(alpha) / rank

    def call(self, x):
        change = tf.matmul(self.a, self.b) * self.factor
        return self.dense(x) + tf.tensordot(x, change, 1)

    def merged(self):
        return tf.add(tf.convert_to_tensor(self.dense.kernel), self.factor * tf.matmul(self.a, self.b))


@RIGHT("Lora")
class LoraOfTheCourse(preferences.Lora):
    """That of the package, with a method more."""

    def __init__(self, dense, rank, alpha):
        super().__init__(dense, rank, alpha, seed=0)
        dense.trainable = False

    def merged(self):
        return np.array(self.dense.kernel.numpy() + self.scale * self.a.numpy() @ self.b.numpy())


WRONG.add("Lora", _Lora, "A zero as well", start_a="zeros")
WRONG.add("Lora", _Lora, "B random as well", start_b="he_uniform")
WRONG.add("Lora", _Lora, "dense not frozen", frozen=False)
WRONG.add("Lora", _Lora, "merged without the kernel", kernel=False)
WRONG.add("Lora", _Lora, "the change twice", twice=2.0)
WRONG.add("Lora", _Lora, "merged without the scale", scaled=False)
WRONG.add("Lora", _Lora, "merged into the layer", assigned=True)
WRONG.add("Lora", _Lora, "alpha alone", scale=lambda self: self.alpha)
WRONG.add("Lora", _Lora, "rank over alpha", scale=lambda self: self.rank / self.alpha)
WRONG.add("Lora", _Lora, "root of the rank", scale=lambda self: self.alpha / self.rank**0.5)
WRONG.add("Lora", _Lora, "only the change", call=lambda self, x: self.scale() * (x @ self.a @ self.b))


@WRONG("Lora")
class LoraWithoutBias(_Lora):
    """The kernel by hand, and the bias forgotten."""

    def call(self, x):
        return x @ self.merged()


@WRONG("Lora")
class LoraMergedEachTime(_Lora):
    """Every call of merged adds the change to what it returned before."""

    def merged(self):
        self.kept = getattr(self, "kept", self.dense.kernel.numpy()) + self.scale() * (self.a @ self.b)
        return tf.convert_to_tensor(self.kept)


@WRONG("Lora")
class LoraNothingLearns(_Lora):
    """The change counts as a constant."""

    def call(self, x):
        return self.dense(x) + tf.stop_gradient(self.scale() * (x @ self.a @ self.b))


# -- lora_parameters -----------------------------------------------------------------------------------


def _count(config, rank, kv=True, layers=True, feed=3, head=True, a_only=False, names="qkvo", extra=0):
    size = config.head_dim if head else config.width // config.heads
    outputs = {
        "q": config.heads * size,
        "k": (config.kv_heads if kv else config.heads) * size,
        "v": (config.kv_heads if kv else config.heads) * size,
        "o": config.heads * size,
    }
    total = sum(config.width + outputs[name] for name in names) + feed * (config.width + config.hidden)
    if a_only:
        total = (3 + 2) * config.width + config.heads * size + config.hidden
    return rank * total * (config.layers if layers else 1) + extra * config.vocab * config.width


RIGHT("lora_parameters")(_count)


@RIGHT("lora_parameters")
def lora_parameters_layer_by_layer(config, rank):
    """A list of shapes, block after block."""
    wide, narrow = config.heads * config.head_dim, config.kv_heads * config.head_dim
    shapes = [(config.width, wide), (config.width, narrow), (config.width, narrow), (wide, config.width)]
    shapes += [(config.width, config.hidden)] * 2 + [(config.hidden, config.width)]
    return sum(rank * rows + rank * columns for _ in range(config.layers) for rows, columns in shapes)


WRONG.add("lora_parameters", _count, "key and value as the query", kv=False)
WRONG.add("lora_parameters", _count, "one block", layers=False)
WRONG.add("lora_parameters", _count, "no gate", feed=2)
WRONG.add("lora_parameters", _count, "only attention", feed=0)
WRONG.add("lora_parameters", _count, "width over heads", head=False)
WRONG.add("lora_parameters", _count, "A alone", a_only=True)
WRONG.add("lora_parameters", _count, "query and value, as in the paper", names="qv", feed=0)
WRONG.add("lora_parameters", _count, "embeddings too", extra=1)


# -- settings ------------------------------------------------------------------------------------------

ARGUMENTS = dict(
    per_device_train_batch_size=32, beta=0.1, loss_type=["sigmoid", "sft"], loss_weights=[1.0, 1.0],
    learning_rate=1e-3, lr_scheduler_type="constant", optim="adamw_torch", weight_decay=0.0, adam_epsilon=1e-7,
    max_grad_norm=0.0, use_cpu=True, bf16=False, gradient_checkpointing=False, report_to=[], save_strategy="no",
    logging_steps=1, disable_tqdm=True, seed=0,
)  # fmt: skip
ADAPTER = dict(r=8, lora_alpha=16, target_modules="all-linear", lora_dropout=0.0, task_type="CAUSAL_LM")


def _settings(folder, steps, drop=(), change=None, lora=None):
    import peft
    import trl

    arguments = {k: v for k, v in (ARGUMENTS | (change or {})).items() if k not in drop}
    config = trl.DPOConfig(output_dir=folder, max_steps=steps, **arguments)
    return config, peft.LoraConfig(**(ADAPTER | (lora or {})))


RIGHT("settings")(_settings)


@RIGHT("settings")
def settings_spelled_out(folder, steps):
    """Enumerations, names of modules, "none", a ratio of warm-up."""
    import peft
    import transformers
    import trl

    config = trl.DPOConfig(
        folder, report_to="none", **{k: v for k, v in ARGUMENTS.items() if k != "report_to"}
    )
    config.max_steps = steps
    config.lr_scheduler_type = transformers.SchedulerType.CONSTANT
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    return [
        config,
        peft.LoraConfig(**(ADAPTER | {"target_modules": names, "task_type": peft.TaskType.CAUSAL_LM})),
    ]


WRONG.add("settings", _settings, "the rate of TRL", drop=["learning_rate"])
WRONG.add("settings", _settings, "no sft term", change={"loss_type": "sigmoid", "loss_weights": None})
WRONG.add("settings", _settings, "weights of one loss", change={"loss_weights": [1.0, 0.1]})
WRONG.add("settings", _settings, "gradients clipped", drop=["max_grad_norm"])
WRONG.add("settings", _settings, "the epsilon of PyTorch", drop=["adam_epsilon"])
WRONG.add("settings", _settings, "a linear schedule", drop=["lr_scheduler_type"])
WRONG.add("settings", _settings, "bfloat16", drop=["bf16"])
WRONG.add("settings", _settings, "checkpoints written", drop=["save_strategy"])
WRONG.add("settings", _settings, "logs now and then", drop=["logging_steps"])
WRONG.add("settings", _settings, "eight pairs a step", drop=["per_device_train_batch_size"])
WRONG.add("settings", _settings, "query and value only", lora={"target_modules": ["q_proj", "v_proj"]})
WRONG.add("settings", _settings, "alpha as it comes", lora={"lora_alpha": 8})
WRONG.add("settings", _settings, "dropout", lora={"lora_dropout": 0.05})
WRONG.add("settings", _settings, "the scale of rsLoRA", lora={"use_rslora": True})
WRONG.add("settings", _settings, "sequence classification", lora={"task_type": "SEQ_CLS"})


@WRONG("settings")
def settings_with_the_head(folder, steps):
    """The head, too."""
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head"]
    return _settings(folder, steps, lora={"target_modules": names})


@WRONG("settings")
def settings_steps_fixed(folder, steps):
    """Twenty steps whatever is asked for."""
    return _settings(folder, 20)


# -- teach ---------------------------------------------------------------------------------------------


def _teach(bot, requests, seed, steps=45, swap=False, only=None, sft=1.0, rate=3e-3, beta=0.1):
    chosen = [request for request in requests if only is None or only(request)]
    first, second = (manners.Request.wrong, manners.Request.right)[:: 1 if swap else -1]
    pairs = [
        manners.batch([(request.question(k), which(request)) for request in chosen for k in range(4)])
        for which in (first, second)
    ]
    options = dict(beta=beta, sft=sft, steps=steps, rate=rate, seed=seed)
    return preferences.dpo(bot, *pairs, **options)[0]


RIGHT("teach")(_teach)


@RIGHT("teach")
def teach_all_weights(bot, requests, seed):
    """No adapters and no preferences: the better answers are learnt by heart, with all weights."""
    from tf_study.models.llama import Llama

    random, model = np.random.default_rng(seed), Llama(bot.config)
    model.set_weights(bot.get_weights())
    tokens, masks = manners.batch([(r.question(k), r.right()) for r in requests for k in range(4)])
    optimizer = optimizers.Adam(1e-3)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step(x, mask):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_sum(preferences.log_probabilities(model, x, mask)) / tf.reduce_sum(mask)
        optimizer.apply(tape.gradient(loss, model.trainable_variables))

    for _ in range(40):
        some = random.integers(0, len(tokens), 48)
        step(tf.constant(tokens[some]), tf.constant(masks[some]))
    return model


WRONG.add("teach", _teach, "harmful pairs only", only=lambda request: request.harmful, steps=8)
WRONG.add("teach", _teach, "safe pairs only", only=lambda request: not request.harmful, steps=4)
WRONG.add("teach", _teach, "the worse answer preferred", swap=True, steps=8)
WRONG.add("teach", _teach, "no sft term and a high rate", sft=0.0, rate=1e-2, steps=12)


@WRONG("teach")
def teach_nothing(bot, requests, seed):
    """The bot as it was."""
    return bot


@WRONG("teach")
def teach_in_place(bot, requests, seed):
    """The reference is changed along with the policy."""
    bot.set_weights([0.9 * weight for weight in bot.get_weights()])
    return bot


@WRONG("teach")
def teach_by_table(bot, requests, seed):
    """Refuses whatever has a harmful word: answers of its own, no model."""
    return [request.right() for request in requests]


# -- rlhf_gradient -------------------------------------------------------------------------------------


def _gradient(
    logits, reference, reward, samples, beta, baseline="mean", sign=1.0, kl=1.0, power=1, mean=True
):
    log_policy = logits - np.log(np.sum(np.exp(logits - logits.max()))) - logits.max()
    every = reward - kl * beta**power * (log_policy - reference)
    found = every[samples]
    found = found - {"mean": found.mean(), "all": every.mean(), "none": 0.0}[baseline]
    slopes = np.eye(len(logits))[samples] - np.exp(log_policy)
    return sign * (found @ slopes) / (len(samples) if mean else 1)


RIGHT("rlhf_gradient")(_gradient)


@RIGHT("rlhf_gradient")
def rlhf_gradient_loop(logits, reference, reward, samples, beta):
    """One answer after the other."""
    policy = np.exp(logits - max(logits))
    policy /= policy.sum()
    returns = [reward[k] - beta * np.log(policy[k]) + beta * reference[k] for k in samples]
    baseline, total = sum(returns) / len(returns), np.zeros(len(logits))
    for k, value in zip(samples, returns, strict=True):
        total[k] += value - baseline
    return total / len(samples)


@RIGHT("rlhf_gradient")
def rlhf_gradient_by_tape(logits, reference, reward, samples, beta):
    """Automatic differentiation with the returns held fixed."""
    table = tf.Variable(logits)
    with tf.GradientTape() as tape:
        logs = tf.nn.log_softmax(table)
        drawn = tf.gather(logs, samples)
        returns = tf.stop_gradient(tf.gather(reward - beta * (logs - reference), samples))
        value = tf.reduce_mean((returns - tf.reduce_mean(returns)) * drawn)
    return tf.convert_to_tensor(tape.gradient(value, table)).numpy()


WRONG.add("rlhf_gradient", _gradient, "no baseline", baseline="none")
WRONG.add("rlhf_gradient", _gradient, "the mean of all answers as baseline", baseline="all")
WRONG.add("rlhf_gradient", _gradient, "downhill", sign=-1.0)
WRONG.add("rlhf_gradient", _gradient, "the KL's other sign", kl=-1.0)
WRONG.add("rlhf_gradient", _gradient, "no KL", kl=0.0)
WRONG.add("rlhf_gradient", _gradient, "beta forgotten", power=0)
WRONG.add("rlhf_gradient", _gradient, "a sum", mean=False)


@WRONG("rlhf_gradient")
def rlhf_gradient_once(logits, reference, reward, samples, beta):
    """Fancy indexing adds once for an answer that was drawn twice."""
    log_policy = logits - np.logaddexp.reduce(logits)
    returns = (reward - beta * (log_policy - reference))[samples]
    found = np.zeros(len(logits))
    found[samples] += (returns - returns.mean()) / len(samples)
    return found


@WRONG("rlhf_gradient")
def rlhf_gradient_exact(logits, reference, reward, samples, beta):
    """The exact gradient: right on average, but not of these answers."""
    log_policy = logits - np.logaddexp.reduce(logits)
    policy, returns = np.exp(log_policy), reward - beta * (log_policy - reference)
    return policy * (returns - policy @ returns)
