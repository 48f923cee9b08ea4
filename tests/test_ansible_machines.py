"""What the roles `common`, `hardening`, `docker` and `jenkins` do where no machine is needed to see it.

tests/test_converge.py installs them.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from ansible_tools import call, copy_inventory, needs_ansible
from bake import TEMPLATE
from playbooks import ANSIBLE, carry_out, play, tasks_of

pytestmark = [pytest.mark.t1, needs_ansible]


def test_what_roles_leave_beside_an_inventory_is_no_part_of_it(tmp_path: Path) -> None:
    inventory = copy_inventory("example", tmp_path)
    (inventory / "credentials").mkdir()
    (inventory / "credentials/fluentd-ca.crt").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n")
    kubeconfig = {"apiVersion": "v1", "kind": "Config", "clusters": [{"name": "microk8s"}]}
    (inventory / "credentials/my-model-kubeconfig-staging").write_text(yaml.safe_dump(kubeconfig))

    done = call("ansible-inventory", "-i", str(inventory), "--list")

    assert done.returncode == 0, done.stdout
    assert list(json.loads(done.stdout)["_meta"]["hostvars"]) == ["machine"]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_clocks_are_compared_wherever_this_computer_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    named = ("The machine's clock", "The clock is that of this computer, within 30 seconds")
    _, failed, said = carry_out(tmp_path, "all", tasks_of("common", "verify", *named))
    assert not failed, said


def test_agents_and_prometheus_get_to_the_api_of_the_cluster_of_a_team(tmp_path: Path) -> None:
    users = "(groups['jenkins_agents'] + groups['monitoring'])"
    seen = {"that": [f"{users} | map('extract', hostvars, 'ansible_host') | difference(api.from) == []"]}
    tasks = [{"ansible.builtin.assert": seen}]
    api = "{{ hardening_open | selectattr('port', 'equalto', '16443') | first }}"
    _, failed, said = carry_out(tmp_path, "kubernetes", tasks, inventory="team", api=api)
    assert not failed, said


@pytest.mark.parametrize(
    ("way", "variables", "let_in"),
    [
        ("192.0.2.5 51000 192.0.2.20 22", {}, True),
        ("192.0.2.5 51000 192.0.2.20 22", {"hardening_ssh_from": ["2001:db8::/32", "192.0.2.0/28"]}, True),
        ("fe80::1%eth0 51000 fe80::2%eth0 22", {"hardening_ssh_from": ["fe80::/10"]}, True),
        ("198.51.100.7 51000 192.0.2.20 22", {"hardening_ssh_from": ["2001:db8::/32", "192.0.2.0/28"]}, False),
        ("192.0.2.5 51000 192.0.2.20 2222", {}, False),
        ("192.0.2.5 51000 192.0.2.20 2222", {"hardening_ssh_port": 2222}, True),
        ("", {"hardening_ssh_from": ["192.0.2.0/28"]}, True),
    ],
)
def test_a_firewall_that_would_lock_out_whoever_runs_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, variables: dict[str, Any], let_in: bool
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", way)
    _, failed, said = play(tmp_path, "hardening", "all", entry="reachable", **variables)
    assert failed == (0 if let_in else 1), said
    if not let_in:
        address, _, _, port = way.split()
        assert f"You come from {address} to port {port}." in said
        assert "hardening_ssh_port" in said
        assert "hardening_ssh_from" in said


def test_the_distributions_that_are_promised_are_those_that_docker_knows() -> None:
    packages = yaml.safe_load((ANSIBLE / "roles/docker/defaults/main.yml").read_text())["docker_compose_packages"]
    for path in ANSIBLE.glob("roles/*/meta/main.yml"):
        platforms = yaml.safe_load(path.read_text())["galaxy_info"]["platforms"]
        # Debian 12 has no Compose 2, which the documentation says.
        assert {version for one in platforms for version in one["versions"]} == {*packages, "bookworm"}, path
    assert "docker-cli" in packages["trixie"], "there it is a package of its own, which docker.io recommends alone"


def test_every_play_that_installs_waits_for_a_machine_that_upgrades_itself() -> None:
    for name in ("site", "upgrade", "remove"):
        for found in yaml.safe_load((ANSIBLE / f"{name}.yml").read_text()):
            if found.get("become"):
                assert found["module_defaults"]["ansible.builtin.apt"]["lock_timeout"] >= 600, (name, found["name"])


@pytest.mark.slow
def test_another_plugin_is_another_image_of_the_controller(tmp_path: Path) -> None:
    source = tmp_path / "jenkins"
    shutil.copytree(TEMPLATE / "jenkins", source, ignore=shutil.ignore_patterns("secrets", ".env"))
    role = ANSIBLE / "roles/jenkins"
    tasks: list[dict[str, Any]] = [
        *({"ansible.builtin.include_vars": f"{role}/{name}/main.yml"} for name in ("defaults", "vars")),
        {"ansible.builtin.template": {"src": f"{role}/templates/env.j2", "dest": f"{tmp_path}/.env"}},
    ]

    def image(**variables: Any) -> str:
        told = {"jenkins_controller_source": str(source), **variables}
        _, failed, said = carry_out(tmp_path, "jenkins_controller", tasks, **told)
        assert not failed, said
        settings = dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().splitlines() if "=" in line)
        return settings["CONTROLLER_IMAGE"]

    first = image()
    assert re.fullmatch(r"jenkins-controller:[0-9a-f]{12}", first)
    with (source / "casc/controller.yaml").open("a") as file:
        file.write("# It is mounted.\n")
    assert image() == first
    with (source / "plugins.txt").open("a") as file:
        file.write("chucknorris:1.5\n")
    assert image() != first
    assert image(jenkins_controller_environment={"CONTROLLER_IMAGE": "own:1"}) == "own:1"


def test_a_kubeconfig_that_is_not_there_yet_is_named_as_the_documentation_has_it(tmp_path: Path) -> None:
    inventory = copy_inventory("example", tmp_path)
    page = (TEMPLATE / "docs/platform.md").read_text()
    (block,) = re.findall(r"```yaml\n(jenkins_controller_project_secrets:\n.+?)```", page, re.DOTALL)
    told = {**yaml.safe_load(block), "jenkins_controller_secrets": {}}
    ((name, _),) = told["jenkins_controller_project_secrets"].items()
    tasks = tasks_of("jenkins", "secrets", "Secrets that nobody has entered yet")

    _, failed, said = carry_out(tmp_path, "jenkins_controller", tasks, inventory=str(inventory), **told)
    assert not failed, said
    assert f"what needs it will fail: {name}." in said
    (inventory / "credentials").mkdir()
    (inventory / "credentials" / name).write_text("kind: Config\n")
    _, failed, said = carry_out(tmp_path, "jenkins_controller", tasks, inventory=str(inventory), **told)
    assert not failed, said
    assert name not in said


def test_the_password_of_the_vaults_may_be_named_from_here() -> None:
    def planned(password: str) -> set[str]:
        command = ["make", "--dry-run", "--always-make", "hosts", "vault-edit", f"VAULT_PASSWORD={password}"]
        done = subprocess.run(command, cwd=TEMPLATE, capture_output=True, text=True, check=True)
        return set(re.findall(r"(?:--vault-password-file|scripts/vault.py '[^']+') '([^']+)'", done.stdout))

    assert planned("../team secrets/password") == {f"{TEMPLATE}/../team secrets/password"}
    assert planned("/run/team secrets/password") == {"/run/team secrets/password"}


class Nodes(BaseHTTPRequestHandler):
    """Lists the nodes of a controller, whose agent takes its time."""

    server: "Controller"

    def do_GET(self) -> None:
        self.server.asked += 1
        nodes = [{"displayName": "Built-In Node", "offline": True}]
        nodes.append({"displayName": "docker-1", "offline": self.server.asked < self.server.online_from})
        data = json.dumps({"computer": nodes}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing."""


