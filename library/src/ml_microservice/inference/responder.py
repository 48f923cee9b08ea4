"""The responder: all that answers requests with one model."""

from dataclasses import dataclass

import orjson

from ml_microservice.inference.micro_batcher import MicroBatcher
from ml_microservice.inference.row_answers import Observe, RowAnswerer
from ml_microservice.inference.rows import RowReader
from ml_microservice.inference.served_model import ServedModel
from ml_microservice.inference.stamps import Stamps
from ml_microservice.records.recorder import ModelRecorder, Recorder
from ml_microservice.settings import ApiSettings


@dataclass(frozen=True, slots=True)
class Responder:
    """A model, and the parts made for it; a request takes the responder once and stays with it."""

    served: ServedModel
    batcher: MicroBatcher
    reader: RowReader
    records: ModelRecorder | None
    """The recorder of the predictions; None if they are not recorded."""
    provenance: bytes
    """Start of the last keys of every answer to a single row, up to the value of `timestamp`."""

    @classmethod
    def of(
        cls,
        served: ServedModel,
        limits: ApiSettings,
        recorder: Recorder | None,
        stamps: Stamps,
        observe: Observe,
        *,
        is_traced: bool,
    ) -> "Responder":
        """The responder of a model."""
        manifest, schema = served.manifest, served.schema
        records = None
        if recorder is not None:
            records = ModelRecorder(recorder, schema.spec, schema.classes, manifest.version, manifest.id)
        answerer = RowAnswerer(served, records, stamps, observe, is_traced=is_traced)
        batcher = MicroBatcher(answerer, limits.max_concurrency, limits.timeout_seconds, is_traced=is_traced)
        provenance = b"," + orjson.dumps(served.provenance())[1:-1] + b',"timestamp":'
        return cls(served, batcher, RowReader(served, limits.max_batch_rows), records, provenance)
