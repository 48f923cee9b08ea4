"""The meaning of the text in a CSV field for a feature."""

import json
from datetime import datetime
from typing import Any

from ml_microservice.features.spec import Feature, as_utc

MISSING_WORDS = frozenset({"", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "NaT"})
"""Text that stands for a missing value, unless the feature is text or has a category of that name."""
BOOLEANS = {"true": True, "false": False, "1": True, "0": False}


def from_text(text: str, feature: Feature) -> Any:
    """The JSON value that a field means, None for a missing one; text that means nothing is left for the rules."""
    if feature.type == "string" or (feature.type == "category" and text in feature.values):
        return text or None
    if text in MISSING_WORDS:
        return None
    try:
        match feature.type:
            case "float":
                return float(text)
            case "int" | "category":
                return whole(float(text)) if "." in text or "e" in text.lower() else int(text)
            case "bool":
                return BOOLEANS.get(text.strip().lower(), text)
            case "vector":
                return json.loads(text)
            case "datetime":
                return as_utc(datetime.fromisoformat(text)).isoformat()
    except ValueError:
        return text


def whole(value: Any) -> Any:
    """A number that stands for a whole one as that: Parquet and CSV keep whole numbers with gaps as floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
