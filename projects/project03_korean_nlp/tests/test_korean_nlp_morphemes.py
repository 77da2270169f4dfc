"""Analysers by name, and the texts that they choke on."""

import pytest

from korean_nlp import morphemes
from tf_study.errors import StudyError

HARD = ["", " ", "😀 좋다 𠀀", "ㅋㅋ!!", "URL EMAIL", "가" * 120, "a/b"]


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("kiwi", ["물가/NNG", "가/JKS", "오르/VV", "었/EP", "다/EF"]),
        ("okt", ["물가/Noun", "가/Josa", "올랐다/Verb"]),
        ("komoran", ["물가/NNG", "가/JKS", "오르/VV", "았/EP", "다/EC"]),
    ],
)
def test_analysers(name, first, kiwi):
    tagger = kiwi if name == "kiwi" else morphemes.Tagger(name)
    found = tagger.tag(["물가가 올랐다", *HARD])
    assert found[0] == first and found[1] == found[2] == []
    assert all("/" in morpheme for text in found for morpheme in text)
    letters = [form for morpheme in found[3] for form in morpheme.rpartition("/")[0]]
    assert "좋" in letters and (name == "komoran" or "😀" in letters)
    assert "".join(m.rpartition("/")[0] for m in found[6]) == "가" * 120 or name != "okt"
    assert tagger.tag(["물가가 올랐다"]) == [first] and tagger.version.count(".") == 2


def test_java_gets_no_long_runs(monkeypatch):
    """Okt's time grows with the square of a run: 800 syllables took 17 CPU seconds."""
    given = []

    class Java:
        def pos(self, text):
            given.append(text)
            return []

    monkeypatch.setattr("tf_study.korean.tagger", lambda name: Java())
    tagger = morphemes.Tagger("okt")
    tagger.tag(["가" * 1000, "나" * 100 + " " + "다" * 101])
    assert given[-2].split() == ["가" * 100] * 10
    assert given[-1].split() == ["나" * 100, "다" * 100, "다"]


def test_a_missing_analyser(monkeypatch):
    with pytest.raises(StudyError, match="kiwi, okt, komoran 가운데"):
        morphemes.Tagger("mecab")
    gone = morphemes.Analyser("no-such-package", "", "")
    monkeypatch.setitem(morphemes.ANALYSERS, "okt", gone)
    with pytest.raises(StudyError, match="no-such-package 패키지가 없어 okt을"):
        morphemes.Tagger("okt")
