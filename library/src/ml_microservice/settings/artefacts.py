"""Settings of model versions."""

from pathlib import Path

from ml_microservice.settings.section import Section


class ArtefactSettings(Section):
    """Where trained models are stored, and which version is served."""

    directory: Path = Path("model_bin")
    """Folder of all model versions, relative to the project."""
    version: str = "current"
    """Model version to serve; `current` is the version that was trained last."""
