"""Writing a model version."""

import io
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import joblib

from ml_microservice.artefact.manifest import FileDigest, Manifest
from ml_microservice.artefact.reader import GOLDEN, SCHEMA, GoldenRow
from ml_microservice.artefact.schema import ModelSchema, dump_json
from ml_microservice.artefact.store import MANIFEST, ArtefactStore
from ml_microservice.errors import Fault, HookError


def artefact_files(
    schema: ModelSchema, objects: Mapping[str, bytes], golden: Sequence[GoldenRow], documents: Mapping[str, bytes]
) -> dict[str, bytes]:
    """All files of a version except its manifest; `objects` are pickled, `documents` are read by people only."""
    rows = [vars(row) for row in golden]
    return {**objects, SCHEMA: schema.to_bytes(), GOLDEN: dump_json(rows), **documents}


def write_artefact(store: ArtefactStore, manifest: Manifest, files: Mapping[str, bytes]) -> Manifest:
    """Write a version and make it the current one; returns the manifest with the files' digests."""
    complete = manifest.model_copy(update={"files": {name: FileDigest.of(content) for name, content in files.items()}})
    content = complete.model_dump_json(indent=2).encode() + b"\n"
    store.write(complete.version, {**files, MANIFEST: content})
    store.point_to(complete.version)
    return complete


def pickled(value: Any, hook: str) -> bytes:
    """A fitted object as joblib stores it.

    Raises:
        HookError: the object that the hook made cannot be pickled.
    """
    buffer = io.BytesIO()
    try:
        joblib.dump(value, buffer, compress=0)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        advice = "define classes and functions at the top of a module, not inside a function and not as a lambda"
        fault = Fault(f"what {hook} made cannot be stored: {error}", file="src/model/train.py", advice=advice)
        raise HookError(fault) from error
    return buffer.getvalue()
