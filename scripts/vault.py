"""Generate the secrets that an inventory lacks, and keep them encrypted: nothing in plain text is written to disk.

Usage: python scripts/vault.py INVENTORY_FOLDER PASSWORD_FILE
"""

import os
import re
import secrets
import string
import subprocess
import sys
from pathlib import Path

import yaml
from cryptography.hazmat.primitives import serialization as keys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

EXAMPLE = Path(__file__).resolve().parents[1] / "ansible/vault.example.yml"
ENTRY = re.compile(r"^(vault_\w+): \"?<([^>]+)>\"?$", re.MULTILINE)
PUBLIC_OF = "public key of "


def wanted(example: str) -> dict[str, str]:
    """The secrets that an example names, each with how it comes to be."""
    return dict(ENTRY.findall(example))


def complete(example: str, present: dict[str, str]) -> dict[str, str]:
    """The secrets that are not present, in the order of the example.

    Raises:
        ValueError: if the example asks for a kind that there is not.
    """
    made: dict[str, str] = {}
    for name, kind in wanted(example).items():
        if name in present:
            continue
        if kind == "password":
            made[name] = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(32))
        elif kind == "ssh key":
            made[name] = _private_key()
        elif kind.startswith(PUBLIC_OF):
            made[name] = _public_key({**present, **made}[kind.removeprefix(PUBLIC_OF)])
        elif kind.startswith("yours"):
            made[name] = ""
        else:
            raise ValueError(f"{name}: a secret is made as one of those that {EXAMPLE.name} lists, not as <{kind}>")
    return made


def _private_key() -> str:
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(keys.Encoding.PEM, keys.PrivateFormat.OpenSSH, keys.NoEncryption()).decode()


def _public_key(private: str) -> str:
    key = keys.load_ssh_private_key(private.encode(), password=None).public_key()
    return key.public_bytes(keys.Encoding.OpenSSH, keys.PublicFormat.OpenSSH).decode()


def _ansible_vault(action: str, password_file: Path, content: str) -> str:
    command = ["ansible-vault", action, "--vault-password-file", str(password_file), "--output", "-", "-"]
    done = subprocess.run(command, input=content, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"vault: ansible-vault cannot {action}: {done.stderr.strip()}")
    return done.stdout


def main() -> None:
    """Add what is missing to the vault of an inventory."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    inventory, password_file = Path(sys.argv[1]), Path(sys.argv[2])
    if not inventory.is_dir():
        sys.exit(f"vault: there is no inventory {inventory}: copy ansible/inventories/example")
    vault = inventory / "group_vars/all/vault.yml"
    if not password_file.exists():
        if vault.exists():
            sys.exit(f"vault: {vault} is encrypted; put its password into {password_file}")
        descriptor = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        print(f"vault: a new password is in {password_file}; keep a copy of it, and keep it out of git")
    text = _ansible_vault("decrypt", password_file, vault.read_text()) if vault.exists() else ""
    example = EXAMPLE.read_text(encoding="utf-8")
    present = yaml.safe_load(text) or {}
    made = complete(example, present)
    if made:
        vault.parent.mkdir(parents=True, exist_ok=True)
        added = yaml.safe_dump(made, sort_keys=False, width=200)
        vault.write_text(_ansible_vault("encrypt", password_file, text + added))
        print(f"vault: {len(made)} secrets added to {vault}: {', '.join(made)}")
    for name, kind in wanted(example).items():
        if kind.startswith("yours") and not {**present, **made}[name]:
            print(f"vault: {name} is empty; {kind.removeprefix('yours: ')} (make vault-edit)")


if __name__ == "__main__":
    main()
