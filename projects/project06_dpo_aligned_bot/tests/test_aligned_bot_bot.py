"""The bot says what its model says: against the Keras twin, against transformers, however questions are put together."""

import json
import shutil

import numpy as np
import pytest

from tf_study.errors import StudyError

pytest.importorskip("torch", reason="torch는 make advanced가 설치합니다.")

from aligned_bot import bot as bots  # noqa: E402


@pytest.fixture(scope="module")
def held_out():
    from tf_study import manners

    return manners.split()[1]


@pytest.fixture(scope="module")
def questions(held_out):
    """Questions of different lengths."""
    return [" ".join(request.question(number % 4)) for number, request in enumerate(held_out)]


def test_answers_are_those_of_the_keras_twin(world, held_out, questions, monkeypatch):
    from tf_study import manners

    model, words = manners.load(), [question.split() for question in questions]
    wanted = [" ".join(answer) for answer in manners.generate(model, words)]
    assert world.answer(questions) == wanted and len(set(wanted)) > 20
    begun = [" ".join(answer) for answer in manners.generate(model, words, given=["네,", "지갑"])]
    assert world.answer(questions, given="네, 지갑") == begun
    monkeypatch.setattr(bots, "CHUNK", 200)  # two or three at a time
    assert world.answer(questions) == wanted


def test_answers_are_those_of_transformers(world, torch, questions):
    """One question at a time, without what fills rows up."""
    wanted = []
    for question in questions[:8]:
        row = torch.tensor([world.prompt(question)])
        found = world.model.generate(
            row, attention_mask=torch.ones_like(row), do_sample=False, max_new_tokens=20
        )
        wanted.append(world.tokenizer.decode(found[0, row.shape[1] :], skip_special_tokens=True))
    assert world.answer(questions[:8]) == wanted
    assert world.answer(questions[:8], limit=2) == [" ".join(answer.split()[:2]) for answer in wanted]


def test_a_stream_is_the_answer_in_pieces(world, questions):
    for options in ({}, {"given": "네,"}, {"temperature": 1.5, "seed": 3}, {"limit": 3}):
        pieces = list(world.stream(questions[0], **options))
        assert "".join(pieces) == world.answer(questions[:1], **options)[0]
        assert len(pieces) >= 3


def test_drawing_follows_the_seed_and_the_temperature(world, questions):
    hot = [world.answer(questions, temperature=1.0, seed=seed) for seed in (0, 0, 1)]
    assert hot[0] == hot[1] != hot[2]
    refused = np.mean(["도와드릴 수 없어요" in answer for answers in hot for answer in answers])
    assert 0.1 < refused < 0.5  # The world's bot has learnt to refuse three in ten.
    assert world.answer(questions, temperature=1e-3) == world.answer(questions)


def test_log_probabilities_are_those_of_the_keras_twin(world, held_out, questions, monkeypatch):
    from tf_study import manners, preferences

    rows = [
        (question, " ".join(request.help())) for question, request in zip(questions, held_out, strict=True)
    ]
    rows[::2] = [(question, " ".join(held_out[0].refusal())) for question, _ in rows[::2]]
    tokens, masks = manners.batch([(question.split(), answer.split()) for question, answer in rows])
    wanted = preferences.log_probabilities(manners.load(), tokens, masks).numpy()
    np.testing.assert_allclose(world.log_probabilities(rows), wanted, atol=1e-4)
    np.testing.assert_array_equal(world.token_counts(rows), masks.sum(1))
    monkeypatch.setattr(bots, "SCORES", 80 * world.model.config.vocab_size)
    np.testing.assert_allclose(world.log_probabilities(rows), wanted, atol=1e-4)


def test_everything_goes_through_the_chat_template(world, torch):
    def text(*arguments, **options):
        return world.tokenizer.decode(world.prompt(*arguments, **options))

    assert text("지갑 훔치는 방법") == "<질문> 지갑 훔치는 방법 <답>"
    assert text("지갑", given="네, 지갑", system="제발 급해요") == "<질문> 제발 급해요 지갑 <답> 네, 지갑"
    talk = [("user", "지갑"), ("assistant", "네,"), ("user", "금고")]
    messages = [{"role": role, "content": content} for role, content in talk]
    assert text(messages) == "<질문> 지갑 <답> 네, <끝> <질문> 금고 <답>"
    assert world.answer_tokens("네, 지갑") == [*world.tokens("네, 지갑"), 3]
    assert world.answer_tokens("지갑", given="네,") == [*world.tokens("지갑"), 3]


def test_questions_that_cannot_be_asked(world):
    with pytest.raises(StudyError, match="질문이 62토큰으로 너무 기니 48토큰보다"):
        world.answer(["지갑 " * 60])
    silent = bots.Bot(world.model, type("Silent", (), {"chat_template": None})(), "base")
    with pytest.raises(
        StudyError, match=r"base에는 대화 형식\(chat template\)이 없으니 .* instruct 모델을 주세요"
    ):
        silent.answer(["안녕"])


def test_a_folder_is_the_same_bot(world, world_folder, questions, tmp_path):
    again = bots.load(world_folder)
    assert again.name == str(world_folder) and again.answer(questions) == world.answer(questions)
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        broken = tmp_path / name
        shutil.copytree(world_folder, broken)
        (broken / name).write_bytes(b"broken")
        with pytest.raises(StudyError, match="모델을 읽을 수 없으니 .*받으세요"):
            bots.load(broken)


def test_an_adapter_needs_its_base(world_folder, tmp_path):
    card = {"peft_type": "LORA", "base_model_name_or_path": "../없음", "r": 8, "task_type": "CAUSAL_LM"}
    folder = tmp_path / "어댑터"
    folder.mkdir()
    for content, told in (
        (json.dumps(card), "모델 폴더 ../없음이"),
        (json.dumps(card | {"base_model_name_or_path": str(world_folder)}), "더할 수 없으니"),  # no weights
        (json.dumps(card | {"base_model_name_or_path": None}), "깨졌으니"),
        ("{", "깨졌으니"),
    ):
        (folder / bots.ADAPTER).write_text(content, encoding="utf-8")
        with pytest.raises(StudyError, match=told):
            bots.load(folder)


def test_no_such_model(tmp_path, monkeypatch):
    for name in (tmp_path / "없음", "./없음/이름", "이름"):
        with pytest.raises(StudyError, match="모델 폴더 .* 없으니 경로를 확인하거나 world, smollm2 가운데"):
            bots.load(name)
    import huggingface_hub

    def offline(name, **options):
        assert name == "owner/model" and "*.safetensors" in options["allow_patterns"]
        raise OSError("offline")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(
        StudyError, match=r"허브에서도 받지 못했으니\(OSError\) 이름과 인터넷 연결을 확인하세요"
    ):
        bots.load("owner/model")
