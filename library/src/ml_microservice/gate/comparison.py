"""`ml-service evaluate`: compares the current model with the champion on the current model's held-out rows."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from ml_microservice.artefact.store import POINTER, version_folder
from ml_microservice.errors import Fault, GateError
from ml_microservice.evaluation import HEADLINE, METRICS
from ml_microservice.gate.champion import identity, judged_champion
from ml_microservice.gate.documents import EVALUATION, VERDICT, Candidate, Champion, Comparison, write_document
from ml_microservice.gate.held_out import load_held_out
from ml_microservice.inference.served_model import load_served_model
from ml_microservice.settings import Settings
from ml_microservice.training.hooks import Hooks, load_hooks

CHAMPION = Path("build/champion/model.tar")
"""The archive of the champion, which pipelines put there."""
STAGES = 3
"""The number of stages of `evaluate`."""


def evaluate(
    settings: Settings,
    hooks: Hooks | None = None,
    *,
    champion: Path | None = None,
    n_rows: int | None = None,
    on_stage: Callable[[str], None] = lambda stage: None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Comparison:
    """Evaluate both models and write `build/evaluation.json`; the documents of an earlier run are removed first.

    Args:
        settings: the settings of the project.
        hooks: the hooks to run; those of `src/model` by default.
        champion: the archive of the champion; by default `CHAMPION`, if that file exists.
        n_rows: the most rows to load, passed to `DataLoader.load_data`; None loads all.
        on_stage: called with the name of each stage as it begins.
        clock: returns the current time, with a time zone.

    Raises:
        ServiceError: the current model cannot be evaluated, or there is no file `champion`.
    """
    for stale in (EVALUATION, VERDICT):
        (settings.root / stale).unlink(missing_ok=True)
    if champion is not None and not champion.is_file():
        raise GateError(Fault("there is no such file", str(champion), advice="'ml-service model export' makes one"))
    on_stage("Load the model and the data")
    folder = version_folder(settings, POINTER)
    hooks = hooks or load_hooks(settings.root, None)
    candidate = load_served_model(folder, settings.name, settings.id_name)
    manifest, schema = candidate.manifest, candidate.schema
    rows = load_held_out(settings, hooks, manifest, schema, n_rows)
    on_stage("Evaluate the model")
    metrics = rows.scores(candidate)
    on_stage("Evaluate the champion")
    archive = champion or settings.root / CHAMPION
    if archive.is_file():
        beside = judged_champion(settings, archive, candidate, rows)
    else:
        beside = Champion(status="absent", why=f"There is no {CHAMPION}: nothing is in production yet.")
    comparison = Comparison(
        project=settings.name,
        created_at=clock(),
        task=schema.spec.task,
        headline=HEADLINE[schema.spec.task],
        directions={name: "greater" if METRICS[name].greater_is_better else "smaller" for name in metrics},
        rows=len(rows.truth),
        data_sha256=manifest.origin.data_sha256,
        seed=manifest.origin.seed,
        test_size=manifest.origin.test_size,
        candidate=Candidate(model=identity(manifest), metrics=metrics),
        champion=beside,
    )
    write_document(comparison, settings.root / EVALUATION)
    return comparison
