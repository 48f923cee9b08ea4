"""The role `efk`: its files read by the programs that they are for, its tasks run against doubles of the servers.

No image of the three can be had here. The certificate is real, and so is the record that verify.yml sends.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from ansible_tools import needs_ansible
from bake import TEMPLATE
from conftest import run
from demo import free_port
from docker_daemon import has_plugin
from playbooks import ANSIBLE, INVENTORIES, SECRETS, play
from search import Search

pytestmark = [
    pytest.mark.t1,
    needs_ansible,
    pytest.mark.skipif(not has_plugin("compose") and not os.environ.get("CI"), reason="Compose 2 is not installed"),
]
TREE = TEMPLATE / "{{cookiecutter.project_slug}}"
RECEIVER = TEMPLATE / "library/tests/records/sinks/forward_receiver.py"


@pytest.fixture
def checkout(baked: Callable[[str], Path], tmp_path: Path) -> Path:
    """A project whose command is there, without an environment of its own."""
    folder = tmp_path / "my-model"
    shutil.copytree(baked("penguins"), folder)
    command = folder / ".venv/bin/ml-service"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\nPYTHONPATH=src exec {sys.executable} -m ml_microservice.cli "$@"\n')
    command.chmod(0o755)
    return folder


@pytest.fixture
def variables(tmp_path: Path, checkout: Path) -> dict[str, Any]:
    """What the role is told here, besides the addresses of its servers."""
    return {
        "efk_directory": f"{tmp_path}/efk",
        "efk_credentials": f"{tmp_path}/credentials",
        "efk_elasticsearch_user": str(os.getuid()),
        "efk_python": sys.executable,
        "efk_tls_addresses": ["127.0.0.1"],
        "projects": [{"slug": "my-model", "checkout": str(checkout)}],
    }


def efk(folder: Path, entry: str, *options: str, **variables: Any) -> tuple[int, int, str]:
    """Run the role where there is neither root nor Docker's daemon."""
    skipped = ["--skip-tags", "efk_kernel,efk_packages,efk_containers"]
    return play(folder, "efk", "logging", *skipped, *options, entry=entry, **variables)


@contextmanager
def receiver(folder: Path, store: Path) -> Iterator[int]:
    """What takes records in Fluentd's place, with the role's certificate and key; its port."""
    certificate = ["--certificate", str(folder / "tls/fluentd.crt"), "--key", str(folder / "tls/fluentd.key")]
    command = [sys.executable, str(RECEIVER), str(store), "--shared-key", SECRETS["vault_efk_shared_key"], *certificate]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_projects_are_installed_once_and_a_record_that_is_sent_arrives(
    variables: dict[str, Any], tmp_path: Path
) -> None:
    _, failed, said = efk(tmp_path, "main", "--check", **variables)
    assert not failed, said
    assert not (tmp_path / "efk").exists()

    store = tmp_path / "store"
    store.touch()
    with Search(SECRETS["vault_efk_elastic_password"], store) as search:
        told = {**variables, "efk_elasticsearch_port": search.port, "efk_kibana_port": search.port}
        changed, failed, said = efk(tmp_path, "main", **told)
        assert changed, said
        assert not failed, said
        rendered = {
            path.relative_to(tmp_path / "my-model/build/logging/elasticsearch"): json.loads(path.read_text())
            for path in (tmp_path / "my-model/build/logging/elasticsearch").rglob("*.json")
        }
        assert search.objects == {f"/{path.with_suffix('')}": body for path, body in rendered.items()}
        assert next(iter(search.objects)).startswith("/_ilm/policy/"), "templates name the lifecycle"
        assert {one.partition("/")[0] for one in search.saved} == {
            "index-pattern", "search", "visualization", "dashboard",
        }  # fmt: skip
        roles = list(yaml.safe_load((TREE / "logging/elasticsearch-roles.yml").read_text()))
        assert search.users["fluentd"] == (SECRETS["vault_efk_fluentd_password"], roles)

        changed, failed, said = efk(tmp_path, "main", **told)
        assert (changed, failed) == (0, 0), said
        with receiver(tmp_path / "efk", store) as port:
            changed, failed, said = efk(tmp_path, "verify", **told, efk_forward_port=port)
            assert (changed, failed) == (0, 0), said
            assert store.read_text() == "", "what was sent is removed again"
            search.health = "red"
            assert efk(tmp_path, "verify", **told, efk_forward_port=port)[1] == 1
            search.health = "green"
        assert efk(tmp_path, "verify", **told, efk_forward_port=free_port())[1] == 1
        # A project that has changed, and a server that has lost what it had.
        search.objects.clear()
        search.users.pop("kibana_system")
        changed, failed, said = efk(tmp_path, "main", **told)
        assert not failed, said
        assert len(search.objects) == len(rendered)
        assert "kibana_system" in search.users


