"""Runs the local AWS emulator, and ends it and all it started when whoever started this file ends.

With `--detached` it runs on until it is told to stop. With `--also-at ADDRESS:PORT` it listens there too.
"""

import os
import signal
import sys
import threading

from hypercorn.config import Config


def end_with_parent():
    """The parent holds the other end of standard input: it closes when the parent ends, in whatever way."""
    sys.stdin.buffer.read()
    os.killpg(os.getpgid(0), signal.SIGKILL)


def listen_also_at(address):
    """ministack listens on one address, or on all; the server that it runs in knows as many as there are."""
    create_sockets = Config.create_sockets

    def create_these_too(config):
        config.bind = [*config.bind, address]
        return create_sockets(config)

    Config.create_sockets = create_these_too


if "--detached" not in sys.argv:
    threading.Thread(target=end_with_parent, daemon=True).start()
if "--also-at" in sys.argv:
    listen_also_at(sys.argv[sys.argv.index("--also-at") + 1])
sys.argv = ["ministack"]

from ministack.app import main  # noqa: E402

main()
