"""The request model of the plain services: the rules of features.yaml, as one writes them by hand."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0)]


class Row(BaseModel):
    """One customer."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    age: Annotated[int, Field(ge=18, le=120)]
    income: Amount | None = None
    loan_amount: Amount
    balance: float
    debt_ratio: Share
    utilisation: Share | None = None
    months_as_customer: Annotated[int, Field(ge=0, le=1200)]
    late_payments: Annotated[int, Field(ge=0, le=1000)]
    region: Literal["north", "south", "east", "west", "islands", "abroad"]
    employment: Literal["employed", "self-employed", "retired", "student", "unemployed"]
    housing: Literal["rent", "mortgage", "own", "other"]
    channel: Literal["branch", "web", "partner"]


ANSWER = {
    "prediction": "no",
    "probabilities": {"no": 0.7310585786300049, "yes": 0.2689414213699951},
    "prediction_id": "6f1c1c1e-3f0c-4f0e-9a51-0d8f3f3f1a11",
    "model_version": "20260101-120000-6f1c1c",
    "model_id": "6f1c1c1e-7d4b-4a55-8a3c-1e1f1d1c1b1a",
    "model_created_at": "2026-01-01T12:00:00+00:00",
    "timestamp": "2026-01-01T12:00:00.000000+00:00",
}
"""What the limits answer: as many bytes as a real answer."""
