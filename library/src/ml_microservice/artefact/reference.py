"""`reference.json`: a summary of the training data and of the model's answers, which drift is measured against.

Its size depends on the number of features, not on the number of rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from ml_microservice.errors import ArtefactError, Fault

REFERENCE = "reference.json"
FORMAT = 1


@dataclass(frozen=True)
class Histogram:
    """Bars of equal width, for plots."""

    edges: tuple[float, ...]
    """One more than there are bars."""
    counts: tuple[int, ...]
    """Counts by bar; values beyond the outermost edges are counted in the outermost bars."""


@dataclass(frozen=True)
class NumberReference:
    """Distribution of numbers; moments count as seconds since 1970 in UTC."""

    count: int
    """Number of values; here and everywhere in this file, missing values are not counted."""
    low: float
    high: float
    std: float
    sketch: tuple[float, ...]
    """Values in rising order that stand for equal shares; all values if they are few."""
    edges: tuple[float, ...]
    """Upper ends, inclusive, of all bins but the last; the bins hold about equal shares."""
    counts: tuple[int, ...]
    """Counts by bin, one more than `edges`."""
    histogram: Histogram
    kind: Literal["number"] = "number"


@dataclass(frozen=True)
class CategoryReference:
    """Distribution of categories: words, whole numbers as words, `true` and `false`, names of classes."""

    count: int
    counts: Mapping[str, int]
    """Counts by name, the most frequent first; the rest is in `others`."""
    others: int
    """Number of values whose names are not in `counts`."""
    is_complete: bool
    """Whether `counts` has all names, so that any other name is new."""
    once: int
    """Number of names that occurred once, from which the probability of an unseen name is estimated."""
    kind: Literal["category"] = "category"


@dataclass(frozen=True)
class TextReference:
    """Summary of free text; it keeps no text, and no word that is rare."""

    count: int
    empty: int
    """Number of texts that are blank."""
    lengths: NumberReference
    """Lengths of the texts in characters."""
    worded: int
    """Number of texts that have a word."""
    words: Mapping[str, int]
    """The most frequent words, in lower case, and the number of texts that have them."""
    unknown_mean: float
    """Mean, over the texts, of the share of distinct words that are not in `words`."""
    unknown_std: float
    kind: Literal["text"] = "text"


@dataclass(frozen=True)
class VectorReference:
    """Distribution of vectors: their norms, and some elements one by one; correlations are not kept."""

    count: int
    norms: NumberReference
    elements: tuple[int, ...]
    """Positions of the elements that are compared: all, or equally spaced ones if there are very many."""
    means: tuple[float, ...]
    stds: tuple[float, ...]
    kind: Literal["vector"] = "vector"


Values = Annotated[
    NumberReference | CategoryReference | TextReference | VectorReference,
    Field(discriminator="kind"),
]


@dataclass(frozen=True)
class FeatureReference:
    """Summary of one feature in the training frame."""

    type: str
    """Type in `features.yaml`."""
    rows: int
    missing: int
    values: Values | None
    """Distribution of the values; None if all are missing."""


@dataclass(frozen=True)
class Reference:
    """The summary that recorded predictions are compared with."""

    format: int
    rows: int
    """Number of rows of the training frame that were summarised."""
    features: Mapping[str, FeatureReference]
    personal: tuple[str, ...]
    """Features marked `pii`: they are neither summarised nor compared."""
    predictions: Values
    """The model's answers to the held-out rows."""
    confidence: NumberReference | None
    """Probability of the most likely class there; None for regression and without `predict_proba`."""

    def to_bytes(self) -> bytes:
        """The file's content."""
        return _ADAPTER.dump_json(self) + b"\n"


_ADAPTER = TypeAdapter(Reference)


def read_reference(files: Mapping[str, bytes], version: str) -> Reference:
    """The reference among an artefact's verified files.

    Raises:
        ArtefactError: the model was trained before references were kept, or by another version of them.
    """
    place, advice = f"{version}/{REFERENCE}", "train again: the new version will have one"
    if REFERENCE not in files:
        message = f"the model {version} has no reference to compare records with"
        raise ArtefactError(Fault(message, place, advice=advice))
    try:
        reference = _ADAPTER.validate_json(files[REFERENCE])
    except ValidationError:
        reference = None
    if reference is None or reference.format != FORMAT:
        raise ArtefactError(Fault(f"not a reference of format {FORMAT}", place, advice=advice))
    return reference
