"""Fresh secrets in .env, for all that .env.example leaves empty; what .env has already stays as it is.

Usage: python3 scripts/environment.py

It needs nothing but Python, so that it runs on a machine that has Docker and no more.
"""

import os
import re
import secrets
from pathlib import Path

EMPTY = re.compile(r"^([A-Z][A-Z0-9_]*)=$", re.MULTILINE)
SET = re.compile(r"^\s*([A-Za-z_][A-Za-z0-9_]*)=", re.MULTILINE)


def complete(example: str, present: str) -> tuple[str, list[str]]:
    """The text of .env with what it lacked, and the names of that."""
    missing = [name for name in EMPTY.findall(example) if name not in SET.findall(present)]
    added = "".join(f"{name}={secrets.token_hex(32)}\n" for name in missing)
    gap = "\n" if present and not present.endswith("\n") else ""
    return f"{present}{gap}{added}", missing


def main() -> None:
    """Write .env, readable by its owner alone."""
    root = Path(__file__).resolve().parents[1]
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
