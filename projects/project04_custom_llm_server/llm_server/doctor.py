"""What this computer has of what the server can use, one line each, with what to do where something is missing."""

import socket
from collections.abc import Iterator

import psutil

from llm_server.engine import vllm
from tf_study.cuda import builder
from tf_study.doctor import Finding
from tf_study.errors import StudyError
from tf_study.pretrained import catalog, store

MODEL = "smollm2"
MEMORY = 3  # GB that the default model needs with the embedded engine
VLLM_MEMORY = 5  # and with vLLM on the CPU


def run(host: str, port: int) -> int:
    """Print all findings; return 1 if ``serve`` could not work as it stands."""
    findings = list(examine(host, port))
    for finding in findings:
        print(finding.line(), flush=True)
    return int(any(finding.required and not finding.good for finding in findings))


def examine(host: str, port: int) -> Iterator[Finding]:
    """Yield the findings in the order in which they are printed."""
    yield compiler()
    gpus = vllm.gpus()
    yield Finding(True, f"NVIDIA GPU {gpus}개" if gpus else "GPU: 없음 (CPU로 계산합니다)")
    yield (found := server_of_vllm())
    yield model()
    yield memory()
    yield free(host, port)
    yield Finding(True, f"serve --engine auto가 고르는 엔진: {'vllm' if gpus and found.good else 'xla'}")


def compiler() -> Finding:
    """Check for what builds the engine's own TensorFlow ops; without it the engine is slower."""
    found = builder.compiler()
    text = f"C++ 컴파일러: {' '.join(found.command)}" if found else "C++ 컴파일러"
    return Finding(found is not None, text, f"내장 엔진이 더 빨라지게 하려면 {builder.REMEDY}.")


def server_of_vllm() -> Finding:
    """Import vLLM in its own environment."""
    try:
        found = vllm.probe()
    except StudyError as error:
        return Finding(False, "vLLM", str(error))
    return Finding(True, f"vLLM: {found['version']}, GPU {found['gpus']}개 ({vllm.python()})")


def model() -> Finding:
    """Check for the packaged model."""
    here = store.installed(next(one for one in catalog.CATALOG if one.name == MODEL))
    return Finding(here, f"모델 {MODEL}", f"{catalog.command(MODEL)}를 실행하거나 --model로 모델을 주세요.")


def memory() -> Finding:
    """Check for room for the default model."""
    free = psutil.virtual_memory().available / 2**30
    remedy = f"{MODEL}에 {MEMORY} GB(vLLM은 {VLLM_MEMORY} GB)가 드니 다른 프로그램을 닫으세요."
    return Finding(free > MEMORY, f"남은 메모리 {free:.1f} GB", remedy)


def free(host: str, port: int) -> Finding:
    """Check that nobody listens where the server would."""
    try:
        with socket.create_server((host, port)):
            return Finding(True, f"주소 {host}:{port}")
    except OSError as error:
        remedy = f"다른 프로그램이 쓰거나 열 수 없으니 --port로 다른 번호를 주세요 ({error.strerror})."
        return Finding(False, f"주소 {host}:{port}", remedy, required=True)
