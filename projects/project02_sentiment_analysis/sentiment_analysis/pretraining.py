"""The encoder ``small``: the BERT of lecture 7.3, which learns its pieces, and if asked its Korean, from the reviews.

As there: WordPiece whose letters are numbered in order, so that the vocabulary is the same every time; masked language
modelling with 40 % of the tokens chosen, 80/10/10, logits only where something is to be guessed.
"""

import json
import math
from pathlib import Path

import numpy as np
import tensorflow as tf

from sentiment_analysis import encoders, tokens
from sentiment_analysis.encoders import TOKENIZER, Description, Network, Start
from sentiment_analysis.settings import Settings
from tf_study import data, model_folder, optimizers
from tf_study.data import fetch

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, _, CLS, SEP, MASK = range(len(SPECIALS))
PIECES = 3000
SIZES = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
SPREAD = 0.05  # of the first weights
ROWS, BATCH, RATE, MASKED = 20_000, 32, 4e-3, 0.4  # texts at most, rows a step, learning rate, chosen tokens
FILE = "pretrained.npz"


def load(chosen: Settings, texts: list[str], folder: Path, report) -> Start:
    """Return the encoder after pretraining, whose result stays in ``folder`` until the training is finished."""
    random = np.random.default_rng(chosen.seed)
    corpus = [texts[row] for row in random.permutation(len(texts))[:ROWS]] + others()
    core = learn_pieces(corpus)
    config = SIZES | {
        "vocab_size": core.get_vocab_size(),
        "max_position_embeddings": chosen.tokens,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    about = Description("bert", config, CLS, SEP, PAD, chosen.tokens)
    network = Network(about)
    start = Start(network, {TOKENIZER: core.to_str().encode()})
    path = folder / FILE
    if path.exists():
        fetch.read_weights(network, path)
        return start
    for variable in network.weights[:-2]:
        if "LayerNorm/gamma" in variable.name:
            variable.assign(tf.ones_like(variable))
        elif len(variable.shape) == 2:
            variable.assign(random.normal(0, SPREAD, variable.shape).clip(-2 * SPREAD, 2 * SPREAD))
    if chosen.pretraining:
        report(f"리뷰와 이 과정의 글 {len(corpus):,}편으로 작은 BERT를 사전 학습합니다.")
        core.enable_truncation(chosen.tokens)
        rows = [np.array(found.ids, np.int32) for found in core.encode_batch(corpus)]
        first, last = pretrain(network, rows, chosen.pretraining, chosen.seed)
        report(f"[사전 학습] {chosen.pretraining}스텝  손실 {first:.2f} → {last:.2f}")
    model_folder.write_npz(path, (variable.numpy() for variable in network.weights))
    return start


def others() -> list[str]:
    """Return other Korean texts of the curriculum: headlines, instructions and answers, without a sentiment."""
    instructions = data.instructions_ko()
    pairs = data.preferences_ko()
    texts = [*data.topics_ko()[0][0], *(row["instruction"] for row in instructions)]
    texts += [row["output"] for row in instructions]
    return texts + [row[key] for row in pairs for key in ("prompt", "chosen", "rejected")]


def learn_pieces(corpus: list[str]):
    """Return BERT's tokenizer with a vocabulary learnt from the texts, the same for the same texts."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    core = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words = {
        word
        for text in corpus
        for word, _ in core.pre_tokenizer.pre_tokenize_str(core.normalizer.normalize_str(text))
    }
    letters = sorted({word[0] for word in words} | {"##" + letter for word in words for letter in word[1:]})
    size = max(PIECES, len(SPECIALS) + len(letters))
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=[*SPECIALS, *letters], show_progress=False
    )
    core.train_from_iterator(corpus, trainer)
    # The trainer may number pieces that are equally frequent differently: here they follow their spelling.
    fixed = len(SPECIALS) + len(letters)
    vocabulary = core.get_vocab()
    learnt = sorted(piece for piece, number in vocabulary.items() if number >= fixed)
    numbers = {piece: number for number, piece in enumerate([*SPECIALS, *letters, *learnt])}
    state = json.loads(core.to_str())
    state["model"]["vocab"] = numbers
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] in SPECIALS]
    core = Tokenizer.from_str(json.dumps(state))
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)]
    )
    return core


def mask_tokens(ids: np.ndarray, pieces: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Hide tokens: of those chosen 80 % become ``[MASK]``, 10 % any piece, 10 % stay.

    Args:
        ids: int (B, T).
        pieces: size of the vocabulary.

    Returns:
        The numbers, and where something is to be guessed, bool (B, T).
    """
    chosen = (ids > MASK) & (random.random(ids.shape) < MASKED)
    dice, hidden = random.random(ids.shape), ids.copy()
    hidden[chosen & (dice < 0.8)] = MASK
    swapped = chosen & (dice >= 0.8) & (dice < 0.9)
    hidden[swapped] = random.integers(MASK + 1, pieces, swapped.sum())
    return hidden, chosen


def pretrain(network: Network, rows: list[np.ndarray], steps: int, seed: int) -> tuple[float, float]:
    """Teach the encoder to guess hidden pieces; return the mean loss of the first and the last tenth of the steps."""
    pieces = network.about.config["vocab_size"]
    counts = np.bincount(np.concatenate(rows), minlength=pieces) + 1.0
    bias = tf.Variable(np.log(counts / counts.sum()).astype("float32"))  # The frequencies need not be learnt.
    transform = tf.Variable(tf.eye(SIZES["hidden_size"]))
    variables = [*network.weights[:-2], bias, transform]
    optimizer = optimizers.Adam(beta_2=0.98)
    optimizer.build(variables)
    table = network.main.embeddings.weight

    @tf.function(
        input_signature=[tf.TensorSpec((None, None), kind) for kind in (tf.int32, tf.int32, tf.bool)],
        autograph=False,
    )
    def step(hidden, ids, chosen):
        with tf.GradientTape() as tape:
            found = tf.boolean_mask(network.hidden(hidden), chosen)  # (n, d)
            logits = tf.nn.gelu(found @ transform) @ tf.transpose(table) + bias
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(tf.boolean_mask(ids, chosen), logits)
            )
        optimizer.apply(encoders.clipped(tape.gradient(loss, variables)), variables)
        return loss

    random, losses = np.random.default_rng(seed), []
    for number in range(steps):
        optimizer.learning_rate.assign(rate(number, steps, RATE))
        batch = [rows[row] for row in random.integers(0, len(rows), BATCH)]
        ids = tokens.padded(batch, PAD)
        hidden, chosen = mask_tokens(ids, pieces, random)
        losses.append(float(step(hidden, ids, chosen)))
    tenth = math.ceil(steps / 10)
    return float(np.mean(losses[:tenth])), float(np.mean(losses[-tenth:]))


def rate(step: int, steps: int, peak: float) -> float:
    """Return the learning rate of a step: up during the first tenth, then straight down to 0."""
    warm = max(1, round(0.1 * steps))
    return peak * min((step + 1) / warm, (steps - step) / max(1, steps - warm))
