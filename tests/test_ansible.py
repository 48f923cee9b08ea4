"""The playbooks as they are read: lint, syntax, documented variables, secrets that are none in plain text."""

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_tools import ANSIBLE, PLAYBOOKS, call, copy_inventory, generate_vault, needs_ansible
from bake import TEMPLATE
from check_vault import faults

pytestmark = [pytest.mark.t0, needs_ansible]
INVENTORIES = ("example", "team")
GROUPS = ("jenkins_controller", "jenkins_agents", "kubernetes", "logging", "monitoring")
ROLES = sorted(path.name for path in ANSIBLE.glob("roles/*"))
each_role = pytest.mark.parametrize("role", ROLES)


@cache
def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def options(role: str) -> dict[str, dict[str, Any]]:
    """The variables that a role documents for its tasks/main.yml."""
    found: dict[str, dict[str, Any]] = load(ANSIBLE / f"roles/{role}/meta/argument_specs.yml")["argument_specs"][
        "main"
    ]["options"]
    return found


def defaults(role: str) -> dict[str, Any]:
    """The values that a role gives its variables."""
    found: dict[str, Any] = load(ANSIBLE / f"roles/{role}/defaults/main.yml") or {}
    return found


@pytest.mark.slow
def test_it_is_clean_under_the_production_profile_of_ansible_lint() -> None:
    done = call("ansible-lint", "--offline", "--profile", "production")
    assert done.returncode == 0, done.stdout


def test_it_is_clean_under_yamllint() -> None:
    done = call("yamllint", "--strict", ".")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("inventory", INVENTORIES)
def test_every_playbook_can_be_read(inventory: str) -> None:
    playbooks = [f"{name}.yml" for name in PLAYBOOKS]
    done = call("ansible-playbook", "--syntax-check", "-i", f"inventories/{inventory}", *playbooks)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("inventory", INVENTORIES)
def test_every_inventory_has_the_groups_that_the_playbooks_know(inventory: str) -> None:
    done = call("ansible-inventory", "-i", f"inventories/{inventory}", "--list")
    listed = json.loads(done.stdout)
    assert all(listed[group]["hosts"] for group in GROUPS)
    machines = listed["_meta"]["hostvars"]
    assert (len(machines) == 1) == (inventory == "example")
    assert all("ansible_host" in variables for variables in machines.values())


def test_each_role_is_in_every_playbook_by_its_own_entry_and_tag() -> None:
    for name in PLAYBOOKS:
        called = {
            (task["ansible.builtin.import_role"]["name"], task["ansible.builtin.import_role"].get("tasks_from", "main"))
            for play in load(ANSIBLE / f"{name}.yml")
            for task in play["tasks"]
            if "ansible.builtin.import_role" in task and task["tags"] == [task["ansible.builtin.import_role"]["name"]]
        }
        entries = {"site": {"main"}, "upgrade": {"upgrade", "verify"}}.get(name, {name})
        assert called == {(role, entry) for role in ROLES for entry in entries}, name


@each_role
def test_each_entry_of_a_role_documents_its_variables(role: str) -> None:
    documented = load(ANSIBLE / f"roles/{role}/meta/argument_specs.yml")["argument_specs"]
    assert set(documented) == {"main", "verify", "upgrade", "remove"}
    for entry, specification in documented.items():
        assert (ANSIBLE / f"roles/{role}/tasks/{entry}.yml").is_file()
        assert specification["short_description"]
        assert all(option["description"] for option in specification["options"].values())


@each_role
def test_every_variable_of_a_role_is_documented_and_has_its_name(role: str) -> None:
    needed = {name for name, option in options(role).items() if option.get("required")}
    assert set(defaults(role)) == set(options(role)) - needed
    assert all(name.startswith(f"{role}_") for name in options(role))


@each_role
def test_a_documented_default_is_the_default(role: str) -> None:
    given = defaults(role)
    said = {name: option["default"] for name, option in options(role).items() if "default" in option}
    assert said == {name: given[name] for name in said}
    # What is not said is worked out of something else.
    assert all("{{" in json.dumps(given[name]) for name in set(given) - set(said))