class Controller(ThreadingHTTPServer):
    """A controller on the loopback."""

    asked = 0
    online_from = 2


@pytest.fixture
def controller() -> Iterator[Controller]:
    """One that runs."""
    with Controller(("127.0.0.1", 0), Nodes) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.slow
def test_agents_are_given_the_time_to_come_and_named_if_they_do_not(tmp_path: Path, controller: Controller) -> None:
    named = ("The controller, asked by its administrator", "The administrator gets in, and no agent is offline")
    tasks = tasks_of("jenkins", "verify_controller", *named)
    for task in tasks:
        task.update({name: few for name, few in (("retries", 2), ("delay", 1)) if name in task})
    told: dict[str, Any] = {
        "jenkins_controller_started": True,
        "jenkins_controller_folder": "/opt/jenkins",
        "jenkins_controller_secrets": {"admin-password": "password"},
        "jenkins_environment": {"CONTROLLER_PORT": controller.server_address[1]},
    }
    _, failed, said = carry_out(tmp_path, "jenkins_controller", tasks, **told)
    assert (failed, controller.asked) == (0, 2), said
    controller.online_from = 100
    _, failed, said = carry_out(tmp_path, "jenkins_controller", tasks, **told)
    assert failed == 1, said
    assert "Offline: docker-1." in said
    asked = controller.asked
    _, failed, said = carry_out(tmp_path, "jenkins_controller", tasks, "--check", **told)
    assert (failed, controller.asked) == (0, asked), said
