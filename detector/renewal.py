"""The settings of what changes while the daemon runs: a candidate beside the model, reloads."""

import os
from pathlib import Path

from pydantic import Field

from detector.protection import Table

CONFIG_VARIABLE = "DETECTOR_CONFIG"


def settings_file() -> Path | None:
    """Return the file that settings were read from; None where there is none."""
    path = os.environ.get(CONFIG_VARIABLE)
    return Path(path) if path else None


class Shadow(Table):
    """A model that scores beside the one in use; what it says is compared, and nobody's alert."""

    model: Path | None = Field(None, description="The ONNX file of the candidate.")
    route: str = Field("", description="Whose streams it scores; empty: of no named route.")
    topic: str | None = Field(
        None,
        min_length=1,
        max_length=249,
        pattern=r"^[A-Za-z0-9._-]+$",
        description="Topic for the alerts that the candidate would have raised.",
    )


class Reload(Table):
    """How changed files are taken without a restart."""

    every_s: float = Field(
        5.0, ge=0.1, le=86_400, description="How often model, candidate and settings are looked at."
    )
    patience_s: float = Field(
        86_400.0,
        ge=0,
        le=10**7,
        description="How long streams may warm up in a new model before it judges all the same.",
    )
