"""The playbooks, run for real against a machine: a container with systemd, of the Debian that runs the tests.

What a role needs for it is in converge/: its group in hosts.ini, what differs in variables.yml, what its verification
has to see in broken.yml, and what has to be gone in gone.yml.
"""

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

import ansible_tools
import docker_daemon

CONVERGE = Path(__file__).parent / "converge"
START_SECONDS = 60
LACKING = [*docker_daemon.missing(), *ansible_tools.missing(), *(["openssh-client"] if not shutil.which("ssh") else [])]
pytestmark = [
    pytest.mark.t2,
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(LACKING) and not os.environ.get("CI"), reason=f"no machine to converge without {', '.join(LACKING)}"
    ),
]
BROKEN = yaml.safe_load((CONVERGE / "broken.yml").read_text(encoding="utf-8"))
GONE = yaml.safe_load((CONVERGE / "gone.yml").read_text(encoding="utf-8"))
# systemd's own, a firewall's, and what a Docker inside needs.
RIGHTS = [f"--cap-add={name}" for name in ("SYS_ADMIN", "NET_ADMIN", "NET_RAW")]
RIGHTS += ["--cgroupns=private", "--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined"]
RIGHTS += [*(f"--tmpfs={path}" for path in ("/run", "/run/lock", "/tmp")), "--volume=/var/lib/docker"]


