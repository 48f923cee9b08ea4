"""What answers with a model, and the form of its answers before they are written."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import numpy as np
import orjson
from numpy.typing import NDArray

from ml_microservice.features.columns import Columns
from ml_microservice.inference.answer_table import AnswerTable
from ml_microservice.inference.micro_batcher import MicroBatcher
from ml_microservice.inference.problems import record_not_stored
from ml_microservice.inference.row_answers import Observe, RowAnswers
from ml_microservice.inference.rows import EntityIds, RowReader
from ml_microservice.inference.served_model import ServedModel
from ml_microservice.inference.stamps import Stamps
from ml_microservice.records.recorder import ModelRecorder, Recorder
from ml_microservice.records.syncing import NotStored
from ml_microservice.settings import ApiSettings
from ml_microservice.tracing.current import happened


class Serving(NamedTuple):
    """A model and what answers with it; a request takes it once and stays with it."""

    served: ServedModel
    batcher: MicroBatcher
    reader: RowReader
    records: ModelRecorder | None
    """None if predictions are not recorded."""
    provenance: bytes
    """What every answer ends with, up to the time."""

    @classmethod
    def of(
        cls,
        served: ServedModel,
        limits: ApiSettings,
        recorder: Recorder | None,
        stamps: Stamps,
        observe: Observe,
        is_traced: bool,
    ) -> "Serving":
        """A model with all that is made for it once."""
        manifest, schema = served.manifest, served.schema
        records = None
        if recorder is not None:
            records = ModelRecorder(recorder, schema.spec, schema.classes, manifest.version, manifest.id)
        finish = RowAnswers(served, records, stamps, observe).of
        batcher = MicroBatcher(served, finish, limits.max_concurrency, limits.timeout_seconds, is_traced)
        provenance = b"," + orjson.dumps(provenance_of(served))[1:-1] + b',"timestamp":'
        return cls(served, batcher, RowReader(served, limits.max_batch_rows), records, provenance)


Keep = Callable[[Sequence[str], EntityIds, Columns, Sequence[str | float], NDArray[np.float64] | None], bool]
"""Records answers, as `ModelRecorder.keep_rows` does for a call."""


def kept(keep: Keep, columns: Columns, answers: AnswerTable) -> bool:
    """Whether answers, none of which is a problem, are recorded.

    Raises:
        Problem: they are not, and may not be given.
    """
    ids, values = cast(Sequence[str], answers.prediction_ids), cast(Sequence[str | float], answers.values)
    try:
        is_logged = keep(ids, answers.entity_ids, columns, values, answers.probabilities)
    except NotStored as failed:
        raise record_not_stored(failed.reason) from None
    happened("recorded" if is_logged else "unlogged", {"rows": len(ids)})
    return is_logged


def provenance_of(served: ServedModel) -> dict[str, str]:
    """Which model answers."""
    manifest = served.manifest
    return {
        "model_version": manifest.version,
        "model_id": manifest.id,
        "model_created_at": manifest.created_at.isoformat(),
    }
