"""Cleaning: what becomes the same, what must stay different, and that twice is once."""

import random
import unicodedata

import pytest

from korean_nlp.cleaning import clean


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("ㅋㅋㅋㅋㅋ 웃겨!!!!", "ㅋㅋ 웃겨!!"),
        ("하하하하 ㅠㅠ....", "하하 ㅠㅠ.."),
        ("1000000원, 신용등급 AAA", "1000000원, 신용등급 AAA"),
        (unicodedata.normalize("NFD", "값이 올랐다"), "값이 올랐다"),
        ("\ufeff가\u200b나\x00다\u202e", "가나다"),
        ("가\u3000나\xa0다\r\n\t라", "가 나 다 라"),
        ("https://news.example.com/a?b=c#d를 보세요", "URL 를 보세요"),
        ("(www.example.co.kr)", "( URL )"),
        ("문의: kim.ab+c@mail.example.co.kr로", "문의: EMAIL 로"),
        ("주소 없는 http:// 와 @이름", "주소 없는 http:// 와 @이름"),
        (" \n\t", ""),
    ],
)
def test_clean(text, cleaned):
    assert clean(text) == cleaned


def test_twice_is_once():
    chance = random.Random(0)
    letters = "가나ㅋㅠaA1.!/:@ \n\u200d\u0301\u1100\u1161\u11a8é😀́" + "www.http://"
    for _ in range(20000):
        text = "".join(chance.choice(letters) for _ in range(chance.randrange(24)))
        once = clean(text)
        assert clean(once) == once, ascii(text)
        assert unicodedata.is_normalized("NFC", once) and once.isprintable()
