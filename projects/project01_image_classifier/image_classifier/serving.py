"""The web server: a page to drop a picture on, and the same as JSON."""

import asyncio
import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse
from PIL import Image
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from image_classifier import gradcam, images, prediction
from tf_study import serving

WORKERS = min(4, os.cpu_count() or 1)  # pictures worked on at a time; others wait on the disk
SHOWN = 256  # side of the overlay in pixels
PAGE = Path(__file__).with_name("page.html")

SENTENCES = {
    400: "보낸 폼이 끊겼거나 깨졌거나 그림 하나보다 많은 것을 담았으니 그림 하나만 담아 다시 보내세요.",
    404: "그런 주소는 없으니 /, /health, /predict 가운데 하나를 쓰세요.",
    405: "쓸 수 없는 방식이니 /와 /health는 GET으로, /predict는 POST로 요청하세요.",
    408: f"파일이 {serving.BODY_SECONDS}초 안에 다 오지 않았으니 다시 보내거나 그림을 줄이세요.",
    413: f"보낸 것이 한계 {images.MAX_BYTES // 2**20}MB를 넘으니 그림을 줄여서 저장하세요.",
    415: "그림은 multipart/form-data 형식의 file 칸에 담아 보내세요.",
    422: "file 칸에 그림 파일을 하나 담아 보내세요.",
}


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
    page = serving.page(PAGE, {"bytes": images.MAX_BYTES}, images="data: blob:")
    app = serving.application(images.MAX_BYTES, SENTENCES)

    def classify(upload: UploadFile) -> dict:
        seen, picture = images.squares(upload.file.read(), predictor.side, SHOWN)
        row = predictor.predict([seen])[0]
        heat = explain(seen, int(row.argmax()))
        shown = gradcam.overlay(picture, heat)
        best = predictor.top(row, len(row))
        return {
            "classes": [{"name": name, "probability": round(share, 6)} for name, share in best],
            "overlay": _data_uri(shown),
        }

    @app.get("/")
    async def show_page() -> HTMLResponse:
        return page

    @app.get("/health")
    async def health() -> dict:
        return {"status": "ok", "classes": list(predictor.classes)}

    @app.post("/predict")
    async def predict(request: Request) -> JSONResponse:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "multipart/form-data":
            raise HTTPException(415)
        async with request.form(max_files=1, max_fields=8) as form:
            upload = form.get("file")
            if not isinstance(upload, UploadFile):
                raise HTTPException(422)
            answer = await asyncio.get_running_loop().run_in_executor(pool, classify, upload)
        return JSONResponse(answer)

    return app


def serve(folder: Path, host: str, port: int) -> None:
    """Serve a model until Ctrl+C.

    Raises:
        StudyError: as :func:`create_app`, or if the address cannot be used.
    """
    serving.serve(lambda: create_app(folder), host, port)


def _data_uri(picture) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=1)
    return serving.data_uri("png", buffer.getvalue())
