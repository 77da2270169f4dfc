import sys
import time

import nbval.kernel
import pytest
from jupyter_client.kernelspec import KernelSpec

import nbval_kernel


@pytest.fixture(autouse=True)
def installed():
    """Nbval's kernels as ``conftest.py`` has them started."""
    assert nbval.kernel.KernelManager is nbval_kernel.Manager


def started(code):
    """Return the manager of a "kernel" that runs this Python code."""
    manager = nbval_kernel.Manager()
    manager._kernel_spec = KernelSpec(argv=[sys.executable, "-c", code])
    manager.start_kernel()
    return manager


def test_a_kernel_that_ends_before_it_answers_is_told():
    client = started("").client()
    client.start_channels()
    with pytest.raises(RuntimeError, match="did not answer"):
        client.wait_for_ready(timeout=60)
    client.stop_channels()


def test_a_kernel_is_gone_when_its_stop_returns():
    manager = started("import time; time.sleep(600)")
    process = manager.provisioner.process
    start = time.monotonic()
    manager.shutdown_kernel(now=True)
    assert process.poll() is not None and not manager.has_kernel
    assert time.monotonic() - start < 5
