"""How long nbval waits for a kernel's start and end: as long as they take, and no set time on top.

``jupyter_client`` listens for 0.2 s of silence from a new kernel, looks every 0.1 s whether one that it killed has
ended, and zmq tries anew every 0.1 to 0.2 s to reach one that is not there yet: 0.4 s for each notebook.
"""

import contextlib
import queue

import nbval.kernel
import zmq
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

POLL = 0.01  # seconds


class Client(BlockingKernelClient):
    """Waits for a kernel's first answer."""

    def wait_for_ready(self, timeout=60):
        """Return once the kernel answers and its outputs arrive.

        Raises:
            RuntimeError: if it ends before, or does not answer in ``timeout`` seconds.
        """
        for _ in range(int(timeout)):
            self.kernel_info()
            with contextlib.suppress(queue.Empty):
                self.get_shell_msg(timeout=1)
                self.get_iopub_msg(timeout=0.2)  # Asked again where nobody was listening yet.
                return
            if not self.parent.is_alive():
                break
        raise RuntimeError("the kernel did not answer")


class Manager(KernelManager):
    """Starts the kernel of a notebook."""

    client_class = f"{__name__}.Client"

    def __init__(self, **options):
        super().__init__(**options)
        self.context.setsockopt(zmq.RECONNECT_IVL, int(1000 * POLL))

    async def _async_wait(self, pollinterval=POLL):
        await super()._async_wait(POLL)


def install():
    """Let nbval start its kernels with :class:`Manager`; safe to call twice."""
    nbval.kernel.KernelManager = Manager
