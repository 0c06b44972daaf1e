"""Runs the local AWS emulator, and ends it and all it started when whoever started this file ends.

Its API has the addresses that AWS would give it, without the API's id: /callbacks/verifyvasp, and so on. `routes.json`
beside this file, which `callbacks local` writes, says which there are.

With `--detached` it runs on until it is told to stop. With `--also-at ADDRESS:PORT` it listens there too.
"""

import json
import os
import re
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


class Routes:
    """The routes of the API, as far as they are known yet."""

    FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "routes.json")
    BEGINS = ("/callbacks/", "/expectations/", "/verifications/")

    def __init__(self):
        self.read_at, self.api, self.routes, self.patterns = None, "", [], []

    def read(self):
        """Reads the file again if it has changed."""
        try:
            modified = os.stat(self.FILE).st_mtime_ns
        except FileNotFoundError:
            return
        if modified != self.read_at:
            with open(self.FILE) as file:
                known = json.load(file)
            self.api, self.routes, self.read_at = known["api"], known["routes"], modified
            self.patterns = [re.compile(self.pattern(route), re.DOTALL) for route in self.routes]

    @staticmethod
    def pattern(route):
        """A variable is a part of the path or, with a plus, all that is left of it."""
        parts = re.split(r"(\{\w+\+?\})", route)
        return "".join(".+" if p.endswith("+}") else "[^/]+" if p.startswith("{") else re.escape(p) for p in parts)

    def are_about(self, path):
        self.read()
        return bool(self.api) and f"{path}/".startswith(self.BEGINS)

    def have(self, method, path):
        return any(pattern.fullmatch(f"{method} {path}") for pattern in self.patterns)


def with_routes(app):
    """The same server, with the API's routes below / too."""
    routes = Routes()

    async def serve(scope, receive, send):
        if scope["type"] != "http" or not routes.are_about(scope["path"]):
            return await app(scope, receive, send)
        if routes.have(scope["method"], scope["path"]):
            prefix = f"/_aws/execute-api/{routes.api}"
            raw_path = prefix.encode() + (scope.get("raw_path") or scope["path"].encode())
            return await app({**scope, "path": prefix + scope["path"], "raw_path": raw_path}, receive, send)
        message = f"there is no route {scope['method']} {scope['path']}"
        body = json.dumps({"message": message, "routes": routes.routes}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 404, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return serve


if "--detached" not in sys.argv:
    threading.Thread(target=end_with_parent, daemon=True).start()
if "--also-at" in sys.argv:
    listen_also_at(sys.argv[sys.argv.index("--also-at") + 1])
sys.argv = ["ministack"]

import ministack.app  # noqa: E402

ministack.app.app = with_routes(ministack.app.app)
ministack.app.main()
