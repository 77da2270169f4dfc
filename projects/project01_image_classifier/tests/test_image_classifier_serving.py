"""The application without a network: answers, refusals, limits, and a fuzz of the upload."""

import asyncio
import base64
import io
import json
import re
import struct
import threading
import zlib

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

import tf_study.serving
from image_classifier import images, prediction, serving
from tf_study.errors import StudyError

KOREAN = re.compile("[가-힣]")
OPENING = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
FORM = "multipart/form-data; boundary=b"


@pytest.fixture(scope="module")
def app(trained):
    return serving.create_app(trained)


@pytest.fixture(scope="module")
def client(app):
    return TestClient(app)  # Raises what the application lets through.


def post(client, content, name="a.jpg", field="file", kind="image/jpeg"):
    return client.post("/predict", files={field: (name, content, kind)})


def check_refusal(reply, *statuses):
    assert reply.status_code in (statuses or range(400, 500)), reply.text
    detail = reply.json()["detail"]
    assert reply.json().keys() == {"detail"} and KOREAN.search(detail) and detail.count("\n") == 0
    return detail


def call(app, receive, headers=()):
    """POST to /predict with a ``receive`` of one's own; return the status."""
    sent = []
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST"}
    scope |= {"path": "/predict", "raw_path": b"/predict", "query_string": b"", "scheme": "http"}
    scope["headers"] = [(b"content-type", FORM.encode()), *headers]

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"]


def test_page_needs_nothing_from_elsewhere(client):
    reply = client.get("/")
    assert reply.status_code == 200 and reply.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert "이미지 분류기" in reply.text and f'{{"bytes": {images.MAX_BYTES}}}' in reply.text
    assert not re.search(r"https?:|//\w", reply.text)


def test_health(client):
    assert client.get("/health").json() == {"status": "ok", "classes": ["빨강", "초록", "파랑"]}


def test_predict_is_the_predictors_answer(client, trained, pictures):
    predictor = prediction.load_predictor(trained)
    for path in (pictures / "빨강" / "00.jpeg", pictures / "초록" / "01.png", pictures / "파랑" / "02.webp"):
        reply = post(client, path.read_bytes())
        answer = reply.json()
        assert reply.status_code == 200 and answer.keys() == {"classes", "overlay"}
        row = predictor.predict([images.read(path)])[0]
        expected = [{"name": name, "probability": round(share, 6)} for name, share in predictor.top(row, 3)]
        assert answer["classes"] == expected and answer["classes"][0]["name"] == path.parent.name
        head, content = answer["overlay"].split(",")
        with Image.open(io.BytesIO(base64.b64decode(content))) as overlay:
            assert head == "data:image/png;base64" and overlay.format == "PNG"
            shown = np.asarray(overlay).astype(int)
        cut = images.fit(images.read(path), serving.SHOWN).astype(int)
        assert shown.shape == cut.shape and 0 < np.abs(shown - cut).mean() < 128


