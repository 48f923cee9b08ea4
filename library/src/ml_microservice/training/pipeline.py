"""`ml-service train`: load, check, split, fit, evaluate, report, write."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml_microservice.artefact.manifest import FileDigest, Manifest
from ml_microservice.artefact.reader import MODEL, PREPROCESSOR, GoldenRow
from ml_microservice.artefact.reference import REFERENCE
from ml_microservice.artefact.schema import ModelSchema, dump_json
from ml_microservice.artefact.store import model_store, version_name
from ml_microservice.artefact.writer import artefact_files, pickled, write_artefact
from ml_microservice.errors import Fault, FrameError
from ml_microservice.evaluation import (
    Evaluation,
    Importance,
    evaluate_classification,
    evaluate_regression,
    feature_importance,
)
from ml_microservice.features.features_file import load_features
from ml_microservice.features.frame_schema import check_frame
from ml_microservice.features.infer import infer_features
from ml_microservice.features.layout import FrameLayout
from ml_microservice.features.spec import FeatureDraft, FeatureSpec
from ml_microservice.inference.predictor import Predictions
from ml_microservice.inference.served_model import ServedModel, replay
from ml_microservice.settings import CONFIG_FILE, Settings
from ml_microservice.training.backend import training_backend
from ml_microservice.training.compilation.candidates import Compilation, compile_model, uncompiled_record
from ml_microservice.training.feature_profile import profile_features
from ml_microservice.training.fitted_model import Fitted, fit
from ml_microservice.training.golden import golden_rows
from ml_microservice.training.hooks import LOADER_FILE, Hooks, load_hooks
from ml_microservice.training.origin import data_digest, git_commit, origin, reproduction
from ml_microservice.training.reference import make_reference
from ml_microservice.training.report import Report, ReportContext, render_report
from ml_microservice.training.split import Split, load_frame, split_frame

STAGES = 7
"""The number of stages of `train`."""


@dataclass(frozen=True)
class Trained:
    """The result of a training run."""

    manifest: Manifest
    folder: Path
    evaluation: Evaluation


@dataclass(frozen=True)
class _Run:
    """One run of training."""

    id: UUID
    started: datetime
    commit: str | None

    @property
    def version(self) -> str:
        return version_name(self.started, self.id)


@dataclass(frozen=True)
class _Data:
    """The training frame, checked and split."""

    spec: FeatureSpec
    frame: pd.DataFrame
    layout: FrameLayout
    split: Split


@dataclass(frozen=True)
class _Judged:
    """The model's predictions for the held-out rows, and their evaluation."""

    evaluation: Evaluation
    truth: NDArray[Any]
    predicted: NDArray[Any]
    predictions: Predictions


def train(
    settings: Settings,
    hooks: Hooks | None = None,
    *,
    n_rows: int | None = None,
    on_stage: Callable[[str], None] = lambda stage: None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    new_id: Callable[[], UUID] = uuid4,
) -> Trained:
    """Train a model by the project's hooks, and make it the current version.

    Args:
        settings: the settings of the project.
        hooks: the hooks to run; those of `src/model` by default.
        n_rows: the most rows to load, passed to `DataLoader.load_data`; None loads all.
        on_stage: called with the name of each stage as it begins.
        clock: returns the current time, with a time zone.
        new_id: returns the id of the run.

    Raises:
        ServiceError: the configuration, the frame or a hook has faults; its class says which.
    """
    run = _Run(new_id(), clock(), git_commit(settings.root))
    on_stage("Load the hooks and the data")
    draft = load_features(settings.features_file, settings.id_name)
    hooks = hooks or load_hooks(settings.root, draft.task)
    frame = load_frame(hooks, n_rows)
    on_stage("Check the data against features.yaml")
    data = _checked(draft, frame, settings)
    on_stage("Fit the Preprocessor and the model")
    with training_backend(settings.training):
        fitted = fit(hooks, data.split, data.spec, data.layout, settings.training.seed)
    on_stage("Evaluate on the held-out rows")
    judged = _judge(fitted, data.split)
    target = fitted.target_column(data.frame[data.spec.target])
    schema = ModelSchema(data.spec, data.layout.as_json(), fitted.classes, fitted.label_form, target)
    on_stage("Compile")
    compilation = _compile(fitted, data.split, schema, settings)
    on_stage("Measure the features' importance")
    importance = _importance(fitted, data.split, judged, settings.training.seed)
    on_stage("Write the report and the model")
    objects = {PREPROCESSOR: pickled(fitted.preprocessor, "Preprocessor"), MODEL: pickled(fitted.model, "train_model")}
    manifest = _manifest(run, settings, data, fitted, judged, objects)
    manifest = manifest.model_copy(update={"engine": compilation.record})
    golden = _proved_golden_rows(data.split, settings, ServedModel(manifest, schema, fitted.predictor, None))
    replay(ServedModel(manifest, schema, compilation.predictor, None), golden)
    seconds = (clock() - run.started).total_seconds()
    report = render_report(_report_context(manifest, settings, data, judged, importance, len(golden), seconds))
    store = model_store(settings)
    objects |= compilation.files
    reference = make_reference(data.spec, data.frame, judged.predictions, settings.training.seed)
    documents = {REFERENCE: reference.to_bytes(), **_documents(settings, judged.evaluation, report)}
    files = artefact_files(schema, objects, golden, documents)
    manifest = write_artefact(store, manifest, files)
    return Trained(manifest, store.path(run.version), judged.evaluation)


