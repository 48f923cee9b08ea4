"""The fields of a request model: a feature may have any name, so its field has a name of its own."""

from ml_microservice.features.spec import FeatureSpec

ENTITY_ID = "entity_id"
"""The field of the entity id."""


def feature_fields(spec: FeatureSpec) -> dict[str, str]:
    """The feature of each field, in order; the fields are called `f0`, `f1`, ..."""
    return {f"f{index}": name for index, name in enumerate(spec.names)}
