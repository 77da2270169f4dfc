"""The time budget: what a notebook may cost, compared with what ``make bench`` stored in ``tests/seconds.toml``.

The seconds are CPU seconds in a new kernel, the import of TensorFlow included.
"""

import statistics
from pathlib import Path

import pytest

from tf_study import curriculum, notebooks
from tf_study.errors import StudyError

LECTURE, TRAINING, PRACTICE = 25, 60, 40
# Of the lectures of the second edition, once there are MEDIAN_OF: of fewer it says nothing. The goal is 12; when the
# last chapter was done the median was 20.8, and later 18.9, since most lectures train, start processes, or load a
# reference library (torch with transformers alone is 9). The number only falls.
MEDIAN = 19
MEDIAN_OF = 38  # Half of the course: chapters 9 and 10 alone start real processes in every lecture.

# Lectures that need more than LECTURE seconds because they train, and what they train.
TRAINING_LECTURES: dict[str, str] = {
    "chapter06_nlp/05_sequence_to_sequence.ipynb": "날짜 번역기",
    "chapter07_advanced_architectures/02_transformer_basics.ipynb": "정규화의 자리마다의 블록과 날짜 번역기",
    "chapter07_advanced_architectures/03_bert_fine_tuning.ipynb": "BERT의 사전 학습과 미세 조정",
    "chapter07_advanced_architectures/05_generative_models_gan.ipynb": "고리와 숫자의 GAN",
    "chapter12_modern_llms/01_llama_architecture_deepdive.ipynb": "글자를 잇는 Llama",
    "chapter12_modern_llms/03_rotary_position_embedding.ipynb": "위치를 늘리는 언어 모델",
    "chapter12_modern_llms/05_deepseek_moe_architecture.ipynb": "전문가 혼합 여러 개",
    "chapter13_genai_diffusion/03_unet_for_diffusion.ipynb": "부품을 뺀 UNet 아홉 번",
    "chapter13_genai_diffusion/04_conditional_diffusion_cfg.ipynb": "ControlNet과 가이던스마다의 그림",
    "chapter15_alignment_rlhf/02_actor_critic_and_ppo.ipynb": "카트와 막대를 배우는 정책 서른 개",
    "chapter15_alignment_rlhf/04_dpo_and_preference_learning.ipynb": "예절을 배우는 봇 여섯 개",
    "chapter15_alignment_rlhf/05_constitutional_ai_and_rlaif.ipynb": "방어마다의 봇",
    "chapter16_sparse_attention/03_linear_attention_and_hybrids.ipynb": "기억을 시험하는 작은 모델들",
    "chapter16_sparse_attention/04_long_context_and_sparse_attn.ipynb": "바늘을 찾는 모델과 싱크의 대조군",
    "chapter17_diffusion_transformers/01_from_unet_to_dit.ipynb": "크기와 패치가 다른 DiT 여섯 개",
    "chapter17_diffusion_transformers/03_dit_conditioning_and_adaln.ipynb": "조건을 넣는 방법마다의 DiT",
}


def limit(path: Path) -> int:
    if path.parts[0] == "projects" or path.as_posix() in TRAINING_LECTURES:
        return TRAINING
    return PRACTICE if "practice" in path.parts else LECTURE


def complaint(path: Path, stored: dict[Path, float]) -> str | None:
    """Return what is wrong with a notebook's cost, in one sentence, or ``None``."""
    if path not in stored:
        return f"{path}의 CPU 시간을 재지 않았으니 python -m tf_study.notebooks bench {path}를 실행하세요."
    if stored[path] > limit(path):
        return (
            f"{path}에 CPU로 {stored[path]}초가 드는데 한도는 {limit(path)}초이니 데이터나 에포크를 줄인 뒤 "
            f"python -m tf_study.notebooks bench {path}로 다시 재세요."
        )
    return None


def median_complaint(stored: dict[Path, float]) -> str | None:
    lectures = {item.path for item in curriculum.notebooks() if not item.solution}
    costs = [stored[path] for path in lectures - curriculum.first_edition() if path in stored]
    if len(costs) >= MEDIAN_OF and statistics.median(costs) > MEDIAN:
        return f"둘째 판 강의의 중앙값이 {statistics.median(costs):.1f}초로 한도 {MEDIAN:g}초를 넘습니다."
    return None


