"""The report: its numbers against a count by hand, its page in a browser."""

import re
from collections import Counter
from xml.etree import ElementTree

import numpy as np
import pytest

from korean_nlp import charts, keywords, reporting

WORDS = {
    "경제": Counter({"은행/NNG": 30, "오르/VV": 12, "하/VV": 40, "수출/NNG": 1}),
    "스포츠": Counter({"감독/NNG": 25, "오르/VV": 10, "하/VV": 45, "이기/VV": 9}),
}


def test_log_odds_by_hand():
    found = keywords.log_odds(WORDS, prior=50.0)
    count, here, rest, all_here, all_rest = 30, 30, 0, 83, 89
    alpha = 50.0 * count / (all_here + all_rest)
    inside = np.log((here + alpha) / (all_here + 50 - here - alpha))
    outside = np.log((rest + alpha) / (all_rest + 50 - rest - alpha))
    expected = (inside - outside) / np.sqrt(1 / (here + alpha) + 1 / (rest + alpha))
    assert found["경제"][0] == ("은행/NNG", pytest.approx(expected), 30)
    assert found["스포츠"][0][0] == "감독/NNG"
    # With two topics, one's score is the other's turned round.
    scores = {topic: {word: score for word, score, _ in rows} for topic, rows in found.items()}
    assert all(scores["경제"][word] == pytest.approx(-scores["스포츠"][word]) for word in scores["경제"])


def test_a_word_that_occurs_once_does_not_lead():
    words = [word for word, _, _ in keywords.log_odds(WORDS)["경제"]]
    assert words.index("은행/NNG") < words.index("수출/NNG")


def test_a_keyword_occurs_at_least_twice():
    found = reporting.Survey(counts=Counter(경제=1, 정치=1))
    found.words["경제"].update({f"한번{number}/NNG": 1 for number in range(20)} | {"두번/NNG": 2})
    found.words["정치"].update({"국회/NNG": 9})
    page = reporting._keywords(found)
    assert "두번" in page and "국회" in page and "한번" not in page
    del found.words["경제"]["두번/NNG"]
    assert "<h3>경제</h3>" not in reporting._keywords(found)


def test_without_another_topic_there_is_nothing_typical():
    assert keywords.log_odds({"경제": WORDS["경제"]}) == {"경제": []}
    assert keywords.log_odds({"경제": Counter(), "정치": Counter()}) == {"경제": [], "정치": []}


@pytest.mark.parametrize(
    ("morpheme", "kept"),
    [("은행/NNG", True), ("꽃/NNG", True), ("오르/VV", True), ("하/VV", False), ("아름답/VA-I", True),
     ("이/JKS", False), ("다/EF", False), ("AI/SL", True), ("코스피/Noun", True), ("1/SN", False)],
)  # fmt: skip
def test_words_with_a_meaning(morpheme, kept):
    assert keywords.is_content(morpheme) == kept


def svg(text):
    root = ElementTree.fromstring(text)
    return root, [float(item.get("y")) for item in root.iter("text") if item.get("style")]


def test_lines_keep_their_names_apart_and_inside():
    series = {f"주제 {number} <&>": [(0, 10), (5, 20 + number / 10)] for number in range(7)}
    text = charts.lines(series, "달", "비율", [(0, "처음"), (5, "끝")], [(0, "0"), (100, "100")])
    root, heights = svg(text)
    assert len(root.findall("polyline")) == 7
    assert min(np.diff(sorted(heights))) >= charts.GAP - 0.2
    assert 0 < min(heights) and max(heights) < charts.HEIGHT


def test_a_line_runs_where_its_values_say():
    text = charts.lines(
        {"a": [(0, 0), (10, 100)]}, "x", "y", [(0, "0"), (10, "10")], [(0, "0"), (100, "100")]
    )
    (line,) = svg(text)[0].findall("polyline")
    (x0, y0), (x1, y1) = (map(float, point.split(",")) for point in line.get("points").split())
    assert (x0, y0) == (charts.LEFT, charts.HEIGHT - charts.BOTTOM)
    assert (x1, y1) == (charts.WIDTH - charts.RIGHT, charts.TOP)


def test_bars_are_as_long_as_their_values():
    root, _ = svg(charts.bars([("가", 10.0, "열"), ("나", 5.0, "다섯"), ("다", -1.0, "없음")], 10.0))
    assert [float(bar.get("width")) for bar in root.findall("rect")] == [320.0, 160.0, 0.0]


