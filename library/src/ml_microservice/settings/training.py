"""Settings of training and of the gate."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from ml_microservice.settings.section import Section, listed_words


def _thresholds_of_variable(value: Any) -> Any:
    """The environment variable's `accuracy=0.9,log_loss=0.4` as the mapping that the file has."""
    if not isinstance(value, str):
        return value
    pairs = (part.partition("=") for part in listed_words(value))
    return {name.strip(): number.strip() for name, _, number in pairs}


class TrainingSettings(Section):
    """How `ml-service train` splits the data, fits the model and compiles it."""

    test_size: float = Field(0.2, gt=0, lt=1)
    """Share of the rows that is held out for evaluation."""
    seed: int = Field(42, ge=0, lt=2**32)
    """Seed of the split, and of `random` and `numpy.random` while the hooks run."""
    golden_rows: int = Field(20, ge=1, le=1000)
    """Number of rows stored with their predictions and replayed whenever the model is loaded."""
    compile: bool = True
    """Whether to compile the model; the compiled form serves only if it is proved equal to the original."""
    compile_tolerance: float = Field(1e-9, ge=0, le=1e-3)
    """Largest difference allowed between the compiled model and the original: of a probability, or relative to the
    size of a predicted number."""
    engine: Literal["local", "dask"] = "local"
    """Where the parallel work of joblib, which scikit-learn uses, runs: on this machine, or on Dask."""
    scheduler: str | None = None
    """Address of the Dask scheduler, such as `tcp://host:8786`; by default, a cluster is started on this machine."""


class GateSettings(Section):
    """What `ml-service gate` requires of a new model on the held-out rows before it may be deployed."""

    thresholds: Annotated[
        Mapping[str, Annotated[float, Field(allow_inf_nan=False)]], BeforeValidator(_thresholds_of_variable)
    ] = {}
    """Limits by metric: the lowest value allowed, or the highest where smaller is better, such as
    `{accuracy: 0.9, log_loss: 0.4}`. The environment variable is written `accuracy=0.9,log_loss=0.4`."""
    metric: str | None = None
    """Metric that is compared with the champion's (the champion is the model in production); by default `accuracy` for
    classification and `mae` for regression."""
    tolerance: float = Field(0.02, ge=0, le=1)
    """How much worse than the champion the model may be, as a share of the champion's value."""
