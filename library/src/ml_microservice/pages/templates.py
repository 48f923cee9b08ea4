"""Loads the templates of reports. They lie beside the code that fills them and share the templates of this folder."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ml_microservice.pages.number_format import duration, number, percent


def templates(folder: Path, *, markdown: bool = False) -> Environment:
    """The templates of a folder. All values are escaped for HTML, or for Markdown."""
    options: dict[str, Any] = {"finalize": _escape_markdown} if markdown else {"autoescape": True}
    environment = Environment(
        loader=FileSystemLoader([folder, Path(__file__).parent]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )
    environment.filters |= {"number": number, "percent": percent, "duration": duration}
    return environment


def _escape_markdown(value: object) -> object:
    """Escape a value and put it on one line. Jinja applies this to every value that a template prints."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    text = " ".join(value.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{character}" if character in r"\`*_[]|#~$!" else character for character in text)
