"""What a request of OpenAI's API asks for: a table of fields, and one Korean sentence for each mistake."""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from llm_server.engine.base import Sampling

ROLES = ("system", "developer", "user", "assistant")
SHORT = 16  # tokens of an answer of /v1/completions that does not say how many, as OpenAI has it
STOPS, STOP_LENGTH = 4, 256  # strings, and characters of one


class Refused(Exception):
    """A request that is not answered: status, one Korean sentence, and OpenAI's ``code`` and ``param``."""

    def __init__(
        self, status: int, sentence: str, code: str, param: str | None = None, retry: str | None = None
    ):
        super().__init__(sentence)
        self.status, self.code, self.param = status, code, param
        self.headers = {"Retry-After": retry} if retry else {}

    def body(self) -> dict:
        kind = {401: "authentication_error", 429: "rate_limit_error"}.get(
            self.status, "invalid_request_error" if self.status < 500 else "server_error"
        )
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


@dataclass(frozen=True)
class Asked:
    """A request that is well formed.

    Attributes:
        model: its name.
        prompt: text, token ids, or the messages of a chat (dicts of ``role`` and ``content``).
        most: tokens of the answer at most; ``None``: as many as there is room for.
        sampling: how they are chosen.
        stops: strings that end the answer.
        stop_ids: tokens that do, beside the model's own.
        ignore_eos: the model's own do not.
        stream: as events.
        usage: of a stream, at its end.
        ids: of the answer's tokens are wanted, too.
    """

    model: str
    prompt: str | tuple[int, ...] | list[dict]
    most: int | None
    sampling: Sampling
    stops: tuple[str, ...]
    stop_ids: frozenset[int]
    ignore_eos: bool
    stream: bool
    usage: bool
    ids: bool


def _flag(value) -> bool:
    return isinstance(value, bool)


def _text(value) -> bool:
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _whole(low: int, high: int) -> Callable[[object], bool]:
    return lambda value: type(value) is int and low <= value <= high


def _number(low: float, high: float) -> Callable[[object], bool]:
    return lambda value: type(value) in (int, float) and low <= value <= high


def _stop_strings(value) -> bool:
    strings = value if isinstance(value, list) else [value]
    return len(strings) <= STOPS and all(_text(one) and 0 < len(one) <= STOP_LENGTH for one in strings)


def _ids(value) -> bool:
    return isinstance(value, list) and all(map(_whole(0, 2**31), value))


def _prompt(value) -> bool:
    one = value[0] if isinstance(value, list) and len(value) == 1 and not _ids(value) else value
    return _text(one) or _ids(one)


def _messages(value) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(map(_message, value))


def _message(value) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() <= {"role", "content", "name"}
        and value.get("role") in ROLES
        and _content(value.get("content")) is not None
    )


def _content(value) -> str | None:
    """Return the text of a message: a string, or parts that are text."""
    if isinstance(value, str):
        return value if _text(value) else None
    parts = value if isinstance(value, list) else [None]
    if not all(
        isinstance(part, dict) and part.get("type") == "text" and _text(part.get("text")) for part in parts
    ):
        return None
    return "".join(part["text"] for part in parts)