def test_shares_of_a_month_count_all_its_topics():
    months = {"2016-03": {"경제": 3, "정치": 1}, "2016-01": {"경제": 1, "정치": 1}, "2015-12": {"정치": 4}}
    root, _ = svg(reporting.trend(months, ["경제", "정치"]))
    names = [item.text for item in root.iter("text")]
    assert "2015-12" in names and "2016-03" in names and "100%" in names
    line = root.findall("polyline")[0].get("points").split()
    places = [float(point.split(",")[0]) for point in line]
    heights = [(charts.HEIGHT - charts.BOTTOM - float(point.split(",")[1])) for point in line]
    # December, January and March: one month apart, then two.
    assert places[1] - places[0] == pytest.approx((places[2] - places[1]) / 2, abs=0.2)
    assert heights == [
        pytest.approx(share * (charts.HEIGHT - charts.TOP - charts.BOTTOM), abs=0.2)
        for share in (0, 0.5, 0.75)
    ]


def items(count=1100):
    for number in range(count):
        topic = ("경제", "정치", "")[number % 3]
        text = "<script>alert(1)</script>" if number < 3 else f"제목 {number}"
        yield {"id": str(number), "text": text, "date": f"2016-{1 + number % 12:02d}-05" if number % 2 else "",
               "label": topic, "morphemes": [f"{topic or '날씨'}/NNG", "이/JKS"]}  # fmt: skip


def test_a_survey_counts_every_record_once_and_asks_for_missing_topics_in_blocks():
    asked = []

    def guess(rows):
        asked.append(len(rows))
        return ["정치"] * len(rows)

    found = reporting.survey(items(), guess, block=100)
    assert sum(found.counts.values()) == 1100 and found.counts["경제"] == 367
    assert found.guessed == 366 == sum(asked) and max(asked) == 100
    assert sum(sum(month.values()) for month in found.months.values()) == 550
    assert found.words["경제"] == {"경제/NNG": 367}
    assert [len(texts) for texts in found.texts.values()] == [reporting.EXAMPLES] * 2


def measured():
    at = {"threshold": 0.4, "coverage": 0.9, "accuracy": 0.8, "outside": 0.3}
    topics = {name: {"precision": 0.5, "recall": 0.5, "f1": 0.5, "count": 4} for name in ("경제", "정치")}
    scores = {
        "macro_f1": 0.5, "accuracy": 0.5, "topics": topics, "confusion": [[2, 2], [2, 2]], "at_threshold": at,
        "curve": [at, at | {"coverage": 0.5, "accuracy": 0.9, "outside": 0.1}],
        "mistakes": [{"text": "<b>제목</b>", "label": "경제", "guess": "정치", "probability": 0.9}],
    }  # fmt: skip
    against = {"difference": -0.1, "low": -0.2, "high": 0.0, "p": 0.04}
    return {"classes": ["경제", "정치"], "best": "baseline", "count": 8, "outside": {"name": "리뷰", "count": 9},
            "models": {"lstm": scores, "cnn": scores, "baseline": scores},
            "comparisons": {"lstm": against, "cnn": against}}  # fmt: skip


def written(tmp_path, monkeypatch):
    manifest = {"records": 1100, "dates": ["2016-01-05", "2016-12-05"], "morphemes": 2200, "duplicates": 1, "bad": 2,
                "tagger": {"name": "kiwi", "version": "0"}, "sources": ["뉴스 & 제목"], "labels": {"": 366}}  # fmt: skip
    monkeypatch.setattr(reporting.storage, "read_card", lambda folder: {})
    monkeypatch.setattr(reporting, "read_evaluation", lambda folder: measured())
    monkeypatch.setattr(reporting.records, "read_manifest", lambda folder: manifest)
    monkeypatch.setattr(reporting.records, "read", lambda folder: items())
    monkeypatch.setattr(reporting, "_guesser", lambda folder, card: lambda rows: ["기타"] * len(rows))
    path = tmp_path / "보고서.html"
    path.write_text(reporting.report(tmp_path, tmp_path), encoding="utf-8")
    return path


def test_the_page_loads_nothing_and_shows_texts_as_texts(tmp_path, monkeypatch):
    text = written(tmp_path, monkeypatch).read_text("utf-8")
    assert "<script" not in text and "&lt;script&gt;alert(1)" in text and "&lt;b&gt;제목" in text
    assert not re.search(r"(?:src|href)=\"(?!data:)", text) and "://" not in text
    assert "뉴스 &amp; 제목의 주제" in text and "$" not in text


def test_the_page_in_a_browser(tmp_path, monkeypatch, page):
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(written(tmp_path, monkeypatch).as_uri())
    titles = [heading.inner_text() for heading in page.locator("h2").all()]
    assert titles == ["자료", "점수", "무엇을 무엇으로 잘못 읽나", "주제마다의 키워드", "시간별 추이",
                      "모르면 답하지 않기", "자신 있게 틀린 글", "글의 예"]  # fmt: skip
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, (
        "a telephone scrolls the tables alone"
    )
    assert page.locator("svg").count() >= 3 and not said
    page.emulate_media(color_scheme="dark")
    ground, letters = (
        page.evaluate(f"getComputedStyle(document.body).{name}") for name in ("backgroundColor", "color")
    )
    assert ground == "rgb(22, 23, 24)" and letters == "rgb(236, 236, 234)"