def test_refusals(client, pictures):
    whole = (pictures / "빨강" / "00.jpeg").read_bytes()
    assert "형식으로 저장한" in check_refusal(post(client, b"text"), 422)
    assert "빈 파일" in check_refusal(post(client, b""), 422)
    assert "깨졌으니" in check_refusal(post(client, whole[: len(whole) // 2]), 422)
    assert "한계" in check_refusal(post(client, huge_header(9000, 9000)), 422)
    assert "훨씬" in check_refusal(post(client, huge_header(60_000, 60_000)), 422)
    assert "file 칸" in check_refusal(post(client, whole, field="picture"), 422)
    assert "file 칸" in check_refusal(client.post("/predict", files={"a": b""}, data={"file": "text"}), 422)
    check_refusal(client.post("/predict", files=[("file", whole), ("file", whole)]), 400)
    check_refusal(client.post("/predict", content=whole, headers={"content-type": "image/jpeg"}), 415)
    check_refusal(client.post("/predict", content=whole), 415)
    check_refusal(client.post("/predict", data={"file": "text"}), 415)
    check_refusal(client.get("/predict"), 405)
    check_refusal(client.post("/"), 405)
    for path in ("/docs", "/openapi.json", "/page.html", "/%2e%2e/model.json"):
        check_refusal(client.get(path), 404)


def test_upload_ends_at_the_limit(trained, monkeypatch):
    monkeypatch.setattr(images, "MAX_BYTES", 100_000)
    app = serving.create_app(trained)
    given = 0

    async def endless():
        nonlocal given
        opening = OPENING if given == 0 else b""
        given += 10_000
        return {"type": "http.request", "body": opening + bytes(10_000 - len(opening)), "more_body": True}

    for headers in ([], [(b"content-length", b"1000")]):  # nothing announced, and too little
        given = 0
        assert call(app, endless, headers) == 413 and given <= 110_000
    given = 0
    for announced in (b"100001", b"9" * 30):
        assert call(app, endless, [(b"content-length", announced)]) == 413 and given == 0


def test_upload_that_stalls_or_stops(app, monkeypatch):
    monkeypatch.setattr(tf_study.serving, "BODY_SECONDS", 0.05)
    assert call(app, lambda: asyncio.sleep(60)) == 408

    async def gone():
        return {"type": "http.disconnect"}

    assert call(app, gone) == 400


def test_health_answers_while_pictures_are_worked_on(app, pictures, monkeypatch):
    content = (pictures / "빨강" / "00.jpeg").read_bytes()
    squares, go, busy, most = images.squares, threading.Event(), 0, 0
    lock = threading.Lock()

    def slow(source, *sides):
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        assert go.wait(60)
        with lock:
            busy -= 1
        return squares(source, *sides)

    async def talk():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            waiting = [
                asyncio.create_task(client.post("/predict", files={"file": content}))
                for _ in range(serving.WORKERS + 3)
            ]
            while busy < serving.WORKERS:
                await asyncio.sleep(0.01)
            health = await client.get("/health")
            assert health.status_code == 200 and not any(task.done() for task in waiting)
            go.set()
            return await asyncio.gather(*waiting)

    monkeypatch.setattr(images, "squares", slow)
    replies = asyncio.run(talk())
    assert {reply.status_code for reply in replies} == {200} and most == serving.WORKERS
    assert len({reply.json()["classes"][0]["probability"] for reply in replies}) == 1


def test_a_model_that_is_not_there(tmp_path, trained):
    with pytest.raises(StudyError, match="모델이 없으니"):
        serving.create_app(tmp_path)
    for name in ("model.json", "model.tflite"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    with pytest.raises(StudyError, match=r"model\.keras.* 없으니"):
        serving.create_app(tmp_path)


def huge_header(width, height):
    """A PNG of a few bytes that says it is enormous."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [header, b"IDAT" + zlib.compress(bytes(100)), b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )


def mutate(rng, contents):
    """Return a damaged picture, or something that is none."""
    content = bytearray(contents[rng.integers(len(contents))])
    match rng.integers(8):
        case 0:
            return bytes(content[: rng.integers(len(content))])
        case 1:
            for place in rng.integers(0, len(content), rng.integers(1, 30)):
                content[place] = rng.integers(256)
            return bytes(content)
        case 2:
            for place in rng.integers(0, min(64, len(content)), 3):  # the header
                content[place] ^= 1 << rng.integers(8)
            return bytes(content)
        case 3:
            start, end = sorted(rng.integers(0, len(content), 2))
            return bytes(content[:start] + content[end:])
        case 4:
            other = contents[rng.integers(len(contents))]
            return bytes(content[: len(content) // 2]) + other[len(other) // 2 :]
        case 5:
            return rng.bytes(rng.integers(0, 2000))
        case 6:
            return huge_header(*(int(side) for side in rng.integers(0, 2**31, 2)))
        case _:
            opening = (b"", b"GIF89a", b"BM", b"%PDF-1.7\n", b"\xff\xd8\xff", b"RIFF\xff\xff\xff\xffWEBPVP8X")
            return opening[rng.integers(len(opening))] + rng.bytes(rng.integers(0, 100))


def fuzz_pictures(client, rng, contents):
    """Damaged files in a sound form, under odd names."""
    names = [
        "a.jpg",
        "../../model.json",
        "",
        "\0",
        'a"b.png',
        "a\r\nb.png",
        "가" * 300,
        "a;b=c",
        "%00",
        "nul",
        "*",
    ]
    kinds = ["image/jpeg", "text/html", "", "multipart/form-data", "가"]
    for number in range(150):
        name, kind = names[number % len(names)], kinds[number % len(kinds)]
        yield post(client, mutate(rng, contents), name, kind=kind)


def fuzz_forms(client, rng, contents):
    """Sound files in damaged forms."""
    openings = (
        b'Content-Disposition: form-data; name="file"; filename="a.jpg"',
        b'Content-Disposition: form-data; filename="a.jpg"',
        b'Content-Disposition: form-data; name="file"',
        b"Content-Disposition: form-data; name=file; filename*=UTF-8''%FF%FE",
        b"Content-Disposition:",
        b": a",
        b"",
        b"a" * 9000 + b": b",
        b"\r\n".join(b"h%d: a" % k for k in range(300)),
        b'Content-Disposition: form-data; name="file"; filename="\xff\xfe\x00"',
    )
    types = (FORM, "multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=c")
    types += (
        "MULTIPART/FORM-DATA;BOUNDARY=b",
        FORM + "; charset=없음".encode().decode("latin-1"),
        FORM + "; charset=utf-16",
    )
    types += (
        "multipart/form-data; boundary=" + "x" * 5000,
        'multipart/form-data; boundary="',
        "",
        ";",
        "application/json",
    )
    for number in range(150):
        content = contents[rng.integers(len(contents))]
        body = b"--b\r\n" + openings[number % len(openings)] + b"\r\n\r\n" + content + b"\r\n--b--\r\n"
        if rng.random() < 0.5:
            damaged = bytearray(body)
            for place in rng.integers(0, 90, rng.integers(1, 6)) % len(body):
                damaged[place] = rng.integers(256)
            body = bytes(damaged[: rng.integers(len(damaged))] if rng.random() < 0.5 else damaged)
        kind = types[rng.integers(len(types))] if rng.random() < 0.4 else FORM
        yield client.post("/predict", content=body, headers={"content-type": kind.encode("latin-1")})
    yield client.post("/predict", data={f"f{k}": "v" for k in range(50)}, files={"file": contents[0]})
    yield client.post("/predict", files=[("file", contents[0])] * 20)
    yield client.post("/predict", data={"file": "v" * 2_000_000}, files={"a": b""})


def fuzz_methods(client, rng, contents):
    for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FLY"):
        yield client.request(method, "/predict", content=rng.bytes(100))
        yield client.request(method, f"/{rng.integers(10**9)}")
        yield client.request(method, "/%ff%00/..%2f", params={"file": "a" * 3000})


def test_fuzz_gives_nothing_but_2xx_and_4xx(client, pictures):
    rng = np.random.default_rng(0)
    contents = [(pictures / "빨강" / name).read_bytes() for name in ("00.jpeg", "01.png", "02.webp")]
    counts = {}
    for fuzz in (fuzz_pictures, fuzz_forms, fuzz_methods):
        for reply in fuzz(client, rng, contents):
            counts[reply.status_code] = counts.get(reply.status_code, 0) + 1
            if reply.status_code == 200:
                assert json.loads(reply.text)["classes"]
            else:
                check_refusal(reply)
    print("fuzz", sum(counts.values()), dict(sorted(counts.items())))
    assert sum(counts.values()) > 300 and {200, 400, 404, 405, 415, 422} <= counts.keys()
    for content, name in zip(contents, ("00.jpeg", "01.png", "02.webp"), strict=True):
        assert post(client, content, name).json()["classes"][0]["name"] == "빨강"
