"""Everything that must be settled around the import of TensorFlow: log noise, device and seeds."""

import contextlib
import gc
import importlib.abc
import importlib.machinery
import os
import sys
import warnings

from tf_study import profile
from tf_study.errors import StudyError

DEVICE_VARIABLE = "TF_STUDY_DEVICE"
DEVICES = ("auto", "cpu", "gpu")
VERBOSE_VARIABLE = "TF_STUDY_VERBOSE"


def prepare() -> None:
    """Set the variables TensorFlow reads at import and arrange a silent import. Safe to call twice.

    Raises:
        StudyError: if the profile or the device name is unknown.
    """
    profile.name()
    device()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # NumPy's and SciPy's matrices are small here: waiting threads would cost more than they save, and their
    # number would change the last digits from machine to machine. TensorFlow has threads of its own.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # tqdm, which transformers imports, asks for a widget that only the classic notebook needs.
    warnings.filterwarnings("ignore", message="IProgress")
    # jsonschema, which opens every notebook, would read a grammar of addresses for a second and check none with it.
    sys.modules.setdefault("rfc3987_syntax", None)
    if "tensorflow" in sys.modules:
        _select_device()
    elif not any(isinstance(finder, _TensorFlowFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _TensorFlowFinder())
    if _in_kernel() and not os.environ.get(VERBOSE_VARIABLE):
        _discard_native_stderr()


def device() -> str:
    """Return ``"cpu"`` or ``"gpu"``, the kind of device that the notebooks compute on.

    ``TF_STUDY_DEVICE`` decides; ``auto`` means the CPU in the small profile, whose stored numbers must
    come out the same everywhere, and a GPU (if there is one) in the full profile.

    Raises:
        StudyError: if ``TF_STUDY_DEVICE`` is none of ``auto``, ``cpu``, ``gpu``.
    """
    value = os.environ.get(DEVICE_VARIABLE, "").strip().lower() or "auto"
    if value not in DEVICES:
        raise StudyError(
            f"{DEVICE_VARIABLE}={value!r}라는 장치는 없으니 auto, cpu, gpu 가운데 하나로 바꾸고 커널을 다시 시작하세요."
        )
    if value == "auto":
        return "gpu" if profile.is_full() else "cpu"
    return value


def seed_everything(seed: int = 42, deterministic: bool = True) -> None:
    """Seed Python, NumPy and TensorFlow and, unless told otherwise, make TensorFlow's ops deterministic.

    Args:
        seed: any non-negative integer.
        deterministic: also call ``tf.config.experimental.enable_op_determinism``. Pass ``False`` where
            parallel ``tf.data`` stages are the subject: determinism makes stateful ones run in sequence.
    """
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()


@contextlib.contextmanager
def quiet_stderr():
    """Send everything written to file descriptor 2 to nowhere, C++ libraries included, while the block runs."""
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        _discard_native_stderr()
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


@contextlib.contextmanager
def uncollected():
    """Keep the garbage collector away from what the block imports, in the block and after it.

    The hundreds of thousands of objects of a library live as long as the process. Looking for garbage among them
    over and over is a fifth of the time that importing TensorFlow takes, and makes each later collection slower.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


def _discard_native_stderr() -> None:
    """Point descriptor 2 at the null device.

    In a Jupyter kernel Python's own ``sys.stderr`` does not use that descriptor, so warnings and
    tracebacks still reach the notebook; only text printed by C++ code disappears. It would otherwise be
    stored as output, different on every machine.
    """
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)


def _in_kernel() -> bool:
    kernel_app = sys.modules.get("ipykernel.kernelapp")
    return kernel_app is not None and kernel_app.IPKernelApp.initialized()


def _select_device() -> None:
    """Hide the GPUs where the CPU was chosen. Does nothing once TensorFlow has started computing."""
    import tensorflow as tf

    if device() == "cpu":
        # Raised once TensorFlow has started: the device in use can no longer be changed.
        with contextlib.suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")


class _TensorFlowFinder(importlib.abc.MetaPathFinder):
    """Loads TensorFlow, once, with descriptor 2 silenced and selects the device right after."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname != "tensorflow":
            return None
        # Who only asks whether TensorFlow is there, as transformers does, gets a specification, too.
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module):
            sys.meta_path.remove(self)
            with (
                uncollected(),
                contextlib.nullcontext() if os.environ.get(VERBOSE_VARIABLE) else quiet_stderr(),
            ):
                execute(module)
            _select_device()

        spec.loader.exec_module = exec_module
        return spec
