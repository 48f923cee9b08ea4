"""The held-out rows of a model, loaded again, and the scores of any model on them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml_microservice.artefact.manifest import Manifest
from ml_microservice.artefact.schema import ModelSchema
from ml_microservice.errors import ArtefactError, Fault, GateError
from ml_microservice.evaluation import Scores, classification_scores, regression_scores
from ml_microservice.features.frame_columns import request_columns
from ml_microservice.features.frame_schema import check_frame
from ml_microservice.features.layout import FrameLayout
from ml_microservice.inference.predictor import Predictions
from ml_microservice.inference.served_model import ServedModel
from ml_microservice.settings import Settings
from ml_microservice.training.fitted_model import evaluated_form
from ml_microservice.training.hooks import LOADER_FILE, Hooks
from ml_microservice.training.origin import data_digest
from ml_microservice.training.split import load_frame, split_frame

CHUNK = 10_000
"""The most rows that a model predicts in one call."""


@dataclass(frozen=True)
class HeldOut:
    """The rows that were held out when a model was trained."""

    frame: pd.DataFrame
    """The rows as DataLoader returns them, with every column."""
    truth: NDArray[Any]
    """Shape (n,): positions among `classes`, or numbers."""
    classes: tuple[str, ...]
    """Empty for regression."""

    def scores(self, served: ServedModel) -> Scores:
        """The metrics of a model of the same classes on these rows, predicted by the engine that serves it.

        Raises:
            Exception: whatever the model raises, or pandas if a value cannot be converted to what the model takes.
        """
        predictions = self._predicted(served)
        answers = evaluated_form(predictions, self.classes)
        if not self.classes:
            return regression_scores(self.truth, answers)
        probabilities = predictions.probabilities
        if probabilities is not None:
            probabilities = probabilities[:, [served.schema.classes.index(name) for name in self.classes]]
        return classification_scores(self.truth, answers, probabilities)

    def _predicted(self, served: ServedModel) -> Predictions:
        """Predictions for the rows, sent as requests would carry them."""
        layout, spec = FrameLayout.from_json(served.schema.layout), served.schema.spec
        values: list[str | float] = []
        matrices = []
        for start in range(0, len(self.frame), CHUNK):
            chunk = layout.from_frame(self.frame.iloc[start : start + CHUNK])
            predictions = served.predictor.predict(request_columns(chunk, spec))
            values += predictions.values
            if predictions.probabilities is not None:
                matrices.append(predictions.probabilities)
        return Predictions(values, np.concatenate(matrices) if matrices else None)


def load_held_out(
    settings: Settings, hooks: Hooks, manifest: Manifest, schema: ModelSchema, n_rows: int | None
) -> HeldOut:
    """Load the training frame again, and split it as training did.

    Raises:
        FrameError: the frame breaks the rules of `features.yaml`.
        GateError: it is not the frame that the model was trained on.
    """
    frame, spec, layout = load_frame(hooks, n_rows), schema.spec, FrameLayout.from_json(schema.layout)
    check_frame(frame, spec, settings.id_name)
    if data_digest(layout.from_frame(frame), frame[spec.target]) != manifest.origin.data_sha256:
        raise GateError(_other_data(manifest, len(frame)))
    made = manifest.origin
    training = settings.training.model_copy(update={"seed": made.seed, "test_size": made.test_size})
    # By position, because an index may name several rows.
    frame = frame.reset_index(drop=True)
    split = split_frame(frame, spec, layout, training)
    return HeldOut(frame.loc[split.test.index], _truth(split.test_target, schema, manifest), schema.classes)


def _truth(target: "pd.Series[Any]", schema: ModelSchema, manifest: Manifest) -> NDArray[Any]:
    if not schema.classes:
        return target.to_numpy(dtype=np.float64)
    if schema.target is None:
        message = "the model does not say how the training frame names its classes: an earlier version trained it"
        raise ArtefactError(Fault(message, manifest.version, advice="train again"))
    position = {value: index for index, value in enumerate(schema.target.values)}
    return np.asarray([position[value] for value in target.tolist()], dtype=np.intp)


def _other_data(manifest: Manifest, rows: int) -> Fault:
    message = f"the training frame is not the one that {manifest.version} was trained on: its digest is another"
    advice = "train again; if nothing has changed, DataLoader draws at random or depends on the time: seed it"
    if rows != manifest.rows:
        message += f", and it has {rows:,} rows instead of {manifest.rows:,}"
        advice = "train again, on the data as it is now; after train --rows, evaluate with the same --rows"
    return Fault(message, LOADER_FILE, advice=advice)
