"""The base of all settings."""

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """Base of all settings: unknown keys are errors, values never change, docstrings describe fields in the docs."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


SECRET = Field(json_schema_extra={"secret": True})
"""Marks a field that only the environment or a file of secrets may set."""


def listed_words(text: str) -> list[str]:
    """The entries of a list as an environment variable has it, separated by commas."""
    return [part.strip() for part in text.split(",") if part.strip()]
