"""Text in, token ids out, and back again while they come: chat template, incremental decoding, stop strings."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import jinja2

from tf_study.errors import StudyError

UNKNOWN = "\ufffd"  # what stands for bytes that are no character, and for those that are not one yet
HELD = (
    64  # of these marks, at most, may still become characters: some tokenizers decode a row of bytes at once
)
CONTEXTS = (8, 2 * HELD)  # tokens that are decoded again with new ones; the second where 8 are all such marks
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class Delta:
    """What came of a step: text that is certain now, the new tokens, and in the last one why it ended."""

    text: str
    tokens: tuple[int, ...]
    finish: str | None = None


class Text:
    """A tokenizer (a fast one of transformers) as the gateway uses it.

    Args:
        tokenizer: with or without a chat template.
        stops: the tokens that end an answer.
    """

    def __init__(self, tokenizer, stops: frozenset[int]):
        self.tokenizer, self.core, self.stops = tokenizer, tokenizer.backend_tokenizer, stops

    @cached_property
    def longest(self) -> int:
        """The characters of the longest token; a text has at least its length divided by that many tokens."""
        return max(map(len, self.core.get_vocab()))

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the tokens of a text, with what the model wants before one."""
        return tuple(self.core.encode(text).ids)

    def chat(self, messages: list[dict]) -> str:
        """Return the text that the model's template makes of messages, up to where the answer begins.

        Raises:
            StudyError: if there is no template, or it refuses the messages.
        """
        if not self.tokenizer.chat_template:
            raise StudyError("이 모델에는 대화 형식이 없으니 /v1/completions로 보내세요.")
        try:
            return self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except jinja2.TemplateError as error:
            raise StudyError(
                f"messages가 모델의 대화 형식에 맞지 않으니 고쳐서 보내세요 ({error})."
            ) from None

    def encode_chat(self, text: str) -> tuple[int, ...]:
        """Return the tokens of what :meth:`chat` returned, whose template has written everything."""
        return tuple(self.core.encode(text, add_special_tokens=False).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, without special ones."""
        return self.core.decode(list(tokens))


class Reader:
    """The text of one answer while its tokens come: no half characters, nothing that may begin a stop string.

    Args:
        text: decodes.
        stops: strings that end the answer and are not given out.
    """

    def __init__(self, text: Text, stops: Iterable[str] = ()):
        self.text, self.stops = text, tuple(stops)
        self.window: list[int] = []  # the last tokens
        self.given = 0  # characters of the window's text that have been taken from it
        self.held = ""  # taken, but it may be the beginning of a stop string

    def add(self, tokens: Sequence[int], finish: str | None = None) -> Delta:
        """Take new tokens, and why they are the last if they are. After a ``finish`` there is nothing to add."""
        new, stopped = self._stop(self._decode(tokens, finish is not None))
        if finish and not stopped:
            new, self.held = new + self.held, ""
        return Delta(new, tuple(tokens), "stop" if stopped else finish)

    def _decode(self, tokens: Sequence[int], last: bool) -> str:
        """Return the characters that are certain now. Of a text that ends in the midst of one, the end is not."""
        self.window += tokens
        text = self.text.decode(self.window)
        end = len(text) if last else _certain(text)
        new = text[self.given : end]
        self.given = max(end, self.given)
        for kept in CONTEXTS:
            if len(self.window) > 4 * kept:
                short = self.text.decode(self.window[-kept:])
                if len(short) - _certain(short) == len(text) - end:
                    self.window, self.given = self.window[-kept:], _certain(short)
        return new

    def _stop(self, new: str) -> tuple[str, bool]:
        """Return what of held and new text can be given out, and whether a stop string came."""
        text = self.held + new
        places = [place for stop in self.stops if (place := text.find(stop)) >= 0]
        if places:
            return text[: min(places)], True
        kept = next(
            length
            for length in range(min(len(text), max(map(len, self.stops), default=1) - 1), -1, -1)
            if length == 0 or any(stop.startswith(text[-length:]) for stop in self.stops)
        )
        cut = len(text) - kept
        self.held = text[cut:]
        return text[:cut], False


def _certain(text: str) -> int:
    """Return how many characters stay as they are whatever comes next."""
    return max(len(text.rstrip(UNKNOWN)), len(text) - HELD)


def stops(tokenizer, source: str | Path) -> frozenset[int]:
    """Return the tokens that end an answer: the tokenizer's, and those that a model's folder names."""
    found = {tokenizer.eos_token_id} - {None}
    for name in ("config.json", "generation_config.json"):
        if (file := Path(source) / name).is_file():
            named = json.loads(file.read_text(encoding="utf-8")).get("eos_token_id")
            found |= set(named if isinstance(named, list) else [] if named is None else [named])
    return frozenset(found)


def bytewise():
    """Return a tokenizer whose tokens are the 256 bytes and three marks, with a chat template; for the tiny model."""
    import transformers
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    marks = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    core.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks])
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=core, eos_token=marks[2], pad_token=marks[0])
    fast.chat_template = CHATML
    return fast
