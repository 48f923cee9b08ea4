"""Response models, for the API documentation: the classes by name, the entity id under its own."""

from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, create_model

from ml_microservice.features.fields import ENTITY_ID
from ml_microservice.features.request import EntityId
from ml_microservice.features.spec import FeatureSpec

PREDICTION_ID = Field(description="Identifies this prediction: log records and feedback refer to it.")

LOGGED = "False if no record of this prediction could be stored, where `records.when_full` allows it; absent otherwise."


class Provenance(BaseModel):
    """Which model answered, and when."""

    model_config = ConfigDict(defer_build=True, protected_namespaces=())

    model_version: str = Field(description="Version of the model, the name of its folder.")
    model_id: str = Field(description="UUID of the training run.")
    model_created_at: str = Field(description="When the model was trained: ISO 8601, UTC.")
    timestamp: str = Field(description="When this was answered: ISO 8601, UTC.")


def build_response_model(spec: FeatureSpec, classes: tuple[str, ...], id_name: str | None) -> type[BaseModel]:
    """The model of an answer to one row."""
    return _model("PredictResponse", Provenance, _answer_fields(spec, classes, id_name))


def build_batch_response_model(
    spec: FeatureSpec, classes: tuple[str, ...], id_name: str | None, problem: type[BaseModel]
) -> type[BaseModel]:
    """The model of an answer to many rows, of which some may have failed."""
    answer = _model("RowPrediction", None, _answer_fields(spec, classes, id_name))
    error = _model("RowError", None, {"error": (problem, ...)})
    rows = (list[answer | error], Field(description="One entry for each row, in the order of the request."))  # type: ignore[valid-type]
    failed = (int, Field(description="Number of rows that were answered by an error."))
    return _model("BatchResponse", Provenance, {"predictions": rows, "failed": failed})


def _answer_fields(spec: FeatureSpec, classes: tuple[str, ...], id_name: str | None) -> dict[str, Any]:
    names: Any = Literal.__getitem__(classes) if classes else float
    fields: dict[str, Any] = {"prediction": (names, Field(description=f"The predicted {spec.target}."))}
    if classes:
        probabilities = {f"p{index}": (float, Field(alias=name, ge=0, le=1)) for index, name in enumerate(classes)}
        words = Field(None, description="Probability of each class; absent if the model has none.")
        fields["probabilities"] = (_model("Probabilities", None, probabilities), words)
    fields["prediction_id"] = (str, PREDICTION_ID)
    if id_name is not None:
        fields[ENTITY_ID] = (EntityId, Field(None, alias=id_name, description="The entity id, as it was sent."))
    fields["logged"] = (Literal[False], Field(None, description=LOGGED))
    return fields


def _model(name: str, base: type[BaseModel] | None, fields: dict[str, Any]) -> type[BaseModel]:
    return cast(type[BaseModel], create_model(name, __base__=base, **fields))
