"""Reading a YAML file together with the line of every key, so that an error can say where to look.

ruamel.yaml reads YAML 1.2: `NO` and `on` are words, not booleans, and a duplicate key is an error.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.scalarbool import ScalarBoolean

from ml_microservice.errors import ConfigError, Fault

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class YamlFile:
    """A YAML file as plain data, with the lines that its keys stand on."""

    name: str
    """The file's path as errors show it."""
    data: Any
    """Dictionaries, lists and scalars."""
    lines: Mapping[Location, int]
    """Line, counted from 1, of every key and list item by its path."""

    def line(self, location: Location) -> int | None:
        """The line of a key; of the nearest section around it if the file does not have the key."""
        for end in range(len(location), 0, -1):
            if location[:end] in self.lines:
                return self.lines[location[:end]]
        return None


def read_yaml(path: Path, name: str | None = None) -> YamlFile:
    """Read a YAML file.

    Raises:
        ConfigError: the file is missing, is not UTF-8, or is not YAML.
    """
    name = name or str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        advice = "run this in the project's folder"
        raise ConfigError(Fault("there is no such file", file=name, advice=advice)) from None
    except UnicodeDecodeError as error:
        raise ConfigError(Fault(f"not UTF-8 text: {error.reason}", file=name, advice="save it as UTF-8")) from None
    return parse_yaml(text, name)


def parse_yaml(text: str, name: str) -> YamlFile:
    """Parse YAML text; `name` is what errors call it.

    Raises:
        ConfigError: the text is not YAML, or has a duplicate key.
    """
    try:
        tree = YAML(typ="rt").load(text)
    except DuplicateKeyError as error:
        raise ConfigError(_syntax_fault(error, name, "keep one of the two")) from None
    except MarkedYAMLError as error:
        raise ConfigError(_syntax_fault(error, name, "check the indentation and the colons around this line")) from None
    except YAMLError as error:
        raise ConfigError(Fault(f"not YAML: {error}", file=name)) from None
    lines: dict[Location, int] = {}
    try:
        return YamlFile(name, _plain(tree, (), lines), lines)
    except RecursionError:
        raise ConfigError(Fault("an alias (*) stands inside what it refers to", file=name)) from None


def _syntax_fault(error: MarkedYAMLError, name: str, advice: str) -> Fault:
    line = error.problem_mark.line + 1 if error.problem_mark else None
    problem = str(error.problem or "not YAML").split(" with value")[0]
    return Fault(problem, file=name, line=line, advice=advice)


def _plain(node: Any, location: Location, lines: dict[Location, int]) -> Any:
    """Plain data from ruamel's round-trip tree, noting lines on the way."""
    if isinstance(node, CommentedMap):
        for key in node.lc.data or ():  # not those that a merge key (<<) brings in
            lines[(*location, key)] = node.lc.key(key)[0] + 1
        return {key: _plain(value, (*location, key), lines) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        for index in range(len(node)):
            lines[(*location, index)] = node.lc.item(index)[0] + 1
        return [_plain(value, (*location, index), lines) for index, value in enumerate(node)]
    if isinstance(node, ScalarBoolean):
        return bool(node)
    for plain in (float, str):
        if isinstance(node, plain):
            return plain(node)
    if isinstance(node, int) and not isinstance(node, bool):
        return int(node)
    return node
