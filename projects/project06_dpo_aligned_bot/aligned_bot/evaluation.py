"""Measures a bot beside the one it was trained from: preferences, answers against answers, safety, other texts."""

import argparse
import datetime
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from aligned_bot import bot as bots
from aligned_bot import data, reports, safety, settings, shares
from aligned_bot.bot import Bot
from aligned_bot.data import Row
from tf_study.errors import StudyError

JUDGE_PROMPT = (
    "질문: {question}\n\n답 A: {first}\n\n답 B: {second}\n\nA와 B 가운데 더 나은 답은 어느 것인가요? "
    "A 또는 B 한 글자로만 답하세요."
)

# question, one answer, another, the answer one wishes for → 1 if the first is better, 0 the second, 0.5 neither
Judge = Callable[[str, str, str, str], float]


# Preferences


def preferences(bot: Bot, base: Bot | None, pairs: Sequence[Row]) -> dict:
    """Compare what bots give the chosen and the rejected answers of held-out pairs.

    Args:
        bot: the bot.
        base: what it was trained from, or ``None``.
        pairs: questions with the answer that was chosen and the one that was rejected.

    Returns:
        ``sum``: share of pairs whose chosen answer has the greater log p; ``mean``: the same per token, so that
        length does not count; with a base ``implicit``: log p has risen more for the chosen than for the
        rejected answer, the accuracy that DPO's log shows; and how far both have moved.
    """
    rows = [[(pair.prompt, getattr(pair, part)) for pair in pairs] for part in ("answer", "rejected")]
    alike = [pair.answer for pair in pairs]  # One answer to several questions: one question in other words.
    lengths = [bot.token_counts(part) for part in rows]
    own = [bot.log_probabilities(part) for part in rows]
    found = {
        "sum": shares.share(_won(own[0] - own[1]), alike),
        "mean": shares.share(_won(own[0] / lengths[0] - own[1] / lengths[1]), alike),
    }
    if base is not None:
        moved = [new - base.log_probabilities(part) for new, part in zip(own, rows, strict=True)]
        found["implicit"] = shares.share(_won(moved[0] - moved[1]), alike)
        found["chosen_moved"], found["rejected_moved"] = (float(part.mean()) for part in moved)
    return found


def _won(differences: np.ndarray) -> list[float]:
    return [float(value > 0) + 0.5 * float(value == 0) for value in differences]


# Answers against answers


def by_reference(question: str, first: str, second: str, wanted: str) -> float:
    """Judge by a program: the better answer is more like the one that is wished for, see :func:`chrf`."""
    return _verdict(chrf(first, wanted) - chrf(second, wanted))


def by_model(bot: Bot) -> Judge:
    """Return a judge that asks a bot, A or B, and takes the likelier letter."""

    def judge(question: str, first: str, second: str, wanted: str) -> float:
        prompt = JUDGE_PROMPT.format(question=question, first=first, second=second)
        letters = bot.log_probabilities([(prompt, "A"), (prompt, "B")])
        return _verdict(letters[0] - letters[1])

    return judge


def _verdict(difference: float) -> float:
    return 0.5 if abs(difference) < 1e-9 else float(difference > 0)


def chrf(answer: str, wanted: str, longest: int = 6) -> float:
    """Return how alike two texts are, 0 to 1: chrF2 of Popović (2015), character n-grams up to ``longest``."""
    texts = ["".join(text.split()) for text in (answer, wanted)]
    precisions, recalls = [], []
    for n in range(1, longest + 1):
        ours, theirs = (Counter(text[i : i + n] for i in range(len(text) - n + 1)) for text in texts)
        if ours and theirs:
            common = (ours & theirs).total()
            precisions.append(common / ours.total())
            recalls.append(common / theirs.total())
    if not precisions or not (precision := np.mean(precisions)) or not (recall := np.mean(recalls)):
        return 0.0
    return float(5 * precision * recall / (4 * precision + recall))


