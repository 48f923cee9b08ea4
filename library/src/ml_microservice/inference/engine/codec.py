"""Dataclasses stored as JSON and a numpy archive without pickles: reading an engine runs no code of its files."""

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


class Codec:
    """Writes and reads instances of a fixed set of frozen dataclasses."""

    def __init__(self, kinds: Iterable[type]) -> None:
        self._kinds = {kind.__name__: kind for kind in kinds}

    def dump(self, value: Any) -> tuple[bytes, bytes]:
        """Serialise a value to JSON, and its arrays to an `.npz` archive."""
        arrays: Arrays = {}
        text = json.dumps(self._encoded(value, arrays), ensure_ascii=False, allow_nan=False, indent=1)
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        return text.encode() + b"\n", buffer.getvalue()

    def load(self, text: bytes, archive: bytes) -> Any:
        """Read a value that `dump` has written.

        Raises:
            ValueError: the files were not written by this codec, or hold a type that it does not know.
        """
        try:
            with np.load(io.BytesIO(archive), allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            return self._decoded(json.loads(text), arrays)
        except (KeyError, TypeError, OSError, AttributeError) as error:
            raise ValueError(f"not an engine of this version: {type(error).__name__}: {error}") from error

    def _encoded(self, value: Any, arrays: Arrays) -> Any:
        if isinstance(value, np.ndarray):
            name = f"a{len(arrays)}"
            arrays[name] = value
            return {"array": name}
        if isinstance(value, np.generic):
            value = value.item()
        if is_dataclass(value) and not isinstance(value, type):
            assert type(value) is self._kinds.get(type(value).__name__), type(value)
            parts = {part.name: self._encoded(getattr(value, part.name), arrays) for part in fields(value) if part.init}
            return {"type": type(value).__name__, **parts}
        if isinstance(value, dict):
            return {"table": [[self._encoded(key, arrays), self._encoded(item, arrays)] for key, item in value.items()]}
        if isinstance(value, list | tuple):
            return [self._encoded(item, arrays) for item in value]
        return value

    def _decoded(self, value: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
        match value:
            case list():
                return tuple(self._decoded(item, arrays) for item in value)
            case {"array": name}:
                return arrays[name]
            case {"table": pairs}:
                return {key: self._decoded(item, arrays) for key, item in pairs}
            case {"type": kind, **parts}:
                if kind not in self._kinds:
                    raise ValueError(f"not an engine of this version, which has no {kind!r}")
                return self._kinds[kind](**{str(name): self._decoded(part, arrays) for name, part in parts.items()})
            case _:
                return value
