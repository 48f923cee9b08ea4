"""Models of feedback: the true value behind a prediction, in terms of the model's target."""

from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, GetPydanticSchema, create_model
from pydantic_core import core_schema

from ml_microservice.features.request import ISO_8601, STRICT, chained
from ml_microservice.features.spec import EARLIEST, LATEST, FeatureSpec

SOURCE_MAX_LENGTH = 200


def build_feedback_model(spec: FeatureSpec, classes: tuple[str, ...]) -> type[BaseModel]:
    """The model of one feedback; its label is one of the classes, or a number."""
    label: Any = Literal.__getitem__(classes) if classes else float
    text = core_schema.str_schema(strict=True, pattern=ISO_8601)
    within = Annotated[datetime, Field(strict=False, ge=EARLIEST, le=LATEST)]
    moment: Any = Annotated[within, GetPydanticSchema(partial(chained, text))]
    # PostgreSQL's text has no NUL.
    source: Any = Annotated[str, Field(max_length=SOURCE_MAX_LENGTH, pattern=r"^[^\x00]*$")]
    fields: dict[str, Any] = {
        "prediction_id": (UUID, Field(description="As the answer to the prediction has it.")),
        "label": (label, Field(description=f"What {spec.target} turned out to be.")),
        "observed_at": (moment | None, Field(None, description="When that became known.")),
        "source": (source | None, Field(None, description="Where it comes from.", examples=["claims department"])),
    }
    config = ConfigDict(extra="forbid", title="Feedback", **STRICT)
    return cast(type[BaseModel], create_model("Feedback", __config__=config, **fields))


class FeedbackAccepted(BaseModel):
    """Feedback that is stored for good."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    feedback_id: str
    """UUID of this feedback; ids sort in the order in which feedback came."""
    prediction_id: str
    """The prediction that it is about."""
    received_at: str
    """ISO 8601, UTC. Of several for one prediction, the one received last counts."""


def build_feedback_list_model(problem: type[BaseModel]) -> type[BaseModel]:
    """The model of the answer to a list of feedback."""
    error = create_model("FeedbackError", error=(problem, ...))
    items: Any = list[FeedbackAccepted | error]
    fields: dict[str, Any] = {
        "feedback": (items, Field(description="One entry for each, in the order of the request.")),
        "failed": (int, Field(description="Number of entries that were answered by an error.")),
    }
    return cast(type[BaseModel], create_model("FeedbackList", **fields))
