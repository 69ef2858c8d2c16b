"""The model that the settings name, if it is one that they trust."""

from pathlib import Path

from detector.model import OnnxModel, load
from detector.settings import Settings
from detector.signature import Trust


def load_trusted(settings: Settings, path: Path | None = None) -> OnnxModel:
    """Load the model, or the one in `path`; see `model.load`.

    Raises:
        ArtifactRejected: If the file is not one to run.
        SettingsRejected: If the public key is none.
    """
    return load(
        path or settings.model,
        settings.model_threads,
        max_bytes=settings.model_max_bytes,
        trust=Trust(settings.model_public_key, settings.require_signature),
    )
