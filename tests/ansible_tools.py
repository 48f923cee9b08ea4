"""Ansible as the Makefile calls it, for the tests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bake import TEMPLATE

ANSIBLE = TEMPLATE / "ansible"
PLAYBOOKS = ("site", "verify", "upgrade", "remove")
PROGRAMS = Path(sys.executable).parent


def missing() -> list[str]:
    """What has to be installed before playbooks can be read or run here: the dependency group `ansible`."""
    return [name for name in ("ansible-playbook", "ansible-lint", "yamllint") if not (PROGRAMS / name).exists()]


needs_ansible = pytest.mark.skipif(
    bool(missing()) and not os.environ.get("CI"), reason=f"{', '.join(missing())}: run make vault, or make test-all"
)


def environment(**variables: str) -> dict[str, str]:
    """The variables in which Ansible runs: its programs are beside Python, and nothing else configures it."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON"))}
    path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    return {**inherited, "PATH": path, "NO_COLOR": "1", "ANSIBLE_NOCOLOR": "1", **variables}


def call(*command: str, folder: Path = ANSIBLE, **variables: str) -> subprocess.CompletedProcess[str]:
    """A program of Ansible, in the folder of its configuration."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def generate_vault(inventory: Path, password_file: Path) -> str:
    """What `make vault` does; what it says."""
    done = call(sys.executable, str(TEMPLATE / "scripts/vault.py"), str(inventory), str(password_file))
    assert done.returncode == 0, done.stdout
    return done.stdout


def copy_inventory(name: str, folder: Path) -> Path:
    """An inventory of the template, to add a vault to."""
    return Path(shutil.copytree(ANSIBLE / "inventories" / name, folder / name))
