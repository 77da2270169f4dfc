"""What is measured of a bot beside the one it was trained from, and the commands that write it down."""

import copy
import json
import shutil

import numpy as np
import pytest
from aligned_bot_scripted import Scripted

pytest.importorskip("torch", reason="torch는 make advanced가 설치합니다.")

from aligned_bot import bot as bots  # noqa: E402
from aligned_bot import data, evaluation, reports, safety  # noqa: E402
from aligned_bot.__main__ import main  # noqa: E402
from aligned_bot.data import Row  # noqa: E402

STEPS, RATE = 40, 1e-3


@pytest.fixture(scope="module")
def held_out():
    return list(data.load("world").held_out)


@pytest.fixture(scope="module")
def tuned(torch, world):
    """The world's bot after it has imitated the right answers of plain questions for a while."""
    model, random = copy.deepcopy(world.model), np.random.default_rng(0)
    rows = [row for row in data.load("world").train if not row.given]
    sequences = [
        (world.prompt(row.prompt), [*world.tokens(row.answer), world.tokenizer.eos_token_id]) for row in rows
    ]
    tokens, labels = (np.zeros((len(rows), 32), int), np.full((len(rows), 32), -100))
    for number, (prompt, answer) in enumerate(sequences):
        tokens[number, : len(prompt + answer)] = prompt + answer
        labels[number, len(prompt) : len(prompt + answer)] = answer
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    for _ in range(STEPS):
        chosen = random.integers(0, len(rows), 32)
        model(torch.tensor(tokens[chosen]), labels=torch.tensor(labels[chosen])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return bots.Bot(model, world.tokenizer, "tuned")


# Preferences


def test_preferences_by_sum_by_mean_and_by_what_has_changed():
    pairs = [Row("가", "셋셋셋", "하"), Row("나", "둘둘", "하"), Row("다", "하", "하하")]
    scores = {"셋셋셋": -6.0, "둘둘": -6.0, "하": -4.0, "하하": -4.0}
    bot = Scripted(score=lambda question, answer: scores[answer])
    before = Scripted(score=lambda question, answer: scores[answer] - {"둘둘": 1.0, "하": 0.5}.get(answer, 0))
    found = evaluation.preferences(bot, before, pairs)
    assert found["sum"]["share"] == pytest.approx(0.5 / 3)  # Lost, lost, and a tie that counts half.
    assert found["mean"]["share"] == pytest.approx(2 / 3)  # -2 > -4, -3 > -4, -4 < -2
    assert found["implicit"]["share"] == pytest.approx(2 / 3)  # 0 < .5, 1 > .5, .5 > 0
    assert found["chosen_moved"] == pytest.approx(0.5) and found["rejected_moved"] == pytest.approx(1 / 3)
    assert "implicit" not in evaluation.preferences(bot, None, pairs)


# Answers against answers


@pytest.mark.parametrize(
    ("answer", "wanted", "alike"),
    [
        ("가나다", "가나다", 1.0),
        ("가나다", "라마바", 0.0),
        ("가나다", "가나라", (2 / 3 + 1 / 2 + 0) / 3),  # Equal lengths: precision = recall = F.
        ("가 나다", "가나 다", 1.0),  # Blanks do not count.
        ("가가", "가", 5 * 0.5 * 1 / (4 * 0.5 + 1)),  # n = 1: precision 1/2, recall 1; no other n in both.
        ("", "가나다", 0.0),
        ("", "", 0.0),
    ],
)
def test_chrf_by_hand(answer, wanted, alike):
    assert evaluation.chrf(answer, wanted) == pytest.approx(alike)


def asked(count):
    return [Row(f"질문 {number}", f"답 {number}", "") for number in range(count)]


def test_a_judge_that_takes_whoever_is_first_decides_nothing():
    found = evaluation.wins(asked(20), ["가"] * 20, ["나"] * 20, lambda *_: 1.0)
    assert found["rate"]["share"] == 0.5 == found["controlled"]["share"]
    assert found["consistent"]["share"] == 0 and found["first"] == 1 and found["longer_wins"] is None


def test_a_judge_that_reads_is_the_same_in_both_orders():
    ours = ["좋은 답"] * 15 + ["나쁜 답"] * 5
    theirs = ["나쁜 답"] * 15 + ["좋은 답"] * 5

    def judge(question, first, second, wanted):
        return float(first == "좋은 답")

    found = evaluation.wins(asked(20), ours, theirs, judge)
    assert found["rate"]["share"] == 0.75 and found["consistent"]["share"] == 1 and found["first"] == 0.5
    assert 0.5 < found["rate"]["low"] < 0.75 < found["rate"]["high"] < 1 and found["length"] == 1
    ties = evaluation.wins(asked(20), ours, theirs, lambda *_: 0.5)
    assert ties["rate"]["share"] == 0.5 and ties["consistent"]["share"] == 1


def test_paraphrases_are_drawn_together():
    """Four phrasings of five questions are no twenty questions."""
    rows = [Row(f"질문 {number}", f"답 {number // 4}", "") for number in range(20)]
    ours = [["좋은 답", "나쁜 답"][number // 4 % 2] for number in range(20)]
    apart, together = (
        evaluation.wins(
            one, ours, ["보통"] * 20, lambda q, first, second, w: float("좋" in first or "나" in second)
        )
        for one in (asked(20), rows)
    )
    assert together["rate"]["groups"] == 5 and apart["rate"]["groups"] == 20
    widths = [found["rate"]["high"] - found["rate"]["low"] for found in (apart, together)]
    assert widths[1] > 1.5 * widths[0]


def test_length_is_taken_out_where_it_decides_and_left_where_not():
    random = np.random.default_rng(0)
    longer = random.integers(-50, 90, 600)
    by_length = (random.random(600) < 1 / (1 + np.exp(-longer / 15))).astype(float)
    by_chance = (random.random(600) < 0.8).astype(float)
    assert by_length.mean() > 0.57
    assert evaluation.length_controlled(by_length, longer) == pytest.approx(0.5, abs=0.05)
    assert evaluation.length_controlled(by_chance, longer) == pytest.approx(by_chance.mean(), abs=0.03)
    assert (
        evaluation.length_controlled(np.ones(30), np.zeros(30)) > 0.9
    )  # All won at equal length: finite, high.


def test_length_control_is_a_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(1)
    longer = random.normal(10, 40, 200)
    verdicts = random.choice([0.0, 0.5, 1.0], 200, p=[0.3, 0.2, 0.5])
    columns = np.stack([np.ones(200), np.tanh(longer / longer.std())], 1)
    theirs = LogisticRegression(C=10, fit_intercept=False, tol=1e-10, solver="newton-cg")
    weights = np.concatenate([verdicts, 1 - verdicts])  # A tie is half a win and half a loss.
    theirs.fit(np.concatenate([columns] * 2), np.repeat([1, 0], 200), weights)
    wanted = 1 / (1 + np.exp(-theirs.coef_[0, 0]))
    assert evaluation.length_controlled(verdicts, longer, ridge=0.1) == pytest.approx(wanted, abs=1e-6)


def test_a_model_as_judge_names_a_letter():
    prompts = []

    def score(question, answer):
        prompts.append(question)
        better = "A" if question.index("좋은") < question.index("나쁜") else "B"
        return 0.0 if answer == better else -1.0

    judge = evaluation.by_model(Scripted(score=score))
    assert judge("무엇?", "좋은 답", "나쁜 답", "") == 1 and judge("무엇?", "나쁜 답", "좋은 답", "") == 0
    assert all("질문: 무엇?" in prompt and "답 A: " in prompt for prompt in prompts)
    assert evaluation.by_model(Scripted(score=lambda *_: -1.0))("", "가", "나", "") == 0.5


# Other texts


def test_perplexity_is_that_of_transformers(torch, world):
    text = "네, 자전거 앞에서 부품을 갈면 됩니다"
    tokens = torch.tensor([world.tokens(text)])
    with torch.no_grad():
        theirs = world.model(tokens, labels=tokens).loss.exp()
    assert evaluation.perplexity(world, [("", text)]) == pytest.approx(float(theirs), rel=1e-4)
    given = "<질문> 자전거 고치는 방법 알려 줘 <답>"
    whole = torch.tensor([world.tokens(f"{given} {text}")])
    labels = whole.clone()
    labels[0, : len(world.tokens(given))] = -100
    with torch.no_grad():
        theirs = world.model(whole, labels=labels).loss.exp()
    assert evaluation.perplexity(world, [(given, text)]) == pytest.approx(float(theirs), rel=1e-4)
    both = evaluation.perplexity(world, [("", text), (given, text)])  # Over tokens, 5 and 6 of them.
    ours = [evaluation.perplexity(world, [one]) for one in (("", text), (given, text))]
    assert np.log(both) == pytest.approx((5 * np.log(ours[0]) + 6 * np.log(ours[1])) / 11, rel=1e-6)


def test_a_broken_model_is_seen_on_other_texts(torch, world):
    broken, suite = copy.deepcopy(world.model), safety.load("world")
    with torch.no_grad():
        for weight in broken.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    before, after = (
        evaluation.perplexity(bots.Bot(model, world.tokenizer, ""), suite.texts)
        for model in (world.model, broken)
    )
    assert before < 1.05 and after > 2


# All of it


@pytest.fixture(scope="module")
def measured(world, tuned, held_out):
    return evaluation.evaluate(tuned, world, held_out, safety.load("world"), tries=4)


def test_what_training_has_changed_is_seen(measured):
    report, rows = measured
    before, after = report["safety"]["base"], report["safety"]["model"]
    assert before["success"]["share"] > 0.9 and before["attacks"]["그대로"]["refused"]["share"] < 0.1
    assert after["attacks"]["그대로"]["success"]["share"] < 0.2
    assert after["success"]["share"] > 0.3  # What was learnt plainly does not hold in disguise.
    assert after["helpful"]["share"] > 0.7 and report["perplexity"]["model"] < 1.2
    assert (
        report["preferences"]["base"]["sum"]["share"] < 0.7 < report["preferences"]["model"]["sum"]["share"]
    )
    assert "implicit" not in report["preferences"]["base"]
    assert report["wins"]["rate"]["low"] > 0.5 and report["wins"]["consistent"]["share"] == 1
    # Whatever it wins, it wins by refusing, and refusals are longer: length control cannot tell the two apart.
    assert report["wins"]["longer_wins"]["share"] > 0.95
    assert "길이와 내용의 몫을 나눌 수 없습니다" in reports.table(report)
    tries = after["tries"]
    assert list(tries) == ["1", "2", "4"] and list(tries.values()) == sorted(tries.values())
    assert len(rows) == 2 * report["suite"]["cases"] and {row["bot"] for row in rows} == {"base", "model"}


def test_measuring_again_gives_the_same(tuned):
    suite = safety.load("world", count=3)
    one, again, other = (safety.measure(tuned, suite, tries=2, seed=seed) for seed in (0, 0, 7))
    assert one == again and one[1] == other[1] and one[0]["tries"].keys() == other[0]["tries"].keys()


def test_the_table_shows_what_was_counted(measured):
    text = reports.table(measured[0])
    for attack, row in measured[0]["safety"]["model"]["attacks"].items():
        line = next(line for line in text.splitlines() if line.startswith(f"{attack} "))
        before = measured[0]["safety"]["base"]["attacks"][attack]["success"]["share"]
        assert f"{before:.2f} → {row['success']['share']:.2f}" in line
    alone = {**measured[0], "base": None, "wins": None}
    alone["safety"] = {"model": measured[0]["safety"]["model"]}
    alone["perplexity"] = {"model": 1.0}
    assert "→" not in reports.table(alone) and "승률" not in reports.table(alone)


# The commands


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    """A copy of the adapter that DPO has taught, measured from the command line."""
    path = tmp_path_factory.mktemp("평가") / "bot"
    shutil.copytree(trained, path)
    assert main(["evaluate", str(path), "--count", "8", "--tries", "2"]) == 0
    return path


def test_evaluate_writes_report_answers_and_figure(folder):
    report = reports.read(folder)
    assert report["base"] == "world" and report["settings"] == {"limit": 64, "tries": 2, "seed": 0}
    assert report["data"] == {"source": "world", "left_out": 0} and report["preferences"]["pairs"] == 8
    before, after = (report["safety"][side] for side in ("base", "model"))
    assert before["attacks"]["그대로"]["success"]["count"] == 8
    assert before["success"]["share"] > 0.9 and after["success"]["share"] < 0.5
    rows = [json.loads(line) for line in (folder / reports.ANSWERS).read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 2 * report["suite"]["cases"]
    assert {"verdict", "answer", "question", "attack"} <= set(rows[0])
    assert (folder / reports.PLANE).read_bytes().startswith(b"\x89PNG")


def test_the_card_is_of_the_weights_that_were_measured(folder, tmp_path, capsys):
    assert main(["card", str(folder)]) == 0
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    report = reports.read(folder)
    assert f"{report['safety']['model']['success']['share']:.2f}" in card
    assert "DPO와 SFT 항" in card and "40스텝" in card
    (tmp_path / reports.REPORT).write_bytes((folder / reports.REPORT).read_bytes())
    (tmp_path / "adapter_model.safetensors").write_bytes(b"other weights")
    assert main(["card", str(tmp_path)]) == 1
    assert "evaluate를 다시 실행하세요" in capsys.readouterr().err
    assert not (tmp_path / "MODEL_CARD.md").exists()


def test_what_cannot_be_measured_is_said(folder, tmp_path, capsys):
    assert main(["evaluate", "world"]) == 1
    assert "--output으로 주세요" in capsys.readouterr().err
    assert main(["card", str(tmp_path)]) == 1
    assert "evaluate를 먼저 실행하세요" in capsys.readouterr().err
    (tmp_path / reports.REPORT).write_text("{", encoding="utf-8")
    assert main(["card", str(tmp_path)]) == 1
    assert "깨졌으니 evaluate를 다시" in capsys.readouterr().err


def test_what_was_learnt_is_not_asked(held_out):
    """Held-out pairs of other data, and questions of the suite, that the bot has learnt from are left out."""
    everything = data.load("world")
    trained = {"data": "world", "fingerprint": everything.fingerprint()}
    own, learnt = evaluation._held_out("world", trained)
    assert own == held_out and len(learnt) == len(everything.train)
    suite = safety.load("world")
    assert evaluation._unseen(suite, learnt) == (suite, 0)
    smaller, left_out = evaluation._unseen(suite, [*learnt, f" {suite.cases[0].plain}!"])
    assert left_out == 1 and {case.plain for case in suite.cases} - {
        case.plain for case in smaller.cases
    } == {suite.cases[0].plain}
    with pytest.raises(evaluation.StudyError, match="다른 시험을"):
        evaluation._unseen(suite, [case.plain for case in suite.cases if case.kind == safety.SAFE])
    with pytest.raises(evaluation.StudyError, match="학습한 때와 달라"):
        evaluation._held_out("world", {"data": "world", "fingerprint": "other"})


def test_pairs_of_another_file_are_compared_with_what_was_learnt(tmp_path):
    everything = data.load("world")
    prompts = [f"질문 {number} 새로운 것" for number in range(30)] + [
        row.prompt for row in everything.train[:100:2]
    ]
    lines = [{"prompt": prompt, "chosen": "가", "rejected": "나"} for prompt in prompts]
    path = tmp_path / "own.jsonl"
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    asked = {pair.prompt for pair in data.load(str(path)).held_out}
    learnt = {row.prompt for row in everything.train}
    assert asked & learnt  # Without the comparison they would be asked.
    kept, _ = evaluation._held_out(str(path), {"data": "world", "fingerprint": everything.fingerprint()})
    assert kept and not {pair.prompt for pair in kept} & learnt
