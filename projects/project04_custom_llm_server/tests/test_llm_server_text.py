"""Text while its tokens come: nothing is given out that a later token changes, and nothing is lost."""

import tf_study  # noqa: F401  isort: skip

import numpy as np
import pytest
from llm_server_scripted import TEXT, TOKENIZER
from tokenizers import Tokenizer, decoders, models

from llm_server import text
from llm_server.text import Reader, Text
from tf_study import pretrained
from tf_study.errors import StudyError


def parts(reader, tokens, finish="length"):
    """Feed tokens one by one, the last with the end."""
    found = [
        reader.add([token], finish if number == len(tokens) else None)
        for number, token in enumerate(tokens, start=1)
    ]
    return [delta.text for delta in found], found[-1].finish


def test_a_syllable_comes_whole():
    pieces, _ = parts(Reader(TEXT), TEXT.encode("한글과 🤖, é."))
    assert "".join(pieces) == "한글과 🤖, é." and [piece for piece in pieces if piece] == list(
        "한글과 🤖, é."
    )
    assert pieces[:4] == ["", "", "한", ""]


@pytest.mark.parametrize("size", [1, 3, 7])
def test_random_bytes_add_up(size):
    """Also of bytes that are no text at all, the parts are the whole, whatever comes together."""
    rng = np.random.default_rng(size)
    for _ in range(60):
        high = int(rng.choice([128, 256, len(TOKENIZER)]))  # ASCII, any bytes, marks too
        tokens = rng.integers(0, high, rng.integers(1, 120)).tolist()
        tokens += list(TEXT.encode("한글")) * int(rng.integers(0, 20))
        reader, found = Reader(TEXT), ""
        for start in range(0, len(tokens), size):
            last = start + size >= len(tokens)
            found += reader.add(tokens[start : start + size], "length" if last else None).text
        assert found == TEXT.decode(tokens)


def test_long_answers_decode_little():
    """A thousand tokens, garbage among them, are decoded in windows and not again and again from the start."""
    seen = []

    class Counting(Text):
        def decode(self, tokens):
            seen.append(len(tokens))
            return super().decode(tokens)

    garbage = TOKENIZER.convert_tokens_to_ids("ÿ")  # byte 255, which no character has
    for tokens, most in (
        (TEXT.encode("한글 " * 150), 33),
        (np.random.default_rng(0).integers(0, 256, 1000).tolist(), 100),
        ([garbage] * 1000, 513),
    ):
        seen.clear()
        pieces, _ = parts(Reader(Counting(TOKENIZER, frozenset())), tokens)
        assert "".join(pieces) == TEXT.decode(tokens) and max(seen) <= most


def test_byte_fallback():
    """Llama 2's tokenizers write what they do not know as bytes, of which an unfinished character has several marks."""
    words = {"▁안": 0, "녕": 1, "▁a": 2} | {f"<0x{byte:02X}>": 3 + byte for byte in range(256)}
    core = Tokenizer(models.BPE(words, [], byte_fallback=True))
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )

    class Fast:
        backend_tokenizer = core

    tokens = [0, 1, 2, *[3 + byte for byte in "한🤖".encode()], 2, *[3 + byte for byte in "글".encode()], 0]
    pieces, _ = parts(Reader(Text(Fast, frozenset())), tokens)
    assert "".join(pieces) == "안녕 a한🤖 a글 안" == core.decode(tokens)
    assert not any(text.UNKNOWN in piece for piece in pieces)


@pytest.mark.parametrize(
    ("stops", "wanted", "finish"),
    [
        (["반갑"], "안녕, ", "stop"),
        (["없음", "습니다"], "안녕, 반갑", "stop"),
        (["녕, 반", "반갑"], "안", "stop"),  # the one that begins first
        (["갑습니다."], "안녕, 반", "stop"),  # at the very end
        (["갑습니다.!"], "안녕, 반갑습니다.", "length"),  # begun and not finished
        (["안"], "", "stop"),
        ([], "안녕, 반갑습니다.", "length"),
    ],
)
@pytest.mark.parametrize("size", [1, 5, 100])
def test_stop_strings(stops, wanted, finish, size):
    tokens = TEXT.encode("안녕, 반갑습니다.")
    reader, found = Reader(TEXT, stops), ""
    for start in range(0, len(tokens), size):
        delta = reader.add(tokens[start : start + size], "length" if start + size >= len(tokens) else None)
        found += delta.text
        assert wanted.startswith(found)  # Nothing of a stop string is ever given out.
        if delta.finish:
            break
    assert (found, delta.finish) == (wanted, finish)


def test_a_stop_string_ends_at_once():
    reader = Reader(TEXT, ["b"])
    assert [reader.add(TEXT.encode(letter)).finish for letter in "ab"] == [None, "stop"]


def test_chat_template():
    messages = [{"role": "system", "content": "짧게"}, {"role": "user", "content": "안녕"}]
    made = TEXT.chat(messages)
    assert (
        made
        == "<|im_start|>system\n짧게<|im_end|>\n<|im_start|>user\n안녕<|im_end|>\n<|im_start|>assistant\n"
    )
    assert (
        TEXT.decode(TEXT.encode_chat(made)) == "system\n짧게\nuser\n안녕\nassistant\n"
    )  # The marks are tokens.
    plain = text.bytewise()
    plain.chat_template = None
    with pytest.raises(StudyError, match="/v1/completions로 보내세요.$"):
        Text(plain, frozenset()).chat(messages)
    plain.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(StudyError, match="고쳐서 보내세요 .roles must alternate.*$"):
        Text(plain, frozenset()).chat(messages)


def test_stops_of_a_folder(tmp_path):
    assert text.stops(TOKENIZER, tmp_path) == {TOKENIZER.eos_token_id}
    (tmp_path / "config.json").write_text('{"eos_token_id": 3}')
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [4, 5]}')
    assert text.stops(TOKENIZER, tmp_path) == {3, 4, 5, TOKENIZER.eos_token_id}


@pytest.mark.skipif(not pretrained.available("smollm2"), reason="smollm2는 make models가 받습니다.")
def test_the_real_models_tokenizer():
    from llm_server import models as named

    source, real, name = named.load("smollm2")
    assert (source, name) == ("smollm2", "smollm2") and real.stops
    words = "The capital of Korea is 서울이고, 🤖 said so."
    tokens = real.encode(words)
    pieces, _ = parts(Reader(real), tokens)
    assert "".join(pieces) == words and not any(text.UNKNOWN in piece for piece in pieces)
    assert real.decode(real.encode_chat(real.chat([{"role": "user", "content": "Hi"}]))).endswith(
        "assistant\n"
    )
    assert len(words * 1000) > real.longest
