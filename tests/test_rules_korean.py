"""The Korean of the notebooks: what the rules find, and what they must let pass."""

import re

import nbformat
import pytest

import notebook_rules as rules
from notebook_rules import prose, sample

# What the rules must let pass: the same words, used rightly.
RIGHT = """
옵티마이저는 Adam을 씁니다. 라이브러리를 직접 써서 확인합니다. 테이프를 직접 씁니다. 직접 쓴 손글씨를 읽습니다.
배치 크기를 32로 맞춥니다. 길이를 배치와 맞춥니다. 모델이 답을 맞힙니다.
검증 세트에서 가장 좋은 값을 고릅니다. 라우터가 고르지 않은 전문가는 쉽니다. 독자가 고르게 합니다. 정책이 고른 행동입니다.
패딩을 마스크로 가립니다. 화살표가 가리키는 곳입니다. 앞뒤를 가린 토큰입니다. 두 모델의 우열을 가리지 않습니다.
방법은 두 가지입니다. 두 가지에 주의하세요. 세 가지마다 하나씩 셉니다. 가지치기는 11장에서 배웁니다.
문장의 길이를 잽니다. 긴 길이 8짜리 배열입니다. 알 길이 없습니다. 미로에서 길을 찾습니다.
합을 개수로 나눕니다. 데이터를 나누어 씁니다. 문장을 나누어 씁니다.
7을 2로 나눈 몫은 3, 나머지는 1입니다. 정수 나눗셈의 몫을 씁니다.
백 번 꼴로 나옵니다. 열 명꼴입니다. 바닥부터 만듭니다. 바닥 함수를 씁니다. 원의 둘레를 구합니다.
자물쇠와 열쇠에 빗댑니다. 누운 사람의 사진입니다. 합을 4로 나눕니다. 책의 2판입니다. 확률로 판단합니다.
연구실에서 만들었습니다. 한 걸음 더 들어갑니다. 걸음마를 배우는 로봇입니다.
모델은 6장에서 배웁니다. 신경망이 무엇인지 배웁니다. 논문의 저자가 말합니다. 규칙을 지킵니다.
층 하나의 파라미터를 셉니다. 각 샘플을 읽습니다. 데이터셋입니다.
픽셀은 0~255입니다. 정확도는 27%입니다. 0-1 손실을 씁니다. IEEE 754-2019를 따릅니다. CIFAR-10과 GPT-2를 씁니다. 2026-11-28에 쟀습니다.
**기울기**(gradient)입니다. **예측해 보세요** 이 값은 얼마일까요? 후버 손실을 쓰는 방법입니다 (Huber, 1964).
손님이 "배송이 언제 오나요?"라고 물었습니다.
"""

# A sentence for every pattern of [sense] and NOTATION, which must not pass.
WRONG = """
두 값을 견줍니다.
라이브러리와 맞춥니다.
나누는 까닭입니다.
어휘의 몫이 줄어듭니다.
닫힌 꼴로 확인합니다.
손실이 바닥에 닿습니다.
정답 둘레를 오갑니다.
이름을 열쇠로 삼습니다.
주황 선은 눕습니다.
라이브러리의 판이 바뀝니다.
첫 레코드는 판을 알리는 글자입니다.
큰 구실을 합니다.
벽시계로 쟀습니다.
직접 쓴 층이 같은 값을 냅니다.
순전파를 NumPy로 씁니다.
BPE를 바닥부터 씁니다.
부하를 고르게 나눕니다.
완전히 고른 라우터입니다.
부하가 고르면 N입니다.
점선이 고른 부하입니다.
긍정인지 부정인지 가립니다.
기울기는 가지마다 더합니다.
오른쪽 가지를 지납니다.
가중치 하나가 두 가지에 나타납니다.
건너뛴 길의 미분은 1입니다.
캐시를 나누어 씁니다.
걸음마다 읽습니다.
학습 한 걸음의 시간입니다.
메시지가 처방까지 말합니다.
생성자가 배우는 것은 분포입니다.
모델은 하나의 벡터를 냅니다.
각각의 샘플들을 읽습니다.
정확도는 27 %입니다.
픽셀은 0-255입니다.
이것이 **기울기(gradient)**입니다.
이것이 **기울기** 입니다.
후버 손실을 쓰는 방법입니다(Huber, 1964).
모양은 무엇입니까?
"""


def violations_of(source):
    notebook = nbformat.v4.new_notebook(cells=[sample.text(source)])
    return [v for rule in (rules.korean, rules.one_sense, rules.notation) for v in rule(notebook, None)]


@pytest.mark.parametrize("line", RIGHT.strip().split("\n"))
def test_a_word_used_rightly_passes(line):
    assert violations_of(line) == []


@pytest.mark.parametrize("line", WRONG.strip().split("\n"))
def test_a_word_used_wrongly_is_found(line):
    assert violations_of(line)


def test_every_pattern_has_a_sentence_that_it_finds():
    patterns = [p for found in prose.glossary()["sense"].values() for p in found] + list(
        prose.NOTATION.values()
    )
    lines = WRONG.strip().split("\n")
    assert [p for p in patterns if not any(re.search(p, line) for line in lines)] == []


@pytest.mark.parametrize("name", prose.glossary()["seldom"])
def test_what_is_seldom_said_may_be_said_a_few_times(name):
    entry = prose.glossary()["seldom"][name]
    words = ("까닭", "기준은 둘입니다", "층을 통해", "다양한 값")
    word = next(word for word in words if any(re.search(pattern, word) for pattern in entry["patterns"]))
    assert not violations_of(f"{word}.\n\n" * entry["at_most"])
    assert violations_of(f"{word}.\n\n" * (entry["at_most"] + 1))