@pytest.mark.parametrize("path", notebooks.all_paths(), ids=str)
def test_seconds(path):
    message = complaint(path, notebooks.seconds())
    assert message is None, message


def test_median_of_the_second_edition():
    message = median_complaint(notebooks.seconds())
    assert message is None, message


def test_only_lectures_that_need_it_may_take_longer():
    stored = {path.as_posix(): cost for path, cost in notebooks.seconds().items()}
    lectures = {item.path.as_posix() for item in curriculum.notebooks() if not item.solution}
    assert set(TRAINING_LECTURES) <= lectures
    needless = [path for path in TRAINING_LECTURES if stored.get(path, TRAINING) <= LECTURE]
    assert not needless, f"{needless}은(는) {LECTURE}초 안에 끝나니 TRAINING_LECTURES에서 지우세요."


def test_the_rules_reject(monkeypatch):
    lecture, solution = Path("chapter01_basics/x.ipynb"), Path("chapter01_basics/practice/solutions/x.ipynb")
    assert "bench chapter01_basics/x.ipynb" in complaint(lecture, {})
    assert "25초" in complaint(lecture, {lecture: 25.1}) and complaint(lecture, {lecture: 25.0}) is None
    assert "40초" in complaint(solution, {solution: 40.1}) and complaint(solution, {solution: 40.0}) is None
    monkeypatch.setitem(TRAINING_LECTURES, lecture.as_posix(), "GAN 400걸음")
    assert "60초" in complaint(lecture, {lecture: 60.1}) and complaint(lecture, {lecture: 60.0}) is None
    walkthrough = Path("projects/project01_image_classifier/walkthrough.ipynb")
    assert "60초" in complaint(walkthrough, {walkthrough: 60.1})
    monkeypatch.setattr(curriculum, "first_edition", frozenset)
    lectures = [item.path for item in curriculum.notebooks() if not item.solution][:MEDIAN_OF]
    assert "중앙값" in median_complaint(dict.fromkeys(lectures, MEDIAN + 0.1))
    assert median_complaint(dict.fromkeys(lectures, MEDIAN)) is None
    assert median_complaint(dict.fromkeys(lectures[1:], MEDIAN + 0.1)) is None
    monkeypatch.setattr(curriculum, "first_edition", lambda: set(lectures[1:]))
    assert median_complaint(dict.fromkeys(lectures, MEDIAN + 0.1)) is None


# -- the bench ---------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "SECONDS", tmp_path / "seconds.toml")
    notebooks.SECONDS.write_text('# 설명\n"gone.ipynb" = 3.0\n', encoding="utf-8")
    return notebooks.SECONDS


def test_the_bench_scales_shows_and_stores(table, monkeypatch, capsys):
    first, second = notebooks.all_paths()[:2]
    notebooks.store_seconds({second: 9.0, first: 7.0})
    assert table.read_text(encoding="utf-8") == f'# 설명\n"{first}" = 7.0\n"{second}" = 9.0\n'
    # A machine on which TensorFlow takes twice as long as in the table.
    costs = iter([2 * notebooks.IMPORT_SECONDS, 3 * notebooks.IMPORT_SECONDS, 22.0])
    monkeypatch.setattr(notebooks, "execute", lambda *args, **kwargs: next(costs))
    notebooks.bench([first])
    assert notebooks.seconds() == {first: 11.0, second: 9.0}
    assert capsys.readouterr().out.splitlines()[2].split() == ["7.0", "11.0", str(first)]


def test_the_bench_keeps_what_it_has_measured(table, monkeypatch):
    first, second = notebooks.all_paths()[:2]

    outcomes = [notebooks.IMPORT_SECONDS] * 3 + [StudyError("실행하다가 멈췄습니다.")]

    def execute(*args, **kwargs):
        outcome = outcomes.pop(0)
        if isinstance(outcome, StudyError):
            raise outcome
        return outcome

    monkeypatch.setattr(notebooks, "execute", execute)
    with pytest.raises(StudyError, match=str(second)):
        notebooks.bench([first, second])
    assert notebooks.seconds() == {first: notebooks.IMPORT_SECONDS}


def test_the_bench_refuses_what_is_no_notebook_of_the_course(table, tmp_path, capsys):
    assert notebooks.main(["bench", str(tmp_path / "x.ipynb")]) == 1
    assert "x.ipynb" in capsys.readouterr().err
