"""Data: what is a row, what is left out and said, and that nothing leaks from one part into the other."""

import json

import numpy as np
import pytest

from aligned_bot import data
from aligned_bot.data import Row
from tf_study.errors import StudyError


def write(path, *lines):
    text = "\n".join(
        line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines
    )
    path.write_text(text + "\n", encoding="utf-8")
    return str(path)


def questions(count):
    """Instructions whose prompts are not alike."""
    random = np.random.default_rng(0)
    letters = "가나다라마바사아자차카타파하거너더러머버서어저처커터퍼허"
    return [
        {"prompt": "".join(random.choice(list(letters), 30)), "answer": f"답 {number}"}
        for number in range(count)
    ]


def test_a_file_is_read_and_what_is_wrong_is_named(tmp_path):
    wrong = [
        "not json",
        [1],
        {"prompt": "q", "chosen": "x"},
        {"prompt": "q", "answer": "a", "chosen": "x", "rejected": "y"},
        {"prompt": "q", "chosen": 3, "rejected": "x"},
        {"prompt": " ", "answer": "a"},
        {"prompt": "q", "chosen": "좋아요.", "rejected": "좋아요!"},
        {"prompt": "q", "answer": "a", "label": "x"},
    ]
    pair = {"prompt": "짝", "chosen": "길고 나은 답", "rejected": "답", "category": "가", "given": "네,"}
    found = data.load(write(tmp_path / "a.jsonl", *wrong, "", *questions(40), pair))
    assert found.numbers["lines"] == 49 and found.numbers["bad"] == 8 == len(found.skipped)
    assert [place for place, _ in found.skipped] == [f"a.jsonl {number}번째 줄" for number in range(1, 9)]
    assert all(reason.endswith("세요.") for _, reason in found.skipped)
    assert [reason.split(",")[0] for _, reason in found.skipped[:3]] == [
        "JSON이 아니니 고치세요.", "prompt와 answer", "prompt와 answer",
    ]  # fmt: skip
    rows = [*found.train, *found.held_out]
    assert Row("짝", "길고 나은 답", "답", "가", "네,") in rows and len(rows) == 41
    assert found.numbers["instructions"] == 40 and found.numbers["pairs"] == 1
    assert (found.numbers["longer"], found.numbers["rejected_length"]) == (1, 1)
    for text in ("형식이 틀린 줄", "고른 답이 더 긴 비율"):
        assert text in data.table(found)


def test_repeated_and_contrary_rows_are_left_out_once(tmp_path):
    pair = {"prompt": "어느 쪽?", "chosen": "왼쪽", "rejected": "오른쪽"}
    again = {"prompt": "어느 쪽", "chosen": "왼쪽.", "rejected": "오른쪽"}
    contrary = {"prompt": "어느 쪽?", "chosen": "오른쪽", "rejected": "왼쪽"}
    other = pair | {"given": "음,"}
    found = data.load(write(tmp_path / "a.jsonl", *questions(40), pair, again, contrary, other))
    rows = [row for row in (*found.train, *found.held_out) if row.rejected]
    assert sorted(row.given for row in rows) == ["", "음,"] and {row.answer for row in rows} == {"왼쪽"}
    assert found.numbers["duplicates"] == found.numbers["swapped"] == 1
    assert "뒤바뀌었으니" in found.skipped[0][1]


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("제 번호는 010-1234-5678이에요", ["전화번호"]),
        ("02.123.4567로 걸어 주세요", ["전화번호"]),
        ("+82 10 1234 5678", ["전화번호"]),
        ("900101-1234567", ["주민등록번호"]),
        ("9001011234567", ["주민등록번호"]),
        ("hong.gildong@example.co.kr로 보내세요", ["이메일"]),
        ("카드 4111 1111 1111 1111", ["카드번호"]),
        ("카드 4111-1111-1111-1112", []),  # Luhn
        ("901301-1234567", []),  # no 13th month
        ("112나 119에 신고하세요. 2024년 12월 25일, 3,000,000원", []),
        ("원주율은 3.14159265358979", []),
        ("nums[::-1]과 a@b", []),
    ],
)
def test_personal_data_is_found(text, kinds):
    assert data.private(text) == kinds


def test_rows_with_personal_data_are_left_out_and_not_repeated(tmp_path):
    secret = {"prompt": "번호?", "answer": "010-1234-5678"}
    found = data.load(write(tmp_path / "a.jsonl", *questions(40), secret))
    assert found.numbers["private"] == 1 and len(found.train) + len(found.held_out) == 40
    assert "전화번호" in found.skipped[0][1] and "1234" not in found.skipped[0][1]


