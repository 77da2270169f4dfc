"""Bodies of requests that are nearly right, and what a refusal has to look like."""

import json
import re


def fuzzed(rng):
    """A body that is nearly right, or not at all."""
    text = "".join(
        chr(rng.choice((rng.randrange(1, 0x3000), rng.randrange(0xAC00, 0xD7A4), 0x1F600)))
        for _ in range(rng.randrange(40))
    )
    whole = {
        rng.choice(("text", "texts", "글")): rng.choice(
            (text, [text] * rng.randrange(70), rng.random(), None, {"text": text}, [[text]])
        )
    }
    body = bytearray(json.dumps(whole, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass"))
    for _ in range(rng.choice((0, 0, 1, 3, 10))):
        place = rng.randrange(len(body) + 1)
        change = rng.randrange(3)
        if change == 0:
            del body[place : place + rng.randrange(1, 9)]
        elif change == 1:
            body[place:place] = rng.randbytes(rng.randrange(1, 5))
        else:
            body[place:place] = rng.choice((b"{", b"[", b'"', b"\\u", b"\\ud800", b"1e999", b"NaN", b"\0"))
    return bytes(body)


def sentence(reply):
    """Return a refusal's one Korean sentence."""
    detail = reply.json()["detail"]
    assert re.search("[가-힣].*[.]$", detail) and "\n" not in detail, detail
    return detail
