"""Stands in for Elasticsearch and Kibana, and files what a Forward receiver has taken, as Fluentd would.

It keeps users with their passwords, and what is put into it, and knows the calls of the role `efk` and no others.
"""

import json
import re
from base64 import b64decode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

OBJECT = re.compile(r"/(_ilm/policy|_index_template)/[\w.-]+")


class Search(ThreadingHTTPServer):
    """Both servers in one.

    Args:
        password: of the user `elastic`.
        received: the file of the receiver, with an event on each line.
    """

    def __init__(self, password: str, received: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.port = self.server_address[1]
        self.users: dict[str, tuple[str, list[str]]] = {"elastic": (password, ["superuser"])}
        self.received = received
        self.health = "yellow"
        self.objects: dict[str, Any] = {}
        self.saved: dict[str, Any] = {}

    def __enter__(self) -> "Search":
        Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def has_document(self, index: str, document: str) -> bool:
        """Whether Fluentd would have filed a record there: by its tag, its own day and its id."""
        for line in self.received.read_text().splitlines():
            event = json.loads(line)
            day = event["record"]["@timestamp"][:10].replace("-", ".")
            if (f"{event['tag'].partition('.')[0]}-{day}", event["record"]["prediction_id"]) == (index, document):
                return True
        return False


class Handler(BaseHTTPRequestHandler):
    """Answers as the documented APIs do."""

    server: Search

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind, _, given = self.headers.get("Authorization", " ").partition(" ")
        user, _, password = b64decode(given).decode().partition(":")
        known = kind == "Basic" and self.server.users.get(user, ("", []))[0] == password != ""
        self._answer(*(self._ask(user, body) if known else (401, {"error": "security_exception"})))

    do_GET = do_PUT = do_POST = do_DELETE = _serve

    def _ask(self, user: str, body: bytes) -> tuple[int, dict[str, Any]]:
        users = self.server.users
        call = f"{self.command} {self.path}"
        if call == "GET /_security/_authenticate":
            return 200, {"username": user, "roles": users[user][1]}
        if user != "elastic":
            return 403, {"error": "security_exception"}
        if call == "GET /_cluster/health":
            return 200, {"status": self.server.health}
        if call == "POST /_security/user/kibana_system/_password":
            users["kibana_system"] = (json.loads(body)["password"], ["kibana_system"])
            return 200, {}
        if call == "PUT /_security/user/fluentd":
            told = json.loads(body)
            users["fluentd"] = (told["password"], told["roles"])
            return 200, {"created": True}
        if OBJECT.fullmatch(self.path) and self.command == "PUT":
            self.server.objects[self.path] = json.loads(body)
            return 200, {"acknowledged": True}
        if OBJECT.fullmatch(self.path) and self.command == "GET":
            return (200, {}) if self.path in self.server.objects else (404, {})
        if self.path.startswith("/api/saved_objects/_find?type=index-pattern"):
            views = [{"id": one["id"]} for one in self.server.saved.values() if one["type"] == "index-pattern"]
            return 200, {"saved_objects": views}
        if call == "POST /api/saved_objects/_import?overwrite=true" and self.headers["kbn-xsrf"]:
            return self._import(body)
        if found := re.fullmatch(r"/([\w.-]+)/_doc/(\w+)", self.path):
            return (200 if self.server.has_document(found[1], found[2]) else 404), {}
        if self.command == "DELETE" and re.fullmatch(r"/verify-[\d.]+", self.path):
            self.server.received.write_text("")
            return 200, {"acknowledged": True}
        return 400, {"error": f"no such call: {call}"}

    def _import(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """Keep the lines of the one file of a form."""
        lines = [line for line in re.split(r"\r?\n", body.decode()) if line.startswith("{")]
        objects = [json.loads(line) for line in lines]
        self.server.saved |= {f"{one['type']}/{one['id']}": one for one in objects}
        return 200, {"success": bool(objects), "successCount": len(objects)}

    def _answer(self, status: int, answer: dict[str, Any]) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Nothing."""
