"""The server as a program: several clients at once, uploads that lie, the page in a browser, mistakes."""

import re
import select
import signal
import socket
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

from forked import HOW, served
from image_classifier.__main__ import main

PROJECT = Path(__file__).resolve().parents[1]
OPENING = b"--b\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\n"
DROP = """bytes => {
    const bag = new DataTransfer();
    bag.items.add(new File([new Uint8Array(bytes)], "a.png"));
    document.getElementById("zone").dispatchEvent(new DragEvent("drop", {dataTransfer: bag, bubbles: true}));
}"""


@pytest.fixture(scope="module")
def server(trained, tmp_path_factory):
    """The port of the command ``serve``, which ends on Ctrl+C."""
    how = HOW | {"end": signal.SIGINT, "status": 0}
    with served(tmp_path_factory.mktemp("말"), "image_classifier", str(trained), **how) as port:
        yield port


def test_eight_clients_at_once(server, pictures):
    contents = {name: (pictures / name / "00.jpeg").read_bytes() for name in ("빨강", "초록", "파랑")}
    times, wrong = [], []
    end = time.monotonic() + 0.5

    def work(number):
        name = list(contents)[number % 3]
        with httpx.Client(base_url=f"http://127.0.0.1:{server}", timeout=60) as client:
            done = 0
            while done < 2 or time.monotonic() < end:  # Two at least, on a machine with other work too.
                done += 1
                start = time.perf_counter()
                reply = client.post("/predict", files={"file": ("a.jpg", contents[name])})
                times.append(time.perf_counter() - start)
                if reply.status_code != 200 or reply.json()["classes"][0]["name"] != name:
                    wrong.append(reply.text[:200])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = len(times) / (time.monotonic() - start)
    middle, late = 1000 * np.percentile(times, (50, 99))
    print(f"{len(times)} requests, {rate:.0f} a second, p50 {middle:.0f} ms, p99 {late:.0f} ms")
    assert not wrong and late < 10_000


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (b"Content-Length: 1000000000000", OPENING),
        (b"Content-Length: 30", OPENING),  # shorter than what follows
        (b"Content-Length: 5", b"abcde"),  # no form
        (b"Content-Length: 1, 2", OPENING),
        (b"Content-Length: -1", OPENING),
        (b"X: y", b""),  # neither a length nor a body
        (b"Transfer-Encoding: chunked", b"zz\r\n"),
    ],
)
def test_lengths_that_lie(server, headers, body):
    with socket.create_connection(("127.0.0.1", server), timeout=30) as raw:
        head = (
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        )
        raw.sendall(head + headers + b"\r\n\r\n" + body)
        assert re.match(rb"HTTP/1.1 4(?!03)\d\d ", raw.recv(100))


def test_upload_without_a_length_that_never_ends(server):
    with socket.create_connection(("127.0.0.1", server), timeout=30) as raw:
        head = (
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        )
        raw.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(OPENING), OPENING))
        chunk, sent = b"100000\r\n" + bytes(2**20) + b"\r\n", 0
        while not select.select([raw], [], [], 0)[0] and sent < 200:
            raw.sendall(chunk)
            sent += 1
        assert raw.recv(100).startswith(b"HTTP/1.1 413 ")
    assert 49 < sent < 70
    assert httpx.get(f"http://127.0.0.1:{server}/health").json()["status"] == "ok"


def test_upload_that_is_cut_off(server):
    with socket.create_connection(("127.0.0.1", server), timeout=30) as raw:
        raw.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        )
        raw.sendall(b"Content-Length: 5000\r\n\r\n" + OPENING)
    assert httpx.get(f"http://127.0.0.1:{server}/health").json()["status"] == "ok"


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_other_sites_are_refused(server, pictures, headers):
    content = (pictures / "초록" / "00.jpeg").read_bytes()
    reply = httpx.post(f"http://127.0.0.1:{server}/predict", files={"file": content}, headers=headers)
    assert reply.status_code == 403 and reply.json()["detail"].endswith("직접 보내세요.")


def test_head_that_is_no_http(server):
    with socket.create_connection(("127.0.0.1", server), timeout=30) as raw:
        raw.sendall(b"\x16\x03\x01" + bytes(100) + b"\r\n\r\n")
        assert "헤더가 16kB를 넘으니" in raw.recv(1000).decode()


def test_form_field_that_is_too_large(server):
    """Also to a client that says it will close and is still sending, which would have been a reset."""
    body = b"--b\r\nContent-Disposition: form-data; name=file\r\n\r\n" + bytes(2_000_000) + b"\r\n--b--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=b", "Connection": "close"}
    reply = httpx.post(f"http://127.0.0.1:{server}/predict", content=body, headers=headers)
    assert reply.status_code == 400 and "그림 하나만" in reply.json()["detail"]


def test_page_in_a_browser(server, pictures, tmp_path, page):
    from playwright.sync_api import expect

    address = f"http://127.0.0.1:{server}"
    false = tmp_path / "글<b>.jpg"
    false.write_text("그림이 아닌 글", encoding="utf-8")
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append((message.type, message.text)))
    page.goto(address)
    page.set_input_files("#file", pictures / "초록" / "00.jpeg")
    expect(page.locator("#answer")).to_have_text(re.compile(r"^초록 \d+\.\d%$"))
    expect(page.locator("#rows tr")).to_have_count(3)
    for name in ("picture", "overlay"):
        page.wait_for_function(f"document.getElementById('{name}').naturalWidth > 0")
    assert page.locator("#overlay").get_attribute("src").startswith("data:image/png;base64,")
    assert complaints == []

    page.set_input_files("#file", false)
    expect(page.locator("#error")).to_contain_text("JPEG, PNG, WebP 그림이 아니니")
    expect(page.locator("#status")).to_have_text("글<b>.jpg")
    expect(page.locator("#result")).to_be_hidden()

    page.evaluate(DROP, list((pictures / "파랑" / "01.png").read_bytes()))
    expect(page.locator("#answer")).to_have_text(re.compile("^파랑 "))
    expect(page.locator("#error")).to_be_hidden()
    assert all(url.startswith((address, "data:", "blob:")) for url in asked)


def test_port_in_use(trained, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["serve", str(trained), "--port", str(port)]) == 1
    out, err = capsys.readouterr()
    assert (
        out == "" and err == f"포트 {port}을(를) 다른 프로그램이 쓰고 있으니 --port로 다른 번호를 주세요.\n"
    )


@pytest.mark.parametrize("host", ["203.0.113.1", "없는.주소.invalid"])
def test_address_of_another_machine(trained, capsys, host):
    assert main(["serve", str(trained), "--host", host, "--port", "0"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "열 수 없으니 --host와 --port를 바꾸세요" in err and err.count("\n") == 1


def test_model_that_is_not_there(tmp_path, capsys):
    assert main(["serve", str(tmp_path / "없음"), "--port", "0"]) == 1
    assert "모델 폴더" in capsys.readouterr().err
