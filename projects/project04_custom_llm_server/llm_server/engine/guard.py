"""Runs a command that never outlives whoever started it: ``python guard.py SECONDS COMMAND...``.

Standard input is a pipe that nobody writes into. It ends with the process that holds its other end, however that one
ends; then the command and all that it has started are asked to end, and after SECONDS are ended. What the command
leaves behind when it ends by itself is ended, too. This is the first process of its group, and needs nothing but the
standard library.
"""

import os
import signal
import subprocess
import sys
import threading
import time


def main() -> None:
    """Run the command, then end the whole group, this process with it."""
    signal.signal(signal.SIGTERM, lambda *_: None)  # It is for the command; a handler is not inherited.
    command = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL)
    threading.Thread(target=_end_with_the_pipe, args=(float(sys.argv[1]),), daemon=True).start()
    command.wait()
    os.killpg(0, signal.SIGKILL)


def _end_with_the_pipe(seconds: float) -> None:
    while os.read(0, 1024):
        pass
    os.killpg(0, signal.SIGTERM)
    time.sleep(seconds)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