class Machine(NamedTuple):
    """A container that is a machine, and the inventory that has it."""

    host: str
    """The address of its Docker."""
    container: str
    inventory: Path
    password_file: Path

    def shell(self, command: str) -> subprocess.CompletedProcess[str]:
        """A command as root on the machine."""
        words = ["docker", "--host", self.host, "exec", self.container, "bash", "-c", command]
        return subprocess.run(words, capture_output=True, text=True)

    def must(self, command: str) -> None:
        """A command that has to succeed."""
        done = self.shell(command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"

    def play(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A playbook, as the Makefile calls it."""
        words = ["-i", str(self.inventory), "--vault-password-file", str(self.password_file), f"{name}.yml"]
        return ansible_tools.call("ansible-playbook", *words, *arguments)

    def changes(self, name: str, *arguments: str) -> int:
        """How much a playbook changed, which has to succeed."""
        done = self.play(name, *arguments)
        assert done.returncode == 0, done.stdout
        return sum(map(int, re.findall(r"\bchanged=(\d+)", done.stdout)))


def serve(folder: Path) -> dict[str, Any]:
    """What the machine downloads in the test, as files, and the variables that have their checksums."""
    tool = folder / "tool"
    tool.write_text("#!/bin/sh\necho a stand-in of the tests\n")
    tool.chmod(0o755)
    platform = "amd64" if os.uname().machine == "x86_64" else "arm64"
    defaults = yaml.safe_load((ansible_tools.ANSIBLE / "roles/jenkins/defaults/main.yml").read_text(encoding="utf-8"))
    kubectl = folder / f"v{defaults['jenkins_agent_kubectl']}/bin/linux/{platform}/kubectl"
    kubectl.parent.mkdir(parents=True)
    shutil.copy(tool, kubectl)
    helm = folder / f"helm-v{defaults['jenkins_agent_helm']}-linux-{platform}.tar.gz"
    version = defaults["jenkins_agent_trivy"]
    trivy = folder / f"v{version}/trivy_{version}_Linux-{'64bit' if platform == 'amd64' else 'ARM64'}.tar.gz"
    trivy.parent.mkdir()
    for packed, program in ((helm, f"linux-{platform}/helm"), (trivy, "trivy")):
        with tarfile.open(packed, "w:gz") as archive:
            archive.add(tool, program)
    plugins = subprocess.run(
        ["docker", "info", "--format", "{{range .ClientInfo.Plugins}}{{.Name}} {{.Path}}\n{{end}}"],
        capture_output=True,
        text=True,
    ).stdout
    found = re.search(r"^compose (.+)$", plugins, re.MULTILINE)
    assert found is not None, f"Docker does not say where Compose is: {plugins}"
    compose = Path(shutil.copy(found[1], folder / "docker-compose"))

    def checksum(path: Path) -> str:
        return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"

    architecture = os.uname().machine
    return {
        "jenkins_agent_kubectl_checksums": {architecture: checksum(kubectl)},
        "jenkins_agent_helm_checksums": {architecture: checksum(helm)},
        "jenkins_agent_trivy_checksums": {architecture: checksum(trivy)},
        "docker_plugins": {"docker-compose": {"url": "file:///srv/docker-compose", "checksum": checksum(compose)}},
    }


@pytest.fixture(scope="module")
def machine(docker_host: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A fresh machine, and an inventory with a vault that has it."""
    folder, served = tmp_path_factory.mktemp("inventory"), tmp_path_factory.mktemp("served")
    name = f"machine-{uuid.uuid4().hex[:8]}"

    def docker(*arguments: str) -> None:
        done = subprocess.run(["docker", "--host", docker_host, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, f"docker {' '.join(arguments)}:\n{done.stderr}"

    docker("build", "--network=host", f"--build-arg=BASE={docker_daemon.BASE}", f"--tag={name}", str(CONVERGE))
    try:
        docker("run", "--detach", f"--name={name}", "--hostname=machine", "--env=container=docker", *RIGHTS, name)
        variables = folder / "group_vars/all"
        variables.mkdir(parents=True)
        shutil.copy(CONVERGE / "variables.yml", variables)
        (variables / "served.yml").write_text(yaml.safe_dump(serve(served)), encoding="utf-8")
        connection = {
            "ansible_connection": "community.docker.docker",
            "ansible_host": name,
            "ansible_docker_extra_args": f"--host={docker_host}",
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        (variables / "connection.yml").write_text(yaml.safe_dump(connection), encoding="utf-8")
        shutil.copy(CONVERGE / "hosts.ini", folder)
        ansible_tools.generate_vault(folder, folder.parent / f"{name}.password")
        docker("cp", f"{served}/.", f"{name}:/srv")
        found = Machine(docker_host, name, folder, folder.parent / f"{name}.password")
        deadline = time.monotonic() + START_SECONDS
        while found.shell("systemctl is-system-running").stdout.strip() not in ("running", "degraded"):
            assert time.monotonic() < deadline, found.shell("systemctl list-jobs").stdout
            time.sleep(0.5)
        # Kernel parameters of the container's own network are to be set, as on a machine.
        found.must("mount --options remount,rw /proc/sys")
        yield found
    finally:
        subprocess.run(["docker", "--host", docker_host, "rm", "-f", "-v", name], capture_output=True)
        subprocess.run(["docker", "--host", docker_host, "rmi", "-f", name], capture_output=True)


@pytest.fixture(scope="module")
def converged(machine: Machine) -> Machine:
    """The machine after `make hosts`, which was looked at before by `--check`, when it was still fresh."""
    assert machine.changes("site", "--check") > 0
    assert machine.changes("site") > 0
    return machine


def gone(machine: Machine) -> list[str]:
    """The commands of gone.yml that fail: what they look for is not there."""
    return [command for commands in GONE.values() for command in commands if machine.shell(command).returncode]


def test_a_second_run_changes_nothing(converged: Machine) -> None:
    assert converged.changes("site") == 0


def test_a_check_of_a_converged_machine_finds_nothing_to_change(converged: Machine) -> None:
    assert converged.changes("site", "--check", "--diff") == 0


def test_what_the_roles_promise_is_there(converged: Machine) -> None:
    assert converged.changes("verify") == 0
    assert gone(converged) == []


@pytest.mark.parametrize("fault", BROKEN, ids=lambda fault: f"{fault['role']}: {fault['says'][:40]}")
def test_what_is_broken_by_hand_is_found(converged: Machine, fault: dict[str, str]) -> None:
    converged.must(fault["break"])
    try:
        done = converged.play("verify", "--tags", fault["role"])
    finally:
        converged.must(fault["mend"])
    assert done.returncode != 0, done.stdout
    assert fault["says"] in done.stdout


def test_an_upgrade_leaves_a_machine_that_keeps_its_promises(converged: Machine) -> None:
    converged.changes("upgrade")


def test_nothing_is_removed_without_the_name_of_the_machine(converged: Machine) -> None:
    done = converged.play("remove", "-e", "confirm=another")
    assert done.returncode != 0
    assert "confirm=machine" in done.stdout
    assert gone(converged) == []


def test_what_was_promised_is_gone_after_a_removal(converged: Machine) -> None:
    converged.changes("remove", "-e", "confirm=machine")
    assert gone(converged) == [command for commands in GONE.values() for command in commands]
