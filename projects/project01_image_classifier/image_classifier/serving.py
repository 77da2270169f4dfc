"""The web server: a page to drop a picture on, and the same as JSON."""

import asyncio
import base64
import errno
import io
import logging
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse
from PIL import Image
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from image_classifier import gradcam, images, prediction
from tf_study.errors import StudyError

# Pictures worked on at a time, since a large one takes some 500 MB while it is decoded. Others wait on the disk.
WORKERS = min(4, os.cpu_count() or 1)
SECONDS = 60  # for an upload to arrive
SHOWN = 256  # side of the overlay in pixels
PAGE = Path(__file__).with_name("page.html")
# The page needs nothing but itself and this server.
POLICY = "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
POLICY += "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

SENTENCES = {
    400: "보낸 내용이 도중에 끊겼거나 깨졌으니 다시 보내세요.",
    404: "그런 주소는 없으니 /, /health, /predict 가운데 하나를 쓰세요.",
    405: "쓸 수 없는 방식이니 /와 /health는 GET으로, /predict는 POST로 요청하세요.",
    408: f"파일이 {SECONDS}초 안에 다 오지 않았으니 다시 보내거나 그림을 줄이세요.",
    413: f"보낸 것이 한계 {images.MAX_BYTES // 2**20}MB를 넘으니 그림을 줄여서 저장하세요.",
    415: "그림은 multipart/form-data 형식의 file 칸에 담아 보내세요.",
    422: "file 칸에 그림 파일을 하나 담아 보내세요.",
}

# A client's broken form is answered with a sentence; it is no news for whoever runs the server.
logging.getLogger("python_multipart").setLevel(logging.ERROR)


def create_app(folder: Path) -> FastAPI:
    """Return the application for a finished model.

    ``GET /`` is the page and ``GET /health`` answers even while pictures are worked on. ``POST /predict``
    takes a multipart form with one picture named ``file`` and gives ``{"classes": [{"name", "probability"},
    ...], "overlay": <data URI of a PNG>}``, the likeliest class first. A request that is refused gives a status
    of 400 to 422 and ``{"detail": <a Korean sentence>}``.

    Raises:
        StudyError: if the folder holds no finished model, or a file is missing or damaged.
    """
    predictor, explain = prediction.load_predictor(folder, "tflite"), gradcam.load_explain(folder)
    pool = ThreadPoolExecutor(WORKERS)
    page = PAGE.read_text(encoding="utf-8").replace("MAX_BYTES", str(images.MAX_BYTES))
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)  # FastAPI's own pages load from elsewhere.

    def classify(upload: UploadFile) -> dict:
        picture = images.read(upload.file.read())
        seen = images.fit(picture, predictor.side)
        row = predictor.predict([seen])[0]
        heat = explain(seen, int(row.argmax()))
        shown = gradcam.overlay(images.fit(picture, SHOWN), heat)
        best = predictor.top(row, len(row))
        return {
            "classes": [{"name": name, "probability": round(share, 6)} for name, share in best],
            "overlay": _data_uri(shown),
        }

    @app.exception_handler(HTTPException)
    async def refuse(request: Request, error: HTTPException) -> JSONResponse:
        detail = SENTENCES.get(error.status_code, error.detail)
        return JSONResponse({"detail": detail}, error.status_code, headers=error.headers)

    @app.exception_handler(StudyError)
    async def refuse_picture(request: Request, error: StudyError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 422)

    @app.get("/")
    async def show_page() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})

    @app.get("/health")
    async def health() -> dict:
        return {"status": "ok", "classes": list(predictor.classes)}

    @app.post("/predict")
    async def predict(request: Request) -> JSONResponse:
        form = await _read_form(request)
        try:
            upload = form.get("file")
            if not isinstance(upload, UploadFile):
                raise HTTPException(422)
            answer = await asyncio.get_running_loop().run_in_executor(pool, classify, upload)
        finally:
            await form.close()
        return JSONResponse(answer)

    return app


def serve(folder: Path, host: str, port: int) -> None:
    """Serve a model until Ctrl+C.

    Raises:
        StudyError: as :func:`create_app`, or if the address cannot be used.
    """
    with _listen(host, port) as listener:
        app = create_app(folder)
        address = f"[{host}]" if ":" in host else host
        print(
            f"브라우저에서 {address}:{listener.getsockname()[1]}을 여세요. 끝내려면 Ctrl+C를 누르세요.",
            flush=True,
        )
        config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=3)
        uvicorn.Server(config).run(sockets=[listener])


async def _read_form(request: Request) -> FormData:
    """Read the form of a request, large files to the disk, and stop at the limits of size and time.

    Raises:
        HTTPException: with one of the statuses of :data:`SENTENCES`.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise HTTPException(415)
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > images.MAX_BYTES:
        raise HTTPException(413)
    received = 0

    async def receive():
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > images.MAX_BYTES:  # What was announced may be missing or wrong.
            raise HTTPException(413)
        return message

    try:
        async with asyncio.timeout(SECONDS):
            return await Request(request.scope, receive).form(max_files=1, max_fields=8)
    except TimeoutError:
        raise HTTPException(408) from None
    except ClientDisconnect:
        raise HTTPException(400) from None


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise StudyError(
                f"포트 {port}을(를) 다른 프로그램이 쓰고 있으니 --port로 다른 번호를 주세요."
            ) from None
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error
        raise StudyError(
            f"{host}의 포트 {port}을(를) 열 수 없으니 --host와 --port를 바꾸세요 ({reason})."
        ) from None


def _data_uri(picture) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
