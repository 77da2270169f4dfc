"""Who may ask, and how much: API keys from a file, and for each a bucket of requests and one of tokens."""

import hashlib
import math
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

from tf_study.errors import StudyError

REQUESTS, TOKENS = 60, 60_000  # a minute, unless the file says otherwise
SHORTEST = 16  # characters of a key


class Bucket:
    """A bucket of at most ``minute`` units that fills evenly, all of it in a minute."""

    def __init__(self, minute: int, clock: Callable[[], float] = time.monotonic):
        self.most, self.level, self.clock, self.last = minute, float(minute), clock, clock()

    def take(self, amount: int) -> float:
        """Take units, all there are of a full bucket at most; return 0, or without taking the seconds to wait."""
        amount, now = min(amount, self.most), self.clock()
        self.level = min(self.most, self.level + (now - self.last) * self.most / 60)
        self.last = now
        if self.level < amount:
            return (amount - self.level) * 60 / self.most
        self.level -= amount
        return 0.0

    def give_back(self, amount: int) -> None:
        self.level = min(self.most, self.level + amount)


class Client:
    """Whose key it is, and what is left of the minute."""

    def __init__(self, name: str, requests: int, tokens: int, clock: Callable[[], float] = time.monotonic):
        self.name, self.requests, self.tokens = name, Bucket(requests, clock), Bucket(tokens, clock)


class Keys:
    """The clients by their keys; only the keys' hashes are kept."""

    def __init__(self, clients: dict[str, Client]):
        self.clients = {_hash(key): client for key, client in clients.items()}

    def client(self, authorization: str) -> Client | None:
        """Return whose key the header ``Authorization: Bearer <key>`` has."""
        kind, _, key = authorization.partition(" ")
        return self.clients.get(_hash(key.strip())) if kind.lower() == "bearer" else None


def read(path: Path) -> Keys:
    """Read keys from TOML: a table for each client, ``key`` and, if wanted, ``requests`` and ``tokens`` a minute.

    Raises:
        StudyError: if the file cannot be read or is not like that.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudyError(f"키 파일 {path}을(를) 읽을 수 없으니 TOML 파일인지 확인하세요 ({error}).") from None
    found = {}
    for name, table in tables.items():
        table = table if isinstance(table, dict) else {}
        key, numbers = table.get("key"), [table.get("requests", REQUESTS), table.get("tokens", TOKENS)]
        right = isinstance(key, str) and len(key) >= SHORTEST and key.isascii() and key not in found
        if not right or table.keys() - {"key", "requests", "tokens"}:
            raise StudyError(
                f"{path}의 [{name}]에 {SHORTEST}자 이상의 key를 하나 두고 requests와 tokens만 더하세요."
            )
        if any(type(number) is not int or number < 1 for number in numbers):
            raise StudyError(f"{path}의 [{name}]에서 requests와 tokens를 1 이상의 정수로 고치세요.")
        found[key] = Client(name, *numbers)
    if not found:
        raise StudyError(f"키 파일 {path}에 키가 없으니 [이름] 아래에 key를 적으세요.")
    return Keys(found)


def whole_seconds(seconds: float) -> str:
    """Return the value of a ``Retry-After`` header."""
    return str(max(1, math.ceil(seconds)))


def _hash(key: str) -> bytes:
    # Looked up by hash, a key that is nearly right takes as long as one that is all wrong.
    return hashlib.sha256(key.encode()).digest()
