"""Roles run as the playbooks run them, on the inventories of the template, with this machine in place of the others."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from bake import TEMPLATE

ANSIBLE = TEMPLATE / "ansible"
INVENTORIES = ("example", "team")
RECAP = re.compile(r"^(\S+) +: ok=(\d+) +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", re.MULTILINE)
HERE = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
"""What has tasks run here, by whoever runs the tests."""
NAMES = re.findall(r"^(vault_\w+):", (ANSIBLE / "vault.example.yml").read_text(), re.MULTILINE)
SECRETS = {name: f"{name}-of-the-tests" for name in NAMES}
"""All that a vault has."""


def program(name: str) -> str:
    """Where one of Ansible's programs is: beside this Python, if it is not on the path."""
    return shutil.which(name) or str(Path(sys.executable).with_name(name))


def play(
    folder: Path,
    role: str,
    hosts: str,
    *options: str,
    entry: str = "main",
    inventory: str = "example",
    **variables: Any,
) -> tuple[int, int, str]:
    """Run a role's part of a playbook.

    Args:
        folder: for the playbook.
        role: whose.
        hosts: the group that it is for.
        options: more for ansible-playbook.
        entry: what is run of the role, as `main` by site.yml.
        inventory: the one of the template's to run it with.
        variables: lie above those of the inventory.

    Returns:
        how many tasks changed something, how many failed, and what was said.
    """
    tasks = [{"name": "Run it", "ansible.builtin.import_role": {"name": role, "tasks_from": entry}, "tags": [role]}]
    return carry_out(folder, hosts, tasks, *options, name=f"{role}-{entry}", inventory=inventory, **variables)


def tasks_of(role: str, file: str, *names: str) -> list[dict[str, Any]]:
    """Those tasks of a role's file that have these names."""
    found = [task for task in yaml.safe_load((ANSIBLE / f"roles/{role}/tasks/{file}.yml").read_text())
             if task["name"] in names]  # fmt: skip
    assert len(found) == len(names), f"{file}.yml of {role} has not all of {names}"
    return found


def carry_out(
    folder: Path,
    hosts: str,
    tasks: list[dict[str, Any]],
    *options: str,
    name: str = "tasks",
    inventory: str = "example",
    **variables: Any,
) -> tuple[int, int, str]:
    """Run tasks; arguments and what is returned are those of `play`, and the name is that of the playbook."""
    # The first of the group, as all of them would be this machine.
    only = {"name": name, "hosts": f"{hosts}[0]", "gather_subset": ["network"], "tasks": tasks}
    playbook = folder / f"{name}.yml"
    playbook.write_text(yaml.safe_dump([only]))
    command = [
        program("ansible-playbook"), str(playbook), "--inventory", str(ANSIBLE / "inventories" / inventory),
        "--extra-vars", json.dumps({**SECRETS, **HERE, **variables}), *options,
    ]  # fmt: skip
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg")}
    done = subprocess.run(command, cwd=ANSIBLE, env=environment, capture_output=True, text=True)
    said = done.stdout + done.stderr
    recap = RECAP.findall(said)
    assert recap, said
    changed, failed = (sum(int(line[place]) for line in recap) for place in (2, 4))
    assert bool(failed) == (done.returncode != 0), said
    return changed, failed, said
