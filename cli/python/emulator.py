"""Runs the local AWS emulator, and ends it and all it started when whoever started this file ends.

With `--detached` it runs on until it is told to stop.
"""

import os
import signal
import sys
import threading


def end_with_parent():
    """The parent holds the other end of standard input: it closes when the parent ends, in whatever way."""
    sys.stdin.buffer.read()
    os.killpg(os.getpgid(0), signal.SIGKILL)


if "--detached" not in sys.argv:
    threading.Thread(target=end_with_parent, daemon=True).start()
sys.argv = ["ministack"]

from ministack.app import main  # noqa: E402

main()
