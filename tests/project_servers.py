"""What tests of the projects' servers share: requests without a network, and clients that leave."""

import asyncio
import json

import httpx

from tf_study import drawing_queue


def events(text):
    """The data of server-sent events."""
    return [json.loads(line.removeprefix("data: ")) for line in text.split("\n\n") if line]


def ask(app, *bodies, path="/draw"):
    """POST each body, one after the other, without a network."""

    async def talk():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return [await client.post(path, content=body) for body in bodies]

    return asyncio.run(talk())


def leave(app, body, when, path="/draw"):
    """POST ``body`` and go away once ``when(messages)`` is true."""
    gone = asyncio.Event()
    scope = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1"}
    scope |= {
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "scheme": "http",
    }
    scope["headers"], told = [], []

    async def receive():
        if not told and not gone.is_set():
            gone.set()
            return {"type": "http.request", "body": body, "more_body": False}
        while not when(told):
            await asyncio.sleep(0.01)
        return {"type": "http.disconnect"}

    async def send(message):
        told.append(message)

    return app(scope, receive, send)


def check_full_queue(app, slow, asked):
    """A full queue refuses, /health answers meanwhile, and who waits hears of its turn.

    Args:
        slow: what the app draws with; each step waits for its semaphore ``go``.
        asked: a request for four steps.
    """

    async def talk():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            places = range(drawing_queue.QUEUE)
            waiting = [asyncio.create_task(client.post("/draw", json=asked)) for _ in places]
            while (await client.get("/health")).json()["drawing"] < drawing_queue.QUEUE:
                await asyncio.sleep(0.01)
            refused = await client.post("/draw", json=asked)
            assert refused.status_code == 429 and refused.headers["retry-after"] == "2"
            assert refused.json()["detail"].endswith("잠시 뒤 다시 누르세요.")
            for _ in range(4 * drawing_queue.QUEUE):
                slow.go.release()
            replies = await asyncio.gather(*waiting)
            assert (await client.get("/health")).json()["drawing"] == 0
            return replies

    for place, reply in enumerate(asyncio.run(talk())):
        told = events(reply.text)
        assert [news["waiting"] for news in told if "waiting" in news] == list(range(place, -1, -1))
        assert told[-1]["step"] == 4


def check_leaving(app, slow, asked, steps, seconds):
    """Who leaves takes the drawing along: the one under way, and one that waits.

    Args:
        slow: as in :func:`check_full_queue`; it counts ``steps`` and notes the seeds that were ``started``.
        steps: of a long drawing.
        seconds: that a client may take.
    """

    def body(seed, steps):
        return json.dumps(asked | {"seed": seed, "steps": steps}).encode()

    async def talk():
        first = asyncio.create_task(leave(app, body(1, steps), lambda told: slow.steps == 3))
        while not slow.started:
            await asyncio.sleep(0.01)
        second = asyncio.create_task(leave(app, body(2, 5), lambda told: len(told) == 2))  # while it waits
        await asyncio.wait_for(second, seconds)
        for _ in range(3):
            slow.go.release()
        await asyncio.wait_for(first, seconds)
        slow.go.release()  # The step that was under way.
        third = asyncio.create_task(leave(app, body(3, 2), lambda told: False))
        for _ in range(2):
            slow.go.release()
        await asyncio.wait_for(third, seconds)

    asyncio.run(talk())
    assert slow.started == [1, 3] and slow.steps == 6
