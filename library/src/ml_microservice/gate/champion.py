"""Evaluation of the champion on the candidate's held-out rows."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ml_microservice.artefact.archive import read_archive
from ml_microservice.artefact.manifest import Manifest
from ml_microservice.artefact.store import ArtefactStore
from ml_microservice.errors import ServiceError, listed
from ml_microservice.gate.documents import Champion, ModelIdentity
from ml_microservice.gate.held_out import HeldOut
from ml_microservice.inference.predictor import PythonPredictor
from ml_microservice.inference.served_model import ServedModel, load_served_model
from ml_microservice.settings import Settings


class NotComparable(Exception):
    """The champion cannot be compared; the message is the sentence that the verdict shows."""


def judged_champion(settings: Settings, archive: Path, candidate: ServedModel, rows: HeldOut) -> Champion:
    """Evaluate the champion of an archive; a failure becomes the status `not comparable` and is not raised."""
    model = None
    try:
        manifest, contents = read_archive(archive, settings.name)
        model = identity(manifest)
        with _unpacked(manifest, contents) as folder:
            served = load_served_model(folder, settings.name, settings.id_name)
            _require_same_question(served, candidate, rows)
            metrics = rows.scores(served)
    except NotComparable as reason:
        return Champion(status="not comparable", why=str(reason), model=model)
    except ServiceError as error:
        why = f"It cannot be loaded: {' '.join(str(fault) for fault in error.faults)}"
        return Champion(status="not comparable", why=why, model=model)
    except Exception as error:
        # Its hooks may be older code, which can raise anything on today's rows.
        why = f"It cannot answer the held-out rows: {type(error).__name__}: {error}"
        return Champion(status="not comparable", why=why, model=model)
    why = f"{manifest.version} was evaluated on the same rows."
    notes = tuple(_notes(served, candidate.manifest))
    return Champion(status="compared", why=why, model=model, metrics=metrics, notes=notes)


def identity(manifest: Manifest) -> ModelIdentity:
    """The identity of a manifest's model."""
    return ModelIdentity(version=manifest.version, id=manifest.id, commit=manifest.git_commit)


@contextmanager
def _unpacked(manifest: Manifest, contents: Mapping[str, bytes]) -> Iterator[Path]:
    """Unpack a verified archive to a temporary folder."""
    with TemporaryDirectory(prefix="champion-") as folder:
        yield ArtefactStore(Path(folder)).write(manifest.version, contents)


def _require_same_question(champion: ServedModel, candidate: ServedModel, rows: HeldOut) -> None:
    """See that both models predict the same target, from columns of the training frame.

    Raises:
        NotComparable: they do not.
    """
    theirs, ours = champion.schema, candidate.schema
    if theirs.spec.task != ours.spec.task:
        raise NotComparable(f"Its task is {theirs.spec.task}, the candidate's is {ours.spec.task}.")
    if theirs.spec.target != ours.spec.target:
        raise NotComparable(f"It predicts {theirs.spec.target!r}, the candidate {ours.spec.target!r}.")
    if set(theirs.classes) != set(ours.classes):
        words = (listed(schema.classes) for schema in (theirs, ours))
        raise NotComparable("Its classes are {}, the candidate's are {}.".format(*words))
    missing = [name for name in theirs.spec.names if name not in rows.frame.columns]
    if missing:
        raise NotComparable(f"It needs columns that the training frame no longer has: {listed(missing)}.")
    types = {feature.name: feature.type for feature in ours.spec.features}
    for feature in theirs.spec.features:
        if types.get(feature.name, feature.type) != feature.type:
            raise NotComparable(f"Its {feature.name!r} is {feature.type}, the candidate's is {types[feature.name]}.")


def _notes(champion: ServedModel, candidate: Manifest) -> Iterator[str]:
    theirs, ours = champion.manifest.origin, candidate.origin
    if theirs.code_sha256 != ours.code_sha256 and _uses_hooks(champion):
        yield (
            "It was trained by other hooks, and its Python objects ran with the code of this checkout; "
            "its golden rows were answered as in training."
        )
    if (theirs.data_sha256, theirs.seed, theirs.test_size) != (ours.data_sha256, ours.seed, ours.test_size):
        yield "It may have been trained on some of these rows, which favours it."


def _uses_hooks(served: ServedModel) -> bool:
    return isinstance(served.predictor, PythonPredictor) or ".joblib" in served.manifest.engine.serves
