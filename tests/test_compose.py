"""compose.yaml and what it mounts: read by the programs that it is for, as far as these can be had."""

import base64
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import Any

import pytest
import yaml

from conftest import run
from demo import free_port
from docker_daemon import has_plugin

PROFILES = ("jobs", "data", "logging", "monitoring", "edge")
HOSTS = ("api", "flower", "grafana", "prometheus")

pytestmark = pytest.mark.t1


def needs(*tools: str) -> pytest.MarkDecorator:
    """Skip for users who lack a tool; continuous integration has to have it."""
    lacking = [tool for tool in tools if shutil.which(tool) is None]
    return pytest.mark.skipif(bool(lacking) and not os.environ.get("CI"), reason=f"not installed: {', '.join(lacking)}")


needs_compose = pytest.mark.skipif(
    not has_plugin("compose") and not os.environ.get("CI"), reason="Compose 2 is not installed"
)


@pytest.fixture(scope="module")
def project(baked: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with secrets of its own."""
    folder = tmp_path_factory.mktemp("compose") / "project"
    shutil.copytree(baked("penguins"), folder)
    run([sys.executable, "-m", "ml_microservice.delivery.environment"], folder)
    return folder


@pytest.fixture(scope="module")
def services(project: Path) -> dict[str, dict[str, Any]]:
    """Every service as Compose understands it."""
    command = ["docker", "compose", "--profile", "*", "config", "--format", "json"]
    found: dict[str, dict[str, Any]] = json.loads(run(command, project, IMAGE="image:tag"))["services"]
    return found


@needs_compose
@pytest.mark.parametrize("profiles", [(), *((profile,) for profile in PROFILES), PROFILES], ids=" ".join)
def test_compose_reads_every_profile(project: Path, profiles: tuple[str, ...]) -> None:
    chosen = [word for profile in profiles for word in ("--profile", profile)]
    run(["docker", "compose", *chosen, "config", "--quiet"], project, IMAGE="image:tag")


@needs_compose
def test_there_is_no_default_secret(project: Path, tmp_path: Path) -> None:
    shutil.copy(project / "compose.yaml", tmp_path)
    command = ["docker", "compose", "config", "--quiet"]
    example = re.findall(r"^([A-Z_]+)=", (project / ".env.example").read_text(), re.MULTILINE)
    for left_out in example:
        (tmp_path / ".env").write_text("".join(f"{name}=x\n" for name in example if name != left_out))
        done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "IMAGE": "x"}, capture_output=True, text=True)
        assert done.returncode != 0, left_out
        assert f"{left_out} is missing a value: run make env" in done.stderr


@needs_compose
def test_every_service_is_bounded_and_healthy_or_not_and_has_no_right_that_it_does_without(
    services: dict[str, dict[str, Any]],
) -> None:
    assert len(services) >= 12
    for name, service in services.items():
        limits = service["deploy"]["resources"]["limits"]
        assert set(limits) >= {"cpus", "memory", "pids"}, name
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged"), name
        # These two write their own configuration when they start.
        assert service.get("read_only", False) == (name not in ("elasticsearch", "kibana")), name
        tag = service["image"].rpartition(":")[2]
        assert tag not in ("latest", ""), name


@needs_compose
def test_only_the_edge_is_open_to_other_machines(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        hosts = {port.get("host_ip") for port in service.get("ports", ())}
        assert hosts <= ({None} if name == "edge" else {"127.0.0.1"}), name
    # What holds data has no way in but from its neighbours.
    for name in ("postgres", "rabbitmq", "redis", "fluentd"):
        assert set(services[name]["networks"]) == {"inside"}


@needs_compose
def test_what_must_survive_is_on_a_named_volume(services: dict[str, dict[str, Any]]) -> None:
    kept = {name: {volume["target"] for volume in service.get("volumes", ()) if volume["type"] == "volume"}
            for name, service in services.items()}  # fmt: skip
    assert kept == {
        "alertmanager": {"/alertmanager"},
        "api": {"/app/var"},
        "edge": set(),
        "elasticsearch": {"/usr/share/elasticsearch/data"},
        "flower": set(),
        "fluentd": {"/fluentd/buffer"},
        "grafana": {"/var/lib/grafana"},
        "kibana": {"/usr/share/kibana/data"},
        "postgres": {"/var/lib/postgresql/data"},
        "prometheus": {"/prometheus"},
        "rabbitmq": {"/var/lib/rabbitmq"},
        "redis": {"/data"},
        "worker": {"/app/var"},
    }


@needs_compose
def test_the_service_is_told_by_settings_that_exist(services: dict[str, dict[str, Any]], project: Path) -> None:
    from ml_microservice.settings import load_settings

    passed = {"SERVICE__DATABASE__URL": "postgresql+psycopg://service@postgres:5432/service",
              "SERVICE__JOBS__BROKER": "amqp://service@rabbitmq:5672/"}  # fmt: skip
    for name in ("api", "worker"):
        told = {key: value for key, value in services[name]["environment"].items() if value is not None}
        assert all(key.startswith("SERVICE__") for key in told)
        assert load_settings(project, {**told, **passed}).environment == "production"


def test_make_env_adds_what_is_missing_and_changes_nothing(project: Path, tmp_path: Path) -> None:
    shutil.copy(project / ".env.example", tmp_path)
    (tmp_path / ".env").write_text("SERVICE__API__KEYS=mine")
    command = [sys.executable, "-m", "ml_microservice.delivery.environment"]
    assert "SERVICE__API__KEYS" not in run(command, tmp_path)
    first = (tmp_path / ".env").read_text()
    assert first.startswith("SERVICE__API__KEYS=mine\n")
    values = [line.partition("=")[2] for line in first.splitlines()]
    assert len(set(values)) == len(values)
    assert all(len(value.removeprefix("whsec_")) >= 44 for value in values[1:])
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    run(command, tmp_path)
    assert (tmp_path / ".env").read_text() == first


@needs("promtool")
def test_prometheus_reads_its_configuration(project: Path) -> None:
    said = run(["promtool", "check", "config", "monitoring/prometheus.yml"], project)
    assert "FAILED" not in said
    assert said.count("SUCCESS") >= 3  # the configuration, and both files of alerts


@needs("amtool")
def test_alertmanager_reads_its_configuration(project: Path) -> None:
    assert "SUCCESS" in run(["amtool", "check-config", "monitoring/alertmanager.yml"], project)


@needs_compose
def test_prometheus_asks_where_services_answer(services: dict[str, dict[str, Any]], project: Path) -> None:
    jobs = yaml.safe_load((project / "monitoring/prometheus.yml").read_text())["scrape_configs"]
    asked = {one["job_name"]: one["dns_sd_configs"][0] for one in jobs if "dns_sd_configs" in one}
    assert {name: found["names"] for name, found in asked.items()} == {name: [name] for name in asked}
    assert set(asked) <= set(services)
    assert asked["worker"]["port"] == int(services["worker"]["environment"]["SERVICE__JOBS__METRICS_PORT"])
    assert asked["api"]["port"] == services["api"]["ports"][0]["target"]


def test_the_edge_lets_nobody_in_who_has_no_password_and_hides_metrics(project: Path, tmp_path: Path) -> None:
    with upstream() as port, traefik(project, tmp_path, port) as (secure, plain):
        operator = "Basic " + base64.b64encode(b"operator:secret").decode()
        for host in HOSTS:
            status, _ = ask(secure, f"{host}.test")
            assert status == (200 if host == "api" else 401), host
            assert ask(secure, f"{host}.test", operator)[0] == 200
            assert ask(secure, f"{host}.test", operator + "x")[0] == (200 if host == "api" else 401)
        assert ask(secure, "api.test", path="/metrics")[0] == 404
        assert ask(secure, "elsewhere.test")[0] == 404
        # Grafana gets no password that is not its own, and Flower gets its own.
        assert ask(secure, "grafana.test", operator)[1] == ""
        assert base64.b64decode(ask(secure, "flower.test", operator)[1].split()[1]) == b"operator:flowers"
        with socket.create_connection(("127.0.0.1", plain)) as caller:
            caller.sendall(b"GET / HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n")
            assert b"location: https://api.test" in caller.makefile("rb").read().lower()


@contextmanager
def upstream() -> Iterator[int]:
    """Whatever stands behind the edge; it answers with the password that it was given. Its port."""

    class Echo(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.headers.get("authorization", "").encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def traefik(project: Path, folder: Path, port: int) -> Iterator[tuple[int, int]]:
    """Traefik with compose's own options and the project's routes, whose services are all upstream; its two ports."""
    edge = yaml.safe_load((project / "compose.yaml").read_text())["services"]["edge"]
    routes = (project / "edge/routes.yml").read_text()
    for name, inside in (("api", 8000), ("flower", 5555), ("grafana", 3000), ("prometheus", 9090)):
        routes = routes.replace(f"http://{name}:{inside}", f"http://127.0.0.1:{port}")
    (folder / "routes.yml").write_text(routes)
    secure, plain, ping = free_port(), free_port(), free_port()
    changes = {"=:8443": f"=127.0.0.1:{secure}", "=:8000": f"=127.0.0.1:{plain}", "/etc/traefik": str(folder),
               "${EDGE_HTTPS_PORT:-443}": str(secure)}  # fmt: skip
    options = [*edge["command"], f"--entrypoints.traefik.address=127.0.0.1:{ping}"]
    for old, new in changes.items():
        options = [option.replace(old, new) for option in options]
    environment = {**os.environ, "DOMAIN": "test", "EDGE_PASSWORD": "secret", "FLOWER_PASSWORD": "flowers"}
    executable = shutil.which("traefik") or str(Path(sys.executable).with_name("traefik"))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([executable, *options], env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = monotonic() + 20
        while monotonic() < deadline and process.poll() is None:
            try:
                if ask(secure, "prometheus.test")[0] == 401 and ask(secure, "api.test")[0] == 200:
                    break
            except OSError:
                pass
            sleep(0.1)
        else:
            pytest.fail((folder / "log").read_text(errors="replace"))
        yield secure, plain
    finally:
        process.terminate()
        process.wait(10)


def ask(port: int, host: str, password: str | None = None, path: str = "/") -> tuple[int, str]:
    """Status and body of an answer over TLS."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    headers = f"Host: {host}\r\n" + (f"Authorization: {password}\r\n" if password else "")
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=host) as caller,
    ):
        caller.sendall(f"GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n".encode())
        head, _, body = caller.makefile("rb").read().partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()