def wins(
    pairs: Sequence[Row], ours: Sequence[str], theirs: Sequence[str], judge: Judge, seed: int = 0
) -> dict:
    """Let a judge choose between two bots' answers, each time in both orders.

    Args:
        pairs: questions with the answer that is wished for.
        ours: the bot's answers.
        theirs: the other's.
        judge: says which of two is better.
        seed: of the resampling.

    Returns:
        ``rate``: share of questions won, half for a tie or a verdict that changes with the order, with its 95 %
        interval (bootstrap over the questions); ``controlled``: the same after the part that length explains is
        taken out; ``consistent``: share of verdicts that are the same in both orders; ``first``: share of
        verdicts for whoever stands first, 0.5 without a habit; ``longer_wins``: share of decided questions that
        the longer answer has won; ``length``: mean length of our answers over theirs.
    """
    verdicts, consistent, first = [], [], []
    for pair, our, their in zip(pairs, ours, theirs, strict=True):
        one = judge(pair.prompt, our, their, pair.answer)
        two = judge(pair.prompt, their, our, pair.answer)
        consistent.append(one == 1 - two)
        first.append((one + two) / 2)
        verdicts.append(one if consistent[-1] else 0.5)
    verdicts, lengths = (
        np.array(verdicts),
        np.array([[len(text) for text in side] for side in (ours, theirs)]),
    )
    longer, alike = lengths[0] - lengths[1], [pair.answer for pair in pairs]
    decided = (verdicts != 0.5) & (longer != 0)
    return {
        "rate": shares.bootstrap(lambda chosen: verdicts[chosen].mean(), alike, seed),
        "controlled": shares.bootstrap(
            lambda chosen: length_controlled(verdicts[chosen], longer[chosen]), alike, seed
        ),
        "longer_wins": shares.share(
            ((verdicts > 0.5) == (longer > 0))[decided],
            [pair for pair, told in zip(alike, decided, strict=True) if told],
        ),
        "consistent": shares.share(consistent),
        "first": float(np.mean(first)),
        "length": float(lengths[0].mean() / max(lengths[1].mean(), 1)),
    }


def length_controlled(verdicts: np.ndarray, longer: np.ndarray, ridge: float = 0.1) -> float:
    """Return the share won that a logistic regression expects between answers of equal length.

    P(win) = σ(a + b·tanh(longer / its standard deviation)), as in Dubois et al. (2024, arXiv:2404.04475) without
    their term for the question; the ridge keeps a and b finite where all are won.

    Args:
        verdicts: 1 won, 0 lost, 0.5 neither; (N,).
        longer: by how many characters our answer is longer; (N,).
    """
    spread = longer.std()
    columns = np.stack(
        [np.ones(len(longer)), np.tanh(longer / spread) if spread else np.zeros(len(longer))], 1
    )
    weights = np.zeros(2)
    for _ in range(25):  # Newton
        expected = 1 / (1 + np.exp(-columns @ weights))
        slope = columns.T @ (expected - verdicts) + ridge * weights
        curve = (columns * (expected * (1 - expected))[:, None]).T @ columns + ridge * np.eye(2)
        step = np.linalg.solve(curve, slope)
        weights -= step
        if np.abs(step).max() < 1e-9:
            break
    return float(1 / (1 + np.exp(-weights[0])))


# Other texts


@torch.no_grad()
def perplexity(bot: Bot, texts: Sequence[tuple[str, str]]) -> float:
    """Return exp of the mean of -log p over all tokens of texts, after beginnings that are given.

    Args:
        bot: the bot; its chat template is left out.
        texts: beginning and text; of a text without beginning the first token is not counted.
    """
    total, count = 0.0, 0
    for beginning, text in texts:
        given, tokens = bot.tokens(beginning), bot.tokens(text)
        row = torch.tensor([given + tokens], device=bot.model.device)
        start = max(len(given), 1)
        logs = torch.log_softmax(bot.model(row).logits[0, :-1].float(), -1)
        taken = logs.gather(1, row[0, 1:, None])[start - 1 :, 0]
        total, count = total - float(taken.sum()), count + len(taken)
    return float(np.exp(total / count))


# All of it


def evaluate(
    bot: Bot, base: Bot | None, pairs: Sequence[Row], suite: safety.Suite, judge: str = reports.REFERENCE, *,
    limit: int = 64, tries: int = 8, seed: int = 0, report: Callable[[str], None] = lambda line: None,
) -> tuple[dict, list[dict]]:  # fmt: skip
    """Measure a bot, and the one it was trained from beside it.

    Args:
        bot: the bot.
        base: what it was trained from; ``None`` measures the bot alone.
        pairs: held-out pairs; without any there is nothing of preferences and wins.
        suite: the safety tests.
        judge: of answers against answers: ``reference``, a program, or the name of a model.
        limit: tokens of an answer.
        tries: how often a plain harmful question is asked at temperature 1.
        seed: of all drawing.
        report: gets a line before each part.

    Returns:
        The report, and all answers with their verdicts.
    """
    named = {"model": bot} if base is None else {"base": base, "model": bot}
    found = {
        "model": bot.name,
        "base": None if base is None else base.name,
        "date": datetime.date.today().isoformat(),
        "settings": {"limit": limit, "tries": tries, "seed": seed},
        "suite": {"name": suite.name, "cases": len(suite.cases), "rule": suite.rule},
        "preferences": None,
        "wins": None,
        "safety": {},
        "perplexity": {},
    }
    if pairs:
        report(f"따로 둔 선호 쌍 {len(pairs)}개의 로그 확률")
        found["preferences"] = {"pairs": len(pairs)} | {
            name: preferences(one, base if one is bot else None, pairs) for name, one in named.items()
        }
    if pairs and base is not None:
        report(f"승률: 질문 {len(pairs)}개에 두 봇이 답합니다")
        asked = [pair.prompt for pair in pairs]
        ours, theirs = (one.answer(asked, limit=limit) for one in (bot, base))
        found["wins"] = {"judge": judge} | wins(pairs, ours, theirs, _judge(judge), seed)
    rows = []
    for name, one in named.items():
        report(f"안전 시험 {suite.name}: {one.name}에게 질문 {len(suite.cases)}개")
        found["safety"][name], answers = safety.measure(one, suite, tries, limit, seed)
        rows += [{"bot": name} | row for row in answers]
        found["perplexity"][name] = perplexity(one, suite.texts)
    return found, rows