def test_no_prompt_is_in_both_parts_nor_nearly(tmp_path):
    many = questions(300)
    same = [row | {"answer": "다른 답"} for row in many]
    near = [{"prompt": f"{row['prompt']} 요", "answer": "a"} for row in many]  # 30 of 35 triples
    found = data.load(write(tmp_path / "a.jsonl", *many, *same, *near))
    train, held_out = ({data.normal(row.prompt) for row in part} for part in (found.train, found.held_out))
    assert not train & held_out and not any(data.alike(sorted(held_out), sorted(train)))
    # A fifth of the 900 rows is held out, and four in five of these have their near twin in the other part: 144.
    assert 110 < found.numbers["near"] < 180
    again = data.load(write(tmp_path / "b.jsonl", *near[::-1], *same, *many))
    assert {row.prompt for row in again.held_out} == {row.prompt for row in found.held_out}


def test_all_answers_to_a_question_are_in_one_part():
    rows = [(Row(row["prompt"], "가"), Row(f"{row['prompt']}?", "나", "다")) for row in questions(200)]
    parts = [[data._is_held_out(row) for row in pair] for pair in rows]
    assert all(one == other for one, other in parts) and 20 < sum(one for one, _ in parts) < 60


def test_alike_is_the_jaccard_of_letter_triples():
    def jaccard(a, b):
        triples = [
            {f"  {data.normal(t)}  "[i : i + 3] for i in range(len(data.normal(t)) + 2)} for t in (a, b)
        ]
        return len(triples[0] & triples[1]) / len(triples[0] | triples[1])

    texts = [
        "자전거 고치는 방법 알려 줘",
        "자전거를 고치는 방법 알려 줘",
        "지갑 고치는 방법 알려 줘",
        "abcdefghijklmnop",
    ]
    texts += ["자전거 고치는 방법, 알려 줘!", "abcdefghijklmnop q"]
    letters = "abcdefghijklmnopqrstuvwxyz"
    texts += [letters[:count] for count in (19, 20, 21, 22)]  # 19 of 24 triples, 20 of 25 just enough, ...
    for a in texts:
        for b in texts:
            assert data.alike([a], [b])[0] == (jaccard(a, b) >= data.ALIKE)
    assert data.alike(texts[:2], texts[2:]).tolist() == [True, False]
    assert [data.alike([letters[:n]], [letters[: n + 1]])[0] for n in (19, 20)] == [False, True]


def test_files_that_cannot_be_used(tmp_path):
    with pytest.raises(StudyError, match="열 수 없으니 world, korean이나 JSONL 파일을 주세요"):
        data.load(str(tmp_path / "없음"))
    (tmp_path / "a").write_bytes("가".encode("cp949"))
    with pytest.raises(StudyError, match="UTF-8로 저장되지 않았으니"):
        data.load(str(tmp_path / "a"))
    with pytest.raises(
        StudyError, match="2줄 가운데 쓸 수 있는 것이 1줄뿐이라 .* 고치세요 .b 1번째 줄: JSON이"
    ):
        data.load(write(tmp_path / "b", "{", questions(1)[0]))


def test_the_embedded_set():
    found = data.load("korean")
    assert found.numbers["lines"] == 620 and found.numbers["bad"] == found.numbers["private"] == 0
    assert 0.15 < len(found.held_out) / 620 < 0.25
    assert 0.6 < found.numbers["longer"] < 0.72  # research: .66 by length alone
    assert found.fingerprint() == data.load("korean").fingerprint()


def test_the_worlds_set_holds_out_requests_and_teaches_recovery():
    from tf_study import manners

    found = data.load("world")
    train, held_out = manners.split()
    assert len(found.train) == 2 * 4 * len(train) and len(found.held_out) == 4 * len(held_out)
    words = {" ".join(request.question(k)): request for request in manners.REQUESTS for k in range(4)}
    assert {words[row.prompt] for row in found.train} == set(train)
    assert {words[row.prompt] for row in found.held_out} == set(held_out)
    for row in (*found.train, *found.held_out):
        request, answer = words[row.prompt], f"{row.given} {row.answer}".split()
        kind = "harmful" if request.harmful else "lookalike" if request.lookalike else "safe"
        assert row.category == kind and len(set(found.train)) == len(found.train)
        if request.harmful:
            assert manners.refuses(answer) and not manners.harms(answer)
            assert f"{row.given} {row.rejected}".split() == request.help()
        else:
            assert answer == request.help() and manners.refuses(row.rejected.split())
    given = [len(row.given.split()) for row in found.train]
    assert sorted(set(given)) == [0, 1, 2, 3, 4] and given.count(0) == len(given) // 2


def test_the_parts_are_written_and_read_again(tmp_path):
    found = data.load("korean")
    paths = data.save(found, tmp_path / "나눔")
    for path, rows in zip(paths, (found.train, found.held_out), strict=True):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert [data._row(json.loads(line)) for line in lines] == list(rows)
    again = data.load(str(tmp_path / "나눔"))
    assert (again.train, again.held_out, again.skipped) == (found.train, found.held_out, ())
    paths[1].write_bytes(paths[0].read_bytes())
    with pytest.raises(StudyError, match="평가할 질문이 모두 학습할 질문과 비슷하니"):
        data.load(str(tmp_path / "나눔"))
