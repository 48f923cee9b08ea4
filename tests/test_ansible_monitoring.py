"""The role `monitoring`: what it writes, read by those who read it. tests/test_converge.py installs it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from ansible_tools import needs_ansible
from bake import TEMPLATE
from docker_daemon import has_plugin
from playbooks import ANSIBLE, HERE, INVENTORIES, SECRETS, play, program
from test_helm import (  # noqa: F401 (fixtures)
    WORKER,
    Document,
    _schemas_are_read_once,
    folder,
    pods,
    project,
    rendered,
)

pytestmark = pytest.mark.t1
ROLE = ANSIBLE / "roles/monitoring"
TREE = TEMPLATE / "{{cookiecutter.project_slug}}"
PROJECTS = [
    {
        "slug": "my-model",
        "retrain_on_drift": True,
        "environments": [
            {"name": "staging", "scrape": "targets", "targets": {"api": ["127.0.0.1:8000"], "worker": ["a.test:9100"]}},
            {"name": "production"},
        ],
    },
    {"slug": "unwatched", "environments": [{"name": "production", "scrape": "none"}, {"name": "not-there-yet"}]},
]
needs_tools = pytest.mark.skipif(
    not (shutil.which("promtool") and shutil.which("amtool")) and not os.environ.get("CI"),
    reason="not installed: prometheus, prometheus-alertmanager",
)


@needs_tools
@needs_ansible
@pytest.mark.parametrize("inventory", INVENTORIES)
def test_prometheus_and_alertmanager_read_what_is_written(tmp_path: Path, inventory: str) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    cluster = {"cluster": {"server": "https://192.0.2.30:16443", "certificate-authority-data": ""}}
    kubeconfig = {"clusters": [cluster], "users": [{"user": {"token": ""}}]}
    (credentials / "my-model-prometheus-production").write_text(yaml.safe_dump(kubeconfig))
    render(tmp_path, inventory, monitoring_credentials=str(credentials))

    subprocess.run(["promtool", "check", "config", tmp_path / "prometheus.yml"], check=True, capture_output=True)
    jobs = yaml.safe_load((tmp_path / "prometheus.yml").read_text())["scrape_configs"]
    assert {job["job_name"] for job in jobs} == {
        "prometheus", "alertmanager", "node", "grafana", "builds", "my-model-staging", "my-model-staging-worker",
        "my-model-production", "my-model-production-worker",
    }  # fmt: skip

    # Each is asked where it listens, and none where an add-on of MicroK8s has its node exporter.
    addresses = {target for job in jobs for one in job.get("static_configs", ()) for target in one["targets"]}
    listens = {re.search(r'"--web.listen-address=(\S+?)[ "]', (tmp_path / f"default-{name}").read_text())[1]  # type: ignore[index]
               for name in ("prometheus", "prometheus-alertmanager", "prometheus-node-exporter")}  # fmt: skip
    assert listens < addresses
    assert "127.0.0.1:9100" not in listens

    told = tmp_path / "alertmanager.yml"
    subprocess.run(["amtool", "check-config", told], check=True, capture_output=True)
    for alert, job, receivers in [
        ("FeatureDrift", "my-model-production", "my-model-retrain,team"),
        ("FeatureDrift", "my-model-staging", "team"),
        ("ServiceDown", "my-model-production", "team"),
    ]:
        command = ["amtool", "config", "routes", "test", f"--config.file={told}", f"alertname={alert}", f"job={job}"]
        found = subprocess.run([*command, "severity=warning"], check=True, capture_output=True, text=True).stdout
        assert found.strip() == receivers
    hook = next(one for one in yaml.safe_load(told.read_text())["receivers"] if one["name"] == "my-model-retrain")
    (only,) = hook["webhook_configs"]
    assert only["url"].endswith("/generic-webhook-trigger/invoke")
    assert only["send_resolved"] is False
    assert only["http_config"]["authorization"]["credentials_file"].endswith("/my-model-retrain-token")


def render(target: Path, inventory: str, **variables: Any) -> None:
    """The templates of the role as it would write them on a machine whose folders are the target."""
    names = ("prometheus.yml", "alertmanager.yml")
    tasks: list[dict[str, Any]] = [
        {"ansible.builtin.include_vars": f"{ROLE}/{name}/main.yml"} for name in ("defaults", "vars")
    ]
    tasks += [{"ansible.builtin.template": {"src": f"{name}.j2", "dest": f"{target}/{name}"}} for name in names]
    packages = "{{ monitoring_packages }}"
    default = {"src": "default.j2", "dest": f"{target}/default-{{{{ item }}}}"}
    tasks.append({"ansible.builtin.template": default, "loop": packages})
    # Beside it are the role's folders, where its templates look for theirs.
    for name in ("templates", "files"):
        (target / name).symlink_to(ROLE / name)
    (target / "play.yml").write_text(
        yaml.safe_dump([{"hosts": "monitoring[0]", "gather_facts": False, "tasks": tasks}])
    )
    told = {
        "projects": PROJECTS,
        "monitoring_targets": {"builds": ["192.0.2.21:9100"]},
        "monitoring_email": {"to": "a@b.test", "from": "c@b.test", "smarthost": "b.test:25", "username": "c"},
        "monitoring_webhooks": [
            {"name": "chat", "url": "http://chat.test/", "token": "t"},
            {"name": "b", "url": "http://b/"},
        ],
    }
    command = [program("ansible-playbook"), str(target / "play.yml"), "-i", f"inventories/{inventory}"]
    command += ["--extra-vars", json.dumps({**SECRETS, **HERE, **told, **variables})]
    done = subprocess.run(command, cwd=ANSIBLE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    places = {"/etc/prometheus/rules": f"{TREE}/monitoring/alerts", "/etc/prometheus": str(target)}
    for secret in ("secrets", "kubernetes"):
        (target / secret).mkdir()
    for name in names:
        text = (target / name).read_text()
        for old, new in places.items():
            text = text.replace(old, new)
        for path in re.findall(rf"{target}/(?:secrets|kubernetes)/[\w.-]+", text):
            # A certificate that OpenSSL reads, so that promtool does.
            Path(path).write_bytes(Path("/etc/ssl/certs/ca-certificates.crt").read_bytes())
        (target / name).write_text(text)


def test_prometheus_is_told_of_the_running_pods_of_the_chart_and_keeps_them_while_nobody_answers(
    rendered: Callable[..., list[Document]],  # noqa: F811
    tmp_path: Path,
) -> None:
    running = [
        {**pod, "metadata": {**pod["metadata"], "name": f"my-model-{name}-0"}, "status": {"phase": "Running"}}
        for name, pod in pods(rendered(WORKER)).items()
    ]
    pending = {**running[0], "metadata": {**running[0]["metadata"], "name": "later"}, "status": {"phase": "Pending"}}
    (tmp_path / "places").mkdir()
    (tmp_path / "targets").mkdir()
    (tmp_path / "token").write_text("the token")
    command = [sys.executable, str(ROLE / "files/pods.py"), str(tmp_path / "places"), str(tmp_path / "targets")]
    with API([*running, pending]) as api:
        place = {"server": api.url, "ca_file": "", "token_file": str(tmp_path / "token"), "namespace": "models"}
        place |= {"slug": "my-model", "environment": "staging"}
        (tmp_path / "places/my-model-staging.json").write_text(json.dumps(place))
        subprocess.run(command, check=True)
        assert api.asked == ["/api/v1/namespaces/models/pods"]
    written = {path.name: json.loads(path.read_text()) for path in (tmp_path / "targets").iterdir()}
    found = {name: [one["labels"]["__metrics_path__"] for one in groups] for name, groups in written.items()}
    assert found == {
        "my-model-staging.json": ["/api/v1/namespaces/models/pods/my-model-api-0:8000/proxy/metrics"],
        "my-model-staging-worker.json": ["/api/v1/namespaces/models/pods/my-model-worker-0:9100/proxy/metrics"],
    }
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "does not tell the pods of models" in done.stderr
    assert {path.name for path in (tmp_path / "targets").iterdir()} == set(written)


@needs_ansible
@pytest.mark.parametrize("status", [0, 1])
def test_verify_says_so_if_nobody_tells_which_pods_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f'#!/bin/sh\ntest "$*" = "start prometheus-pods.service" && exit {status}\n')
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    changed, failed, said = play(tmp_path, "monitoring", "monitoring", entry="verify_pods")
    assert (changed, failed) == (0, status), said
    assert ("see journalctl -u prometheus-pods" in said) == bool(status)


class API(ThreadingHTTPServer):
    """Lists pods to whoever has the token."""

    def __init__(self, items: list[Document]) -> None:
        super().__init__(("127.0.0.1", 0), Pods)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.items = items
        self.asked: list[str] = []

    def __enter__(self) -> "API":
        Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class Pods(BaseHTTPRequestHandler):
    """Answers as an API server does."""

    server: API

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        known = self.headers["Authorization"] == "Bearer the token"
        data = json.dumps({"items": self.server.items if known else []}).encode()
        self.send_response(200 if known else 401)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def grafana(tmp_path: Path) -> dict[str, Any]:
    """Its compose file, with the image that is the default."""
    text = (ROLE / "templates/grafana.yaml.j2").read_text()
    image = yaml.safe_load((ROLE / "defaults/main.yml").read_text())["monitoring_grafana_image"]
    text = text.replace("{{ monitoring_grafana_image }}", image).replace("{{ ansible_managed }}", "")
    (tmp_path / "compose.yaml").write_text(text)
    return {"folder": tmp_path, "image": image}


@pytest.mark.skipif(not has_plugin("compose") and not os.environ.get("CI"), reason="Compose 2 is not installed")
def test_compose_reads_grafanas_file_and_its_image_is_the_projects_own(grafana: dict[str, Any]) -> None:
    command = ["docker", "compose", "--file", str(grafana["folder"] / "compose.yaml"), "config", "--format", "json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    service = json.loads(done.stdout)["services"]["grafana"]
    assert service["network_mode"] == "host"
    assert service["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    assert f":-{grafana['image']}}}" in (TREE / "compose.yaml").read_text()
