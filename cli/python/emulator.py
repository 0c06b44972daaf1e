"""Runs the local AWS emulator, and ends it and all it started when whoever started this file ends.

Its API has the addresses that AWS would give it, without the API's id: /callbacks/verifyvasp, and so on. `routes.json`
beside this file, which `callbacks local` writes, says which there are. What comes to them is in the access log that the
template names, in its form, as API Gateway would write it: ministack 1.5.33 writes none.

With `--detached` it runs on until it is told to stop. With `--also-at ADDRESS:PORT` it listens there too.
"""

import json
import os
import re
import signal
import sys
import threading
import time
import uuid

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

    def find(self, method, path):
        """The key of the route that takes this request, if there is one."""
        matching = (r for r, pattern in zip(self.routes, self.patterns) if pattern.fullmatch(f"{method} {path}"))
        return next(matching, None)


class AccessLog:
    """The access log of the API, by the settings of its stage."""

    def __init__(self, app):
        self.app, self.api, self.group, self.form, self.stream = app, "", None, "", ""

    async def ask(self, scope, method, path, headers, body=b""):
        """What the emulator answers to a request of its own."""
        answer = []

        async def receive():
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message):
            answer.append(message.get("body", b""))

        own = {"method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "headers": headers}
        await self.app({**scope, **own}, receive, send)
        return json.loads(b"".join(answer) or b"{}")

    async def logs(self, scope, operation, **request):
        region = os.environ["MINISTACK_REGION"]
        headers = [
            (b"x-amz-target", f"Logs_20140328.{operation}".encode()),
            (b"content-type", b"application/x-amz-json-1.1"),
            (b"authorization", f"AWS4-HMAC-SHA256 Credential=test/20260131/{region}/logs/aws4_request".encode()),
        ]
        await self.ask(scope, "POST", "/", headers, json.dumps(request).encode())

    async def open(self, scope, api):
        """Reads the settings, and begins a stream."""
        stages = await self.ask(scope, "GET", f"/v2/apis/{api}/stages", [])
        settings = next((s["accessLogSettings"] for s in stages.get("items", []) if s.get("accessLogSettings")), None)
        group, form, stream = None, "", str(uuid.uuid4())
        if settings is not None:
            # arn:aws:logs:REGION:ACCOUNT:log-group:NAME, and :* behind it maybe.
            group, form = settings["destinationArn"].split(":")[6], settings["format"]
            await self.logs(scope, "CreateLogStream", logGroupName=group, logStreamName=stream)
        # All at once: another request may be doing the same.
        self.api, self.group, self.form, self.stream = api, group, form, stream

    async def write(self, scope, api, values):
        """Writes a line. What API Gateway has no value for is a hyphen."""
        if self.api != api:
            await self.open(scope, api)
        if self.group is None:
            return
        line = re.sub(r"\$context\.([A-Za-z.]+)", lambda name: str(values.get(name[1], "-")), self.form)
        event = {"timestamp": values["requestTimeEpoch"], "message": line}
        await self.logs(scope, "PutLogEvents", logGroupName=self.group, logStreamName=self.stream, logEvents=[event])


def with_routes(app):
    """The same server, with the API's routes below / too, and its access log."""
    routes, log = Routes(), AccessLog(app)

    async def serve(scope, receive, send):
        if scope["type"] != "http" or not routes.are_about(scope["path"]):
            return await app(scope, receive, send)
        began, status, length = time.time(), 0, 0

        async def send_and_log(message):
            nonlocal status, length
            status, length = message.get("status", status), length + len(message.get("body", b""))
            if message["type"] == "http.response.body" and not message.get("more_body"):
                # Before the answer ends, so that a caller who has it finds the line.
                values = {
                    "requestId": uuid.uuid4(),
                    "requestTimeEpoch": int(began * 1000),
                    "routeKey": route or "-",
                    "status": status,
                    # The caller's own: the emulator tells the functions 127.0.0.1, whoever calls.
                    "identity.sourceIp": (scope.get("client") or ["-"])[0],
                    "protocol": f"HTTP/{scope['http_version']}",
                    "responseLength": length,
                    "responseLatency": int((time.time() - began) * 1000),
                }
                await log.write(scope, routes.api, values)
            await send(message)

        route = routes.find(scope["method"], scope["path"])
        if route is not None:
            prefix = f"/_aws/execute-api/{routes.api}"
            raw_path = prefix.encode() + (scope.get("raw_path") or scope["path"].encode())
            return await app({**scope, "path": prefix + scope["path"], "raw_path": raw_path}, receive, send_and_log)
        message = f"there is no route {scope['method']} {scope['path']}"
        body = json.dumps({"message": message, "routes": routes.routes}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send_and_log({"type": "http.response.start", "status": 404, "headers": headers})
        await send_and_log({"type": "http.response.body", "body": body})

    return serve


if "--detached" not in sys.argv:
    threading.Thread(target=end_with_parent, daemon=True).start()
if "--also-at" in sys.argv:
    listen_also_at(sys.argv[sys.argv.index("--also-at") + 1])
sys.argv = ["ministack"]

import ministack.app  # noqa: E402

ministack.app.app = with_routes(ministack.app.app)
ministack.app.main()
