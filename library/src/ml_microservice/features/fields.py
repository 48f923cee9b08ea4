"""The field names of request models: generated, since a feature may have any name."""

from ml_microservice.features.spec import FeatureSpec

ENTITY_ID = "entity_id"
"""The field of the entity id."""


def feature_fields(spec: FeatureSpec) -> dict[str, str]:
    """The feature of each field, in order; the fields are called `f0`, `f1`, ..."""
    return {f"f{index}": name for index, name in enumerate(spec.names)}
