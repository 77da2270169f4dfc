import os
import subprocess
import sys

import numpy as np
import pytest

from tf_study import environment
from tf_study.errors import StudyError


def run_python(code: str, **variables: str) -> subprocess.CompletedProcess:
    env = {**os.environ, **variables}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)


@pytest.fixture(scope="module")
def imported():
    return run_python(
        "import tf_study, sys, importlib.util\n"
        "assert importlib.util.find_spec('tensorflow') and 'tensorflow' not in sys.modules\n"  # As transformers asks.
        "import tensorflow as tf\n"
        "print(tf.config.get_visible_devices('GPU'))\n"
        "tf_study.environment.seed_everything()\n"
        "from tensorflow.python.framework import config\n"
        "print(config.is_op_determinism_enabled())\n"
        "import os; os.write(2, b'after')",
        TF_STUDY_PROFILE="small",
    )


def test_tensorflow_imports_without_noise_on_the_descriptor(imported):
    assert imported.returncode == 0, imported.stderr
    assert imported.stderr == "after", "only the import is silenced, and it completely"


def test_small_profile_computes_on_the_cpu(imported):
    assert imported.stdout.splitlines()[0] == "[]"


def test_seed_turns_determinism_on(imported):
    assert imported.stdout.splitlines()[1] == "True"


def test_without_tf_study_the_import_is_noisy():
    """The negative control: where this fails, the silencing has become unnecessary."""
    if sys.platform == "darwin":
        return
    command = [sys.executable, "-c", "import tensorflow"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert any("cuDNN" in line for line in process.stderr)
        process.kill()  # The noise comes first, and the rest of the import takes seconds.


def test_device_follows_profile_and_variable(monkeypatch):
    monkeypatch.delenv(environment.DEVICE_VARIABLE, raising=False)
    monkeypatch.setenv("TF_STUDY_PROFILE", "small")
    assert environment.device() == "cpu"
    monkeypatch.setenv("TF_STUDY_PROFILE", "full")
    assert environment.device() == "gpu"
    monkeypatch.setenv(environment.DEVICE_VARIABLE, "CPU")
    assert environment.device() == "cpu"
    monkeypatch.setenv(environment.DEVICE_VARIABLE, "tpu")
    with pytest.raises(StudyError, match="auto, cpu, gpu"):
        environment.device()


def test_seed_repeats_numpy_and_tensorflow():
    import tensorflow as tf

    draws = []
    for seed in (1, 1, 2):
        environment.seed_everything(seed, deterministic=False)
        draws.append(np.append(np.random.rand(3), tf.random.uniform([3]).numpy()))
    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


def test_quiet_stderr_restores_the_descriptor(capfd):
    with environment.quiet_stderr():
        os.write(2, b"hidden")
    os.write(2, b"shown")
    assert capfd.readouterr().err == "shown"
