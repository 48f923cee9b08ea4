"""Reading a model version: every digest is verified before anything is unpickled."""

import io
import json
import math
import pickle
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ml_microservice.artefact.manifest import FORMAT, FileDigest, Manifest
from ml_microservice.artefact.schema import ModelSchema
from ml_microservice.artefact.store import MANIFEST
from ml_microservice.errors import ArtefactError, Fault

MODEL, PREPROCESSOR, SCHEMA, GOLDEN = "model.joblib", "preprocessor.joblib", "schema.json", "golden.json"

TOLERANCE = 1e-6
"""Relative tolerance of golden rows: another machine differs in the last digits, another model by far more."""


@dataclass(frozen=True)
class GoldenRow:
    """A request and the answer that the model gave when it was trained."""

    request: dict[str, Any]
    prediction: str | float
    probabilities: list[float] | None

    def agrees(self, prediction: str | float, probabilities: Sequence[float] | None) -> bool:
        """Whether an answer equals the one in training, except for the last digits."""
        if isinstance(self.prediction, str) or isinstance(prediction, str):
            is_same = prediction == self.prediction
        else:
            is_same = math.isclose(prediction, self.prediction, rel_tol=TOLERANCE, abs_tol=1e-9)
        if self.probabilities is None or probabilities is None:
            return is_same and self.probabilities is None and probabilities is None
        pairs = zip(self.probabilities, probabilities, strict=True)
        return is_same and all(math.isclose(before, now, abs_tol=TOLERANCE) for before, now in pairs)


@dataclass(frozen=True)
class Artefact:
    """A model version in memory, verified; its Python objects are unpickled when they are first asked for."""

    manifest: Manifest
    schema: ModelSchema
    golden: tuple[GoldenRow, ...]
    files: Mapping[str, bytes]
    """The content of every file that the manifest names."""

    @cached_property
    def preprocessor(self) -> Any:
        """The fitted Preprocessor.

        Raises:
            ArtefactError: it cannot be unpickled here.
        """
        return _unpickle(self.manifest.version, PREPROCESSOR, self.files)

    @cached_property
    def model(self) -> Any:
        """The fitted model.

        Raises:
            ArtefactError: it cannot be unpickled here.
        """
        return _unpickle(self.manifest.version, MODEL, self.files)


def read_artefact(folder: Path, project: str) -> Artefact:
    """Verify a version's files and read them; nothing is unpickled yet.

    Args:
        folder: the version's folder.
        project: slug of this project; another project's model is refused.

    Raises:
        ArtefactError: a file is missing, added, changed or cut, or the model is of another project or format.
    """
    manifest = read_manifest(folder)
    if manifest.project != project:
        message = f"the model belongs to project {manifest.project!r}, this is {project!r}"
        advice = "point artefacts.directory to this project's own models"
        raise ArtefactError(Fault(message, file=folder.name, advice=advice))
    contents = verified_files(folder, manifest)
    golden = tuple(GoldenRow(**row) for row in json.loads(contents[GOLDEN]))
    schema = ModelSchema.from_bytes(contents[SCHEMA])
    return Artefact(manifest, schema, golden, contents)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a version.

    Raises:
        ArtefactError: it is missing, or not a manifest of this format.
    """
    place = f"{folder.name}/{MANIFEST}"
    try:
        return parse_manifest((folder / MANIFEST).read_bytes(), place)
    except OSError as error:
        raise ArtefactError(Fault(f"cannot be read: {error.strerror}", place)) from None


def parse_manifest(content: bytes, place: str) -> Manifest:
    """A manifest from its bytes; `place` is what errors call it.

    Raises:
        ArtefactError: not a manifest of this format.
    """
    try:
        data = json.loads(content)
        if data.get("format") != FORMAT:
            raise ArtefactError(Fault(f"format {data.get('format')} is not {FORMAT}", place, advice="train again"))
        return Manifest.model_validate(data)
    except (ValueError, AttributeError, ValidationError, RecursionError):
        raise ArtefactError(Fault("not a manifest", place, advice="restore the folder or train again")) from None


def verified_files(folder: Path, manifest: Manifest) -> dict[str, bytes]:
    """The content of every file that the manifest names, exactly as it was hashed.

    Raises:
        ArtefactError: with one fault for each file that differs.
    """
    contents: dict[str, bytes] = {}
    faults: list[Fault] = []
    for name in manifest.files:
        try:
            contents[name] = (folder / name).read_bytes()
        except OSError as error:
            faults.append(Fault(f"cannot be read: {error.strerror}", file=f"{folder.name}/{name}"))
    added = {path.name for path in folder.iterdir()} - {MANIFEST, *manifest.files}
    faults += [Fault("is not in the manifest", file=f"{folder.name}/{name}") for name in sorted(added)]
    faults += content_faults(contents, manifest, folder.name)
    if faults:
        raise ArtefactError(*faults)
    return contents


def content_faults(contents: Mapping[str, bytes], manifest: Manifest, folder: str) -> list[Fault]:
    """Faults of files that differ from the manifest, and of files that the manifest lacks."""
    differing = [name for name, content in contents.items() if FileDigest.of(content) != manifest.files[name]]
    unnamed = [name for name in (MODEL, PREPROCESSOR, SCHEMA, GOLDEN) if name not in manifest.files]
    return [
        *(Fault("is not the file that training wrote: its SHA-256 differs", f"{folder}/{name}") for name in differing),
        *(Fault("the manifest does not name it", f"{folder}/{name}") for name in unnamed),
    ]


def _unpickle(version: str, name: str, contents: Mapping[str, bytes]) -> Any:
    # Imported here: a service with a compiled model unpickles nothing, and starts without joblib.
    import joblib

    place = f"{version}/{name}"
    try:
        with warnings.catch_warnings():
            # The golden rows tell whether another library version matters; a warning for each estimator does not.
            warnings.simplefilter("ignore")
            return joblib.load(io.BytesIO(contents[name]))
    except ModuleNotFoundError as error:
        advice = f"add the package that has {error.name!r} to the extra 'model' in pyproject.toml, then 'make setup'"
        message = f"needs the module {error.name!r}, which is not installed"
        raise ArtefactError(Fault(message, place, advice=advice)) from error
    except (pickle.UnpicklingError, AttributeError, ImportError, ValueError, TypeError, EOFError) as error:
        advice = "train again: the code or the libraries have changed since"
        raise ArtefactError(Fault(f"cannot be loaded: {error}", place, advice=advice)) from error
