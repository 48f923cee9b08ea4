"""Refuse secrets in plain text: vaults that are not encrypted, secret variables with a literal, private keys.

Usage: python3 scripts/check_vault.py [FILE ...]

Without files, those that git tracks in ansible/ are checked. It needs nothing but Python, so that it can run before
every commit: .pre-commit-config.yaml has it.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = "vault.example.yml"
ENCRYPTED = "$ANSIBLE_VAULT;"
SECRET = re.compile(
    r"^[\s-]*[\"']?(?P<name>[\w-]*(?:password|passwd|secret|token|private_key|api_key|become_pass)s?)[\"']?\s*[:=]\s*(?P<value>.*)$",
    re.IGNORECASE,
)
VAULTED = re.compile(r"^vault_\w+\s*:\s*(?P<value>.*)$")
HARMLESS = re.compile(r"[\"']?(\{\{.*|!vault.*|~|null|omit|true|false|yes|no|\d+|<.*>|\{\}|\[\]|[>|][-+]?)?[\"']?")
"""A reference to another variable, a switch, a number, nothing, or a block, whose lines are looked at themselves."""
PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
NOT_VALUES = ("tasks", "handlers", "meta")
"""Folders of a role whose keys are parameters of modules and documentation."""


def faults(name: str, text: str) -> list[str]:
    """What of a file is secret and can be read, a line each.

    >>> faults("group_vars/all/vault.yml", "vault_grafana_password: abc")
    ['group_vars/all/vault.yml: a vault in plain text; run ansible-vault encrypt']
    >>> faults("group_vars/all/main.yml", 'grafana_password: "{{ vault_grafana_password }}"')
    []
    """
    path = Path(name)
    if text.startswith(ENCRYPTED):
        return []
    if path.name == ".vault-password":
        return [f"{name}: the password of the vaults; git has to ignore it"]
    if "vault" in path.stem and path.suffix in (".yml", ".yaml") and path.name != EXAMPLE:
        return [f"{name}: a vault in plain text; run ansible-vault encrypt"]
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        where = f"{name}:{number}"
        vaulted = VAULTED.match(line) if path.suffix in (".yml", ".yaml") else None
        if PRIVATE_KEY.search(line):
            found.append(f"{where}: a private key in plain text; put it into the vault")
        elif vaulted and not re.fullmatch(r"[\"']?<[^>]+>[\"']?", vaulted["value"].strip()):
            found.append(f"{where}: a secret of the vault in plain text; say in {EXAMPLE} how it comes to be")
        elif not vaulted and has_values(path):
            secret = SECRET.match(line.split(" #")[0].rstrip())
            if secret and not HARMLESS.fullmatch(secret["value"].strip()):
                found.append(
                    f'{where}: {secret["name"]} has a literal; make it "{{{{ vault_... }}}}" and run make vault'
                )
            found += [
                f"{where}: a password on a host's line; log in by key"
                for _ in re.findall(r"\bansible_\w*pass\w*=[^{\s]", line)
                if not secret
            ]
    return found


def has_values(path: Path) -> bool:
    """Whether a file gives variables their values: defaults, inventories, playbooks."""
    return path.suffix in (".yml", ".yaml", ".ini", "") and not set(path.parts) & set(NOT_VALUES)


def tracked() -> list[str]:
    """The files of ansible/ that git tracks, or would."""
    command = [
        "git",
        "-c",
        "safe.directory=*",
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
        "ansible",
    ]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in sorted(set(listed.split("\0"))) if name and (ROOT / name).is_file()]


def main() -> None:
    """Check files, and say what is wrong."""
    names = sys.argv[1:] or [str(ROOT / name) for name in tracked()]
    found = [
        fault for name in names for fault in faults(name, Path(name).read_text(encoding="utf-8", errors="replace"))
    ]
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