def _checked(draft: FeatureDraft, frame: Any, settings: Settings) -> _Data:
    if not isinstance(frame, pd.DataFrame):
        message = f"load_data returned {type(frame).__name__}, not a pandas.DataFrame"
        raise FrameError(Fault(message, file=LOADER_FILE, advice="return one frame with the features and the target"))
    spec = infer_features(draft, frame, settings.id_name)
    check_frame(frame, spec, settings.id_name)
    layout = FrameLayout.of(frame, spec)
    return _Data(spec, frame, layout, split_frame(frame, spec, layout, settings.training))


def _compile(fitted: Fitted, split: Split, schema: ModelSchema, settings: Settings) -> Compilation:
    if not settings.training.compile:
        return Compilation(uncompiled_record("training.compile is off"), {}, fitted.predictor)
    return compile_model(fitted, split, schema, settings.training.compile_tolerance)


def _judge(fitted: Fitted, split: Split) -> _Judged:
    predictions = fitted.predictor.predict_frame(split.test.copy())
    truth, predicted = fitted.truth(split.test_target), fitted.answers(predictions)
    train_truth = fitted.truth(split.train_target)
    if fitted.classes:
        probabilities = predictions.probabilities
        evaluation = evaluate_classification(truth, predicted, probabilities, fitted.classes, train_truth)
    else:
        evaluation = evaluate_regression(truth, predicted, train_truth)
    return _Judged(evaluation, truth, predicted, predictions)


def _importance(fitted: Fitted, split: Split, judged: _Judged, seed: int) -> Sequence[Importance]:
    def answers(frame: pd.DataFrame) -> NDArray[Any]:
        return fitted.answers(fitted.predictor.predict_frame(frame))

    def score(answered: NDArray[Any], rows: NDArray[np.intp]) -> float:
        truth = judged.truth[rows]
        return float((answered == truth).mean()) if fitted.classes else -float(np.abs(answered - truth).mean())

    return feature_importance(answers, split.test, score, seed)


def _proved_golden_rows(split: Split, settings: Settings, served: ServedModel) -> list[GoldenRow]:
    """Golden rows that the model has answered twice alike, as it will have to at every load."""
    golden = golden_rows(split.test, settings.training.golden_rows, settings.training.seed, served)
    replay(served, golden)
    return golden


def _manifest(
    run: _Run, settings: Settings, data: _Data, fitted: Fitted, judged: _Judged, objects: Mapping[str, bytes]
) -> Manifest:
    digest = data_digest(data.layout.from_frame(data.frame), data.frame[data.spec.target])
    made = origin(settings.name, digest, settings.features_file.parent, settings.training)
    digests = {name: FileDigest.of(content).sha256 for name, content in objects.items()}
    return Manifest(
        project=settings.name,
        version=run.version,
        id=str(run.id),
        created_at=run.started,
        git_commit=run.commit,
        task=data.spec.task,
        target=data.spec.target,
        classes=fitted.classes,
        rows=len(data.frame),
        train_rows=len(data.split.train),
        test_rows=len(data.split.test),
        metrics=judged.evaluation.metrics,
        baseline=judged.evaluation.baseline,
        origin=made,
        reproduction=reproduction(model_store(settings), made, digests),
        files={},
    )


def _report_context(
    manifest: Manifest,
    settings: Settings,
    data: _Data,
    judged: _Judged,
    importance: Sequence[Importance],
    golden_rows: int,
    seconds: float,
) -> ReportContext:
    training = settings.training
    kind = f"stratified by {data.spec.target}" if data.spec.task == "classification" else "at random"
    return ReportContext(
        title=settings.title or settings.name,
        description=settings.description,
        version=manifest.version,
        created_at=manifest.created_at,
        git_commit=manifest.git_commit,
        target=data.spec.target,
        evaluation=judged.evaluation,
        truth=judged.truth,
        predicted=judged.predicted,
        probabilities=judged.predictions.probabilities,
        importance=importance,
        profile=profile_features(data.spec, data.frame),
        split=f"{training.test_size:.0%} of the rows were held out, {kind}",
        seed=training.seed,
        golden_rows=golden_rows,
        duration_seconds=seconds,
        libraries={"python": manifest.origin.python, **manifest.origin.libraries},
    )


def _documents(settings: Settings, evaluation: Evaluation, report: Report) -> dict[str, bytes]:
    return {
        "features.yaml": settings.features_file.read_bytes(),
        CONFIG_FILE: (settings.root / CONFIG_FILE).read_bytes(),
        "evaluation.json": dump_json(evaluation.as_json()),
        "report.html": report.html.encode(),
        "report.md": report.markdown.encode(),
    }