@each_role
def test_every_secret_of_a_role_is_in_the_vault(role: str) -> None:
    known = set(re.findall(r"^(vault_\w+):", (ANSIBLE / "vault.example.yml").read_text(encoding="utf-8"), re.MULTILINE))
    texts = [path.read_text(encoding="utf-8") for path in (ANSIBLE / "roles" / role).rglob("*") if path.is_file()]
    assert set(re.findall(r"\bvault_\w+\b", "".join(texts))) <= known
    hidden = {name for name, option in options(role).items() if option.get("no_log") and name in defaults(role)}
    assert all("{{" in json.dumps(defaults(role)[name]) or not defaults(role)[name] for name in hidden)


def test_every_secret_of_the_vault_is_used() -> None:
    used = "".join(path.read_text(encoding="utf-8") for path in ANSIBLE.glob("roles/*/defaults/main.yml"))
    assert [name for name in load(ANSIBLE / "vault.example.yml") if name not in used] == []


def test_a_generated_vault_is_encrypted_and_has_every_secret(tmp_path: Path) -> None:
    inventory, password_file = copy_inventory("example", tmp_path), tmp_path / "password"

    said = generate_vault(inventory, password_file)

    vault = inventory / "group_vars/all/vault.yml"
    first = vault.read_text(encoding="utf-8")
    assert first.startswith("$ANSIBLE_VAULT;")
    assert password_file.stat().st_mode & 0o077 == 0
    viewed = call("ansible-vault", "view", "--vault-password-file", str(password_file), str(vault))
    secrets = yaml.safe_load(viewed.stdout)
    assert list(secrets) == list(load(ANSIBLE / "vault.example.yml"))
    made = [value for value in secrets.values() if value]
    assert len(made) == len(set(made)) > 0
    assert not any(str(value) in said for value in made)

    generate_vault(inventory, password_file)
    assert vault.read_text(encoding="utf-8") == first, "what is there stays as it is"

    password_file.unlink()
    done = call(sys.executable, str(TEMPLATE / "scripts/vault.py"), str(inventory), str(password_file))
    assert done.returncode == 1
    assert "put its password into" in done.stdout


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("group_vars/all/vault.yml", "vault_grafana_password: abc"),
        ("host_vars/machine/vault.yaml", ""),
        ("group_vars/all/main.yml", "grafana_password: abc"),
        ("group_vars/all/main.yml", "users:\n  - {name: ada}\n    api_token: 'abc'"),
        ("group_vars/all/main.yml", "vault_grafana_password: abc"),
        ("hosts.ini", "machine ansible_host=192.0.2.1 ansible_become_password=abc"),
        ("hosts.ini", "[all:vars]\nansible_password = abc"),
        ("roles/x/templates/key.j2", "-----BEGIN_OPENSSH_PRIVATE_KEY-----".replace("_", " ")),
        (".vault-password", "abc"),
    ],
)
def test_what_is_secret_and_in_plain_text_is_refused(name: str, text: str) -> None:
    assert faults(name, text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("group_vars/all/vault.yml", "$ANSIBLE_VAULT;1.1;AES256\n6136"),
        ("vault.example.yml", "vault_a_password: <password>\nvault_b: '<yours: why>'"),
        ("group_vars/all/main.yml", 'grafana_password: "{{ vault_grafana_password }}"\nuse_token: true'),
        ("roles/x/tasks/main.yml", "    url_password: x"),
    ],
)
def test_what_is_no_secret_is_let_through(name: str, text: str) -> None:
    assert faults(name, text) == []


def test_nothing_in_the_repository_is_secret_and_in_plain_text(tmp_path: Path) -> None:
    """By the very command that .pre-commit-config.yaml has."""
    hooks = load(TEMPLATE / ".pre-commit-config.yaml")["repos"][0]["hooks"]
    command = next(hook["entry"] for hook in hooks if hook["id"] == "vault").split()
    assert subprocess.run(command, cwd=TEMPLATE).returncode == 0
    plain = tmp_path / "vault.yml"
    plain.write_text("vault_x: y\n", encoding="utf-8")
    refused = subprocess.run([*command, str(plain)], cwd=TEMPLATE, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "a vault in plain text" in refused.stderr


def test_git_ignores_the_password_of_the_vaults() -> None:
    ignored = subprocess.run(["git", "check-ignore", "-q", "ansible/.vault-password"], cwd=TEMPLATE)
    assert ignored.returncode == 0
