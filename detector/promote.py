"""`detector promote`: a candidate takes the place of the model, by which it is taken on."""

import os
import tempfile
from pathlib import Path

from detector.errors import SettingsRejected
from detector.settings import Settings
from detector.signature import SUFFIX
from detector.trusted import load_trusted

PREVIOUS = ".previous"


def promote(settings: Settings, candidate: Path | None = None) -> str:
    """Replace the model file by a candidate, whole or not at all; keep the one before beside it.

    So to roll back is the same act, with MODEL.previous as the candidate.

    Args:
        settings: Name the model, the candidate, and whom to trust.
        candidate: The file; None: the settings' `shadow.model`.

    Returns:
        What was done, for a person.

    Raises:
        ArtifactRejected: If the candidate is not one to run.
        SettingsRejected: If none is named, or the model's folder cannot be written.
    """
    live, candidate = settings.model, candidate or settings.shadow.model
    if candidate is None:
        msg = "expected a candidate, saw none; name its file, or set DETECTOR_SHADOW__MODEL"
        raise SettingsRejected(msg)
    manifest = load_trusted(settings, candidate).manifest
    previous = live.with_name(live.name + PREVIOUS)
    # All is read before anything is written: the candidate may be the previous one.
    new, old = _contents(candidate), _contents(live)
    try:
        for content, path in ((old, previous), (new, live)):
            if content[0] is not None:
                _replace(path.with_name(path.name + SUFFIX), content[1])
                _replace(path, content[0])
    except OSError as error:
        msg = (
            f"{live}: expected to write beside it, saw: {error.strerror}; run this where the "
            "model's folder may be written, or replace the file as it was put there"
        )
        raise SettingsRejected(msg) from error
    return (
        f"{live} is {manifest.name} {manifest.version[:12]} now; the one before is {previous}"
        if old[0] is not None
        else f"{live} is {manifest.name} {manifest.version[:12]} now"
    )


def _contents(path: Path) -> tuple[bytes | None, bytes | None]:
    """Return what a model's file and its signature hold; None where there is none."""
    files = path, path.with_name(path.name + SUFFIX)
    found = [file.read_bytes() if file.exists() else None for file in files]
    return found[0], found[1]


def _replace(path: Path, content: bytes | None) -> None:
    """Let a file have another content, at once, and for good; None: let there be none."""
    if content is None:
        path.unlink(missing_ok=True)
        return
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        mode = path.stat().st_mode if path.exists() else 0o644
        Path(name).chmod(mode & 0o777)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
