"""`schema.json`: the features, classes and frame layout of a model, as the service needs them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ml_microservice.features.spec import FeatureSpec

LabelForm = Literal["classes_", "names", "positions"]
"""How a model's `predict` names a class: as in `classes_`, as `get_classes` does, or by column of `predict_proba`."""


@dataclass(frozen=True)
class TargetColumn:
    """The target column of the training frame."""

    dtype: str
    """The dtype, as pandas spells it."""
    values: tuple[Any, ...] = ()
    """The value of each class in that column, in the order of the classes; empty for regression."""


@dataclass(frozen=True)
class ModelSchema:
    """The model's features, the layout of its frame, and its classes."""

    spec: FeatureSpec
    layout: Mapping[str, Any]
    """`FrameLayout.as_json()`, left as data so that reading a schema does not need pandas."""
    classes: tuple[str, ...]
    """Names of the classes in the order of the probabilities; empty for regression."""
    label_form: LabelForm
    """How the model's `predict` names a class."""
    target: TargetColumn | None = None
    """The target column; None for models trained before it was kept."""

    def to_bytes(self) -> bytes:
        """The file's content."""
        spec = self.spec.model_dump(mode="json", exclude_defaults=True)
        for written, feature in zip(spec["features"], self.spec.features, strict=True):
            written["type"] = feature.type
        target = None if self.target is None else {"dtype": self.target.dtype, "values": list(self.target.values)}
        return dump_json(
            {
                "spec": spec,
                "layout": self.layout,
                "classes": list(self.classes),
                "label_form": self.label_form,
                "target": target,
            }
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> "ModelSchema":
        """The inverse of `to_bytes`."""
        data = json.loads(content)
        spec = FeatureSpec.model_validate(data["spec"])
        kept = data.get("target")
        target = None if kept is None else TargetColumn(kept["dtype"], tuple(kept["values"]))
        return cls(spec, data["layout"], tuple(data["classes"]), data["label_form"], target)


def dump_json(data: Any) -> bytes:
    """JSON as in the artefact: readable, and without NaN."""
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"
