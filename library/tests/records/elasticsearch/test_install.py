"""`ml-service logging install` against an HTTP server that keeps what it is given, and `render` beside it.

Neither Elasticsearch nor Kibana is here: what is tested is that the requests are those of their documented APIs.
"""

import json
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

PASSWORD = "not in any file"
FEATURES = """
task: classification
target: sold
features:
  - {name: floor area, type: float}
  - {name: a.b, type: category, values: [red, blue]}
"""


class Stack(ThreadingHTTPServer):
    """Keeps what is put into it, like Elasticsearch and Kibana in one."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.version = "8.19.2"
        self.password: str | None = None
        self.broken: dict[str, tuple[int, dict[str, Any]]] = {}
        self.put: dict[str, Any] = {}
        self.saved: dict[str, Any] = {}
        self.requests: list[str] = []


class Handler(BaseHTTPRequestHandler):
    """Answers the calls that an installation makes, and no others."""

    server: Stack

    def _serve(self) -> None:
        stack, body = self.server, self.rfile.read(int(self.headers.get("Content-Length") or 0))
        stack.requests.append(f"{self.command} {self.path}")
        expected = f"Basic {b64encode(f'elastic:{stack.password}'.encode()).decode()}"
        if stack.password and self.headers["Authorization"] != expected:
            self._answer(401, {"error": {"type": "security_exception", "reason": "unable to authenticate"}})
        elif self.path in stack.broken:
            self._answer(*stack.broken[self.path])
        elif self.command == "GET" and self.path in ("/", "/api/status"):
            self._answer(200, {"version": {"number": stack.version}})
        elif self.command == "PUT" and self.path.startswith(("/_ilm/policy/", "/_index_template/")):
            stack.put[self.path] = json.loads(body)
            self._answer(200, {"acknowledged": True})
        elif self.command == "POST" and self.path == "/api/saved_objects/_import?overwrite=true":
            assert self.headers["kbn-xsrf"] == "true"
            lines = [json.loads(line) for line in _file(self.headers["Content-Type"], body).splitlines() if line]
            stack.saved |= {f"{one['type']}/{one['id']}": one for one in lines}
            self._answer(200, {"success": True, "successCount": len(lines)})
        else:
            self._answer(404, {"message": "no such route"})

    do_GET = do_PUT = do_POST = _serve

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _file(content_type: str, body: bytes) -> str:
    """The one file of a form."""
    boundary = content_type.split("boundary=")[1]
    _, part, end = body.decode().split(f"--{boundary}")
    head, _, text = part.partition("\r\n\r\n")
    assert 'name="file"; filename="records.ndjson"' in head
    assert end == "--\r\n"
    return text


@pytest.fixture
def stack() -> Iterator[Stack]:
    server = Stack()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text("name: houses\ntitle: Houses\nfluentd:\n  tag: estate\n")
    (tmp_path / "src/model").mkdir(parents=True)
    (tmp_path / "src/model/features.yaml").write_text(FEATURES)
    return tmp_path


def service(project: Path, *words: str, **environment: str) -> tuple[int, str]:
    """The exit code and the output of a command."""
    source = Path(__file__).parents[3] / "src"
    variables = {"PYTHONPATH": str(source), "PATH": "/usr/bin:/bin", "COLUMNS": "400", **environment}
    command = [sys.executable, "-m", "ml_microservice.cli", "logging", *words]
    done = subprocess.run(command, cwd=project, env=variables, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_one_command_installs_what_render_writes_and_can_be_repeated(stack: Stack, project: Path) -> None:
    assert service(project, "render") == service(project, "render")
    files = project / "var/logging"
    for _ in range(2):
        code, output = service(project, "install", "--elasticsearch", stack.url, "--kibana", f"{stack.url}/")
        assert code == 0, output
    rendered = {
        "/" + path.relative_to(files / "elasticsearch").with_suffix("").as_posix(): json.loads(path.read_text())
        for path in (files / "elasticsearch").rglob("*.json")
        if path.is_file()
    }
    assert stack.put == rendered
    assert set(stack.put) == {"/_ilm/policy/estate", "/_index_template/estate", "/_index_template/estate.feedback"}
    lines = [json.loads(line) for line in (files / "kibana.ndjson").read_text().splitlines()]
    assert stack.saved == {f"{one['type']}/{one['id']}": one for one in lines}
    assert stack.requests.index("PUT /_ilm/policy/estate") < stack.requests.index("PUT /_index_template/estate")


@pytest.mark.slow
def test_credentials_come_from_the_environment_only(stack: Stack, project: Path) -> None:
    stack.password = PASSWORD
    command = ["install", "--elasticsearch", stack.url]
    code, output = service(project, *command)
    assert code == 1
    assert "set ELASTICSEARCH_USER and ELASTICSEARCH_PASSWORD" in output
    code, output = service(project, *command, ELASTICSEARCH_USER="elastic", ELASTICSEARCH_PASSWORD=PASSWORD)
    assert code == 0, output
    assert PASSWORD not in output
    code, output = service(project, "install", "--elasticsearch", stack.url.replace("//", "//elastic:pass@"))
    assert code == 1
    assert "credentials in it" in output
    assert "pass@" not in output
    code, output = service(project, *command, ELASTICSEARCH_USER="elastic")
    assert (code, "only one is set" in output) == (1, True)


@pytest.mark.slow
def test_what_goes_wrong_is_said_in_a_sentence(stack: Stack, project: Path) -> None:
    command = ["install", "--elasticsearch", stack.url, "--kibana", stack.url]
    code, output = service(project, "install")
    assert (code, "nothing to install into" in output) == (1, True)
    code, output = service(project, "install", "--elasticsearch", "elasticsearch:9200")
    assert (code, "has to be a URL" in output) == (1, True)
    code, output = service(project, "install", "--elasticsearch", "http://127.0.0.1:1")
    assert (code, "no answer from Elasticsearch at http://127.0.0.1:1" in output) == (1, True)

    reason = "index template [estate] has index patterns that overlap"
    stack.broken["/_index_template/estate"] = (400, {"error": {"reason": reason}, "status": 400})
    code, output = service(project, *command)
    assert (code, reason in output) == (1, True)
    stack.broken = {"/api/saved_objects/_import?overwrite=true": (503, {"message": "Kibana is not ready yet"})}
    code, output = service(project, *command)
    assert (code, "Kibana is not ready yet" in output) == (1, True)
    errors = [{"type": "search", "id": "estate-predictions", "error": {"type": "missing_references"}}]
    stack.broken = {"/api/saved_objects/_import?overwrite=true": (200, {"success": False, "errors": errors})}
    code, output = service(project, *command)
    assert (code, "search/estate-predictions: missing_references" in output) == (1, True)
    stack.version = "7.17.0"
    code, output = service(project, *command)
    assert (code, "Elasticsearch is 7.17.0; 8.3 or newer is needed" in output) == (1, True)
    assert "Traceback" not in output
