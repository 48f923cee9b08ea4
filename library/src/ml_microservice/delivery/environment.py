"""Fresh secrets in `.env` for every variable that `.env.example` leaves empty; existing values are kept.

Usage: python -m ml_microservice.delivery.environment
"""

import base64
import os
import re
import secrets
from pathlib import Path

EMPTY = re.compile(r"^([A-Z][A-Z0-9_]*)=(whsec_)?$", re.MULTILINE)
"""A variable without a value, or with only the prefix of one."""
SET = re.compile(r"^\s*([A-Za-z_][A-Za-z0-9_]*)=", re.MULTILINE)


def complete(example: str, present: str) -> tuple[str, list[str]]:
    """Add missing secrets to the text of `.env`; returns the new text and the names that were added."""
    missing = [(name, form) for name, form in EMPTY.findall(example) if name not in SET.findall(present)]
    added = "".join(f"{name}={form}{_fresh(form)}\n" for name, form in missing)
    gap = "\n" if present and not present.endswith("\n") else ""
    return f"{present}{gap}{added}", [name for name, _ in missing]


def _fresh(form: str) -> str:
    # Digits and letters alone mean nothing to a shell, to Compose or in a URL; a key of webhooks has to be base64.
    return base64.b64encode(secrets.token_bytes(32)).decode() if form else secrets.token_hex(32)


def main() -> None:
    """Write `.env` in the current folder, readable by its owner alone."""
    root = Path.cwd()
    path = root / ".env"
    present = path.read_text(encoding="utf-8") if path.exists() else ""
    text, added = complete((root / ".env.example").read_text(encoding="utf-8"), present)
    if not added:
        print(".env has all secrets already")
        return
    temporary = root / f".env.{os.getpid()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)
    print(f"Wrote to .env: {', '.join(added)}")


if __name__ == "__main__":
    main()