# Fields that mean something here: what is right, what is said otherwise, and the value without it.
COMMON = {
    "model": (_text, "모델 이름이어야", None),
    "max_tokens": (_whole(1, 2**31), "1 이상의 정수여야", None),
    "temperature": (_number(0, 2), "0~2의 수여야", 1.0),
    "top_p": (_number(1e-6, 1), "0보다 크고 1 이하인 수여야", 1.0),
    "top_k": (_whole(-1, 2**31), "-1 이상의 정수여야", 0),
    "seed": (_whole(-(2**63), 2**63 - 1), "64비트 정수여야", None),
    "stop": (_stop_strings, f"{STOP_LENGTH}자 이하의 문자열 {STOPS}개 이하여야", ()),
    "stop_token_ids": (_ids, "토큰 번호의 목록이어야", ()),
    "ignore_eos": (_flag, "true나 false여야", False),
    "stream": (_flag, "true나 false여야", False),
    "stream_options": (
        lambda value: isinstance(value, dict) and value.keys() <= {"include_usage", "include_obfuscation"}
        and all(map(_flag, value.values())),
        "include_usage만 담은 객체여야",
        {},
    ),
    "return_token_ids": (_flag, "true나 false여야", False),
}  # fmt: skip
CHAT = COMMON | {
    "messages": (_messages, f"role({', '.join(ROLES)})과 글인 content를 담은 목록이어야", None),
    "max_completion_tokens": (_whole(1, 2**31), "1 이상의 정수여야", None),
}
COMPLETION = COMMON | {"prompt": (_prompt, "문자열 하나나 토큰 번호의 목록 하나여야", None)}
# Fields that ask for what is not done here, unless they have a value (as JSON) that asks for nothing.
NEUTRAL = {
    "n": ("1",), "best_of": ("1",), "echo": ("false",), "logprobs": ("false",), "top_logprobs": ("0",),
    "presence_penalty": ("0", "0.0"), "frequency_penalty": ("0", "0.0"), "logit_bias": ("{}",), "suffix": ('""',),
    "tools": ("[]",), "functions": ("[]",), "tool_choice": ('"none"', '"auto"'), "modalities": ('["text"]',),
    "response_format": ('{"type": "text"}',),
}  # fmt: skip
IGNORED = {
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "parallel_tool_calls",
}  # fmt: skip


def parse(body: bytes, chat: bool) -> Asked:
    """Read a request.

    Raises:
        Refused: with what to mend.
    """
    fields = CHAT if chat else COMPLETION
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise Refused(400, "본문이 UTF-8로 쓴 JSON 객체가 아니니 고쳐서 다시 보내세요.", "invalid_json")
    given = {name: value for name, value in given.items() if value is not None}
    for name, value in given.items():
        _check(fields, name, value)
    for name in ("model", "messages" if chat else "prompt"):
        if name not in given:
            raise Refused(400, f"{name}이(가) 없으니 넣어서 다시 보내세요.", "missing_field", name)
    value = {name: default for name, (_, _, default) in fields.items()} | given
    stop = value["stop"]
    seed = value["seed"]
    return Asked(
        model=value["model"],
        prompt=_conversation(value["messages"]) if chat else _one(value["prompt"]),
        most=value.get("max_completion_tokens") or value["max_tokens"] or (None if chat else SHORT),
        sampling=Sampling(
            temperature=value["temperature"],
            top_p=value["top_p"],
            top_k=max(0, value["top_k"]),  # -1 is vLLM's for all tokens.
            seed=secrets.randbits(63) if seed is None else seed,
        ),
        stops=(stop,) if isinstance(stop, str) else tuple(stop),
        stop_ids=frozenset(value["stop_token_ids"]),
        ignore_eos=value["ignore_eos"],
        stream=value["stream"],
        usage=value["stream_options"].get("include_usage", False),
        ids=value["return_token_ids"],
    )


def _check(fields: dict, name: str, value) -> None:
    if name in IGNORED:
        return
    shown = ascii(name[:40])[1:-1]
    if name in NEUTRAL:
        if json.dumps(value) not in NEUTRAL[name]:
            raise Refused(
                400, f"{name}은(는) 이 서버가 하지 않는 것이니 빼고 다시 보내세요.", "unsupported_value", name
            )
    elif name not in fields:
        raise Refused(400, f"{shown}은(는) 모르는 칸이니 빼고 다시 보내세요.", "unknown_field", shown)
    elif not fields[name][0](value):
        raise Refused(
            400, f"{name}은(는) {fields[name][1]} 하니 고쳐서 다시 보내세요.", "invalid_value", name
        )


def _conversation(messages: list[dict]) -> list[dict]:
    """Return messages of role and text; ``developer`` is OpenAI's newer name of ``system``."""
    role = {"developer": "system"}
    return [
        {"role": role.get(one["role"], one["role"]), "content": _content(one["content"])} for one in messages
    ]


def _one(prompt) -> str | tuple[int, ...]:
    """Return the one prompt: text or token ids, with or without a list around it."""
    if isinstance(prompt, list) and prompt and not _ids(prompt):
        prompt = prompt[0]
    return prompt if isinstance(prompt, str) else tuple(prompt)