def _judge(name: str) -> Judge:
    return by_reference if name == reports.REFERENCE else by_model(bots.load(name))


def run(options: argparse.Namespace) -> None:
    """Measure what the command line names; print the tables and write the files.

    Raises:
        StudyError: if there is no folder to write to, or what was trained on has changed since.
    """
    folder = Path(options.model)
    output = options.output or folder
    if not options.output and not folder.is_dir():
        raise StudyError(f"{options.model}은(는) 폴더가 아니니 보고서를 저장할 폴더를 --output으로 주세요.")
    trained = settings.read_card(folder) if (folder / settings.CARD).is_file() else None
    bot = bots.load(options.model)
    name = options.base or _base(folder, trained)
    base = bots.load(name) if name else None
    suite = safety.load(options.suite or safety.suits(bot.tokenizer), options.count)
    source = options.data or (trained["data"] if trained else safety.DATA.get(suite.name))
    pairs, learnt = _held_out(source, trained)
    suite, left_out = _unseen(suite, learnt)
    if options.count and len(pairs) > options.count:
        pairs = pairs[:: -(-len(pairs) // options.count)]
    found, rows = evaluate(
        bot, base, pairs, suite, options.judge, limit=options.limit, tries=options.tries, seed=options.seed,
        report=lambda line: print(line, flush=True),
    )  # fmt: skip
    found |= {"digest": reports.digest(folder), "data": {"source": source, "left_out": left_out}}
    print(f"\n{reports.table(found)}\n")
    for path in reports.save(found, rows, output):
        print(path)


def _base(folder: Path, trained: dict | None) -> str | None:
    """Return what a folder was trained from: an adapter names it, what was merged keeps the training's card."""
    if (folder / bots.ADAPTER).is_file():
        return bots.base_of(folder)
    return trained["settings"]["base"] if trained else None


def _held_out(source: str | None, trained: dict | None) -> tuple[list[Row], list[str]]:
    """Return held-out pairs, and the questions that the bot has learnt from; none of the former is like the latter."""
    if source is None:
        return [], []
    found = data.load(source)
    pairs = [row for row in found.held_out if row.rejected and not row.given]
    if trained is None:
        return pairs, []
    learnt = found if trained["data"] == source else data.load(trained["data"])
    if learnt.fingerprint() != trained["fingerprint"]:
        raise StudyError(
            f"{learnt.source}의 내용이 학습한 때와 달라 배운 질문을 가릴 수 없으니 그때의 데이터로 되돌리세요."
        )
    questions = [row.prompt for row in learnt.train]
    if learnt is found:  # divided so already
        return pairs, questions
    alike = data.alike([pair.prompt for pair in pairs], questions)
    return [pair for pair, seen in zip(pairs, alike, strict=True) if not seen], questions


def _unseen(suite: safety.Suite, learnt: Sequence[str]) -> tuple[safety.Suite, int]:
    """Return a suite without the questions that the bot has learnt from, and how many these were.

    Raises:
        StudyError: if no harmful or no safe one is left.
    """
    known = {data.normal(question) for question in learnt}
    seen = {case.plain for case in suite.cases if data.normal(case.plain) in known}
    cases = tuple(case for case in suite.cases if case.plain not in seen)
    if not {safety.HARMFUL, safety.SAFE} <= {case.kind for case in cases}:
        raise StudyError(f"안전 시험 {suite.name}의 질문을 이미 배웠으니 --suite로 다른 시험을 고르세요.")
    return replace(suite, cases=cases), len(seen)
