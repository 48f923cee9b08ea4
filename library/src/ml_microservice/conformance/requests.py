"""The path of a request to the Preprocessor: JSON, the request model, the layout of the training frame."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from pydantic import ValidationError

from ml_microservice.artefact.schema import dump_json
from ml_microservice.errors import Fault, FrameError
from ml_microservice.features.features_file import FEATURES_FILE
from ml_microservice.features.fields import feature_fields
from ml_microservice.features.layout import FrameLayout
from ml_microservice.features.request import build_request_model
from ml_microservice.features.spec import FeatureSpec
from ml_microservice.inference.problems import invalid_request
from ml_microservice.training.hooks import LOADER_FILE


class RequestPath:
    """Converts requests to the frame that the Preprocessor is given, as the service does."""

    def __init__(self, spec: FeatureSpec, layout: FrameLayout, id_name: str | None) -> None:
        self._spec = spec
        self._layout = layout
        self._id_name = id_name
        self._model = build_request_model(spec, id_name)

    def frame(self, requests: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
        """Convert requests to a frame in the training layout.

        Raises:
            FrameError: a request is refused.
        """
        rows = [self._row(request) for request in requests]
        columns = {name: [row[field] for row in rows] for field, name in feature_fields(self._spec).items()}
        return self._layout.from_columns(columns)

    def _row(self, request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return dict(self._model.model_validate_json(dump_json(request)).__dict__)
        except ValidationError as error:
            refusal = invalid_request(error, self._spec, self._id_name).detail
        except UnicodeEncodeError as error:
            refusal = f"text with {error.object[error.start : error.end]!r} in it is not Unicode, which JSON has to be"
        message = f"a row of the training frame would be refused as a request: {refusal}"
        raise FrameError(
            Fault(message, LOADER_FILE, advice=f"clean it in DataLoader, or widen the rule in {FEATURES_FILE}")
        )
