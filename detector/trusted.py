"""The model that the settings name, if it is one that they trust."""

from detector.model import OnnxModel, load
from detector.settings import Settings
from detector.signature import Trust


def load_trusted(settings: Settings) -> OnnxModel:
    """Load the model; see `model.load`.

    Raises:
        ArtifactRejected: If the file is not one to run.
        SettingsRejected: If the public key is none.
    """
    return load(
        settings.model,
        settings.model_threads,
        max_bytes=settings.model_max_bytes,
        trust=Trust(settings.model_public_key, settings.require_signature),
    )
