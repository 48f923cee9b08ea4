"""`reference.json`: what training saw and what the model answered, small enough to lie in the artefact.

Its size follows from the number of features, never from the number of rows.
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
    """Bars of equal width, to draw."""

    edges: tuple[float, ...]
    """One more than there are bars."""
    counts: tuple[int, ...]
    """What lies beyond the outermost edges is counted in the outermost bars."""


@dataclass(frozen=True)
class NumberReference:
    """Numbers; moments as seconds since 1970 in UTC."""

    count: int
    """How many there are, as everywhere here without those that are missing."""
    low: float
    high: float
    std: float
    sketch: tuple[float, ...]
    """Values in rising order that stand for equal shares; all of them where they are few."""
    edges: tuple[float, ...]
    """Upper ends, inclusive, of all bins but the last; the bins hold about equal shares."""
    counts: tuple[int, ...]
    """By bin, one more than `edges`."""
    histogram: Histogram
    kind: Literal["number"] = "number"


@dataclass(frozen=True)
class CategoryReference:
    """Words, whole numbers as words, `true` and `false`, names of classes."""

    count: int
    counts: Mapping[str, int]
    """By name, the most frequent first; the rest is in `others`."""
    others: int
    """Values of names that are not in `counts`."""
    is_complete: bool
    """Whether `counts` has all names, so that another is known to be new."""
    once: int
    """How many names occurred once: what tells how likely it is that yet another one turns up."""
    kind: Literal["category"] = "category"


@dataclass(frozen=True)
class TextReference:
    """Free text: no text is kept, and no word that few texts have."""

    count: int
    empty: int
    """Texts of blanks only."""
    lengths: NumberReference
    """Characters."""
    worded: int
    """Texts that have a word."""
    words: Mapping[str, int]
    """The most frequent words, in lower case, and how many texts have them."""
    unknown_mean: float
    """Mean over the texts of the share of their different words that are not in `words`."""
    unknown_std: float
    kind: Literal["text"] = "text"


@dataclass(frozen=True)
class VectorReference:
    """Vectors: the lengths of the arrows, and some elements one by one; never how elements hang together."""

    count: int
    norms: NumberReference
    elements: tuple[int, ...]
    """Positions that are compared: all, or some at equal distances where there are very many."""
    means: tuple[float, ...]
    stds: tuple[float, ...]
    kind: Literal["vector"] = "vector"


Values = Annotated[
    NumberReference | CategoryReference | TextReference | VectorReference,
    Field(discriminator="kind"),
]


@dataclass(frozen=True)
class FeatureReference:
    """One feature in the rows that the reference was made from."""

    type: str
    """As in `features.yaml`."""
    rows: int
    missing: int
    values: Values | None
    """None where all are missing."""


@dataclass(frozen=True)
class Reference:
    """What recorded predictions are compared with."""

    format: int
    rows: int
    """Rows of the training frame that the features are described from."""
    features: Mapping[str, FeatureReference]
    personal: tuple[str, ...]
    """Features that are `pii`: nothing of them is kept here, and nothing compared."""
    predictions: Values
    """The model's answers to the held-out rows."""
    confidence: NumberReference | None
    """The probability of the likeliest class there; None for regression and without `predict_proba`."""

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