@pytest.mark.slow
@pytest.mark.parametrize("inventory", INVENTORIES)
def test_compose_reads_its_file_and_nothing_secret_is_for_others(
    variables: dict[str, Any], tmp_path: Path, inventory: str
) -> None:
    with Search(SECRETS["vault_efk_elastic_password"], tmp_path) as search:
        told = {"efk_elasticsearch_port": search.port, "efk_kibana_port": search.port, "projects": []}
        _, failed, said = efk(tmp_path, "main", inventory=inventory, **{**variables, **told})
    assert not failed, said
    folder = tmp_path / "efk"
    command = ["docker", "compose", "config", "--format", "json"]
    services: dict[str, dict[str, Any]] = json.loads(run(command, folder))["services"]
    for name, service in services.items():
        assert service["restart"] == "unless-stopped", name
        assert service["cap_drop"] == ["ALL"], name
        assert service["healthcheck"]["test"], name
        hosts = {port.get("host_ip") for port in service["ports"]}
        assert hosts == ({"0.0.0.0"} if name == "fluentd" else {"127.0.0.1"}), name
    images = yaml.safe_load((ANSIBLE / "roles/efk/defaults/main.yml").read_text())
    compose = (TREE / "compose.yaml").read_text()
    for name in services:
        assert f":-{images[f'efk_{name}_image']}}}" in compose, "the images are those of the projects"

    # Every variable that fluentd.conf is told is one that it reads.
    conf = (folder / "fluentd.conf").read_text()
    assert conf == (TREE / "logging/fluentd.conf").read_text()
    assert all(
        f"ENV['{name}']" in conf or f"ENV.fetch('{name}')" in conf for name in services["fluentd"]["environment"]
    )
    for path in [*(folder / "secrets").iterdir(), *(folder / "tls").glob("*.key")]:
        assert path.stat().st_mode & 0o077 == 0, path
    everything = "".join(path.read_text() for path in folder.glob("*") if path.is_file())
    assert not [secret for name, secret in SECRETS.items() if name.startswith("vault_efk") and secret in everything]
    authority = folder / "tls/authority.crt"
    run(["openssl", "verify", "-CAfile", str(authority), str(folder / "tls/fluentd.crt")], folder)
    assert (tmp_path / "credentials/fluentd-ca.crt").read_text() == authority.read_text()


def ending_in(days: int, tls: Path) -> bytes:
    """Sign Fluentd's certificate anew for as many days, all else as it is; what is in its file then."""
    old = x509.load_pem_x509_certificate((tls / "fluentd.crt").read_bytes())
    key = load_pem_private_key((tls / "authority.key").read_bytes(), None)
    assert isinstance(key, EllipticCurvePrivateKey)
    new = x509.CertificateBuilder(old.issuer, old.subject, old.public_key(), old.serial_number)
    new = new.not_valid_before(old.not_valid_before_utc).not_valid_after(datetime.now(UTC) + timedelta(days=days))
    for extension in old.extensions:
        new = new.add_extension(extension.value, extension.critical)
    (tls / "fluentd.crt").write_bytes(new.sign(key, SHA256()).public_bytes(Encoding.PEM))
    return (tls / "fluentd.crt").read_bytes()


@pytest.mark.slow
def test_a_certificate_is_replaced_before_it_ends_and_not_sooner(variables: dict[str, Any], tmp_path: Path) -> None:
    tls = tmp_path / "efk/tls"
    tls.mkdir(parents=True)
    (tmp_path / "credentials").mkdir()

    def given() -> tuple[int, bytes]:
        changed, failed, said = efk(tmp_path, "tls", **variables)
        assert not failed, said
        return changed, (tls / "fluentd.crt").read_bytes()

    assert given()[0] > 0
    first = (tls / "fluentd.crt").read_bytes()
    assert given() == (0, first)

    for days, replaced in ((40, 0), (20, 1)):
        certificate = ending_in(days, tls)
        changed, now = given()
        assert (changed, now != certificate) == (replaced, bool(replaced)), days
    run(["openssl", "x509", "-in", "fluentd.crt", "-noout", "-checkend", str(800 * 24 * 3600)], tls)
    run(["openssl", "verify", "-CAfile", "authority.crt", "fluentd.crt"], tls)
