"""The form in which validated rows travel from the request to the predictor."""

from collections.abc import Mapping, Sequence
from typing import Any

Columns = Mapping[str, Sequence[Any]]
"""Values by feature name; None is missing."""
