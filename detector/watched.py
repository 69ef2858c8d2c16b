"""Files that are looked at again and again: has their content changed, and is it at rest?"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

Traits = tuple[tuple[int, ...] | None, ...]


class Watched:
    """Some files that belong together, such as a model and its signature.

    A look costs a stat a file; the content is read when that differs, and has stayed so for two
    looks: who writes a file is let finish. Links are followed, so a ConfigMap's swap is seen.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Take the content as it is now for known."""
        self.paths = tuple(paths)
        self._traits = self._seen = _traits(self.paths)
        self._digest = _digest(self.paths)

    def news(self, *, at_once: bool = False) -> bool:
        """Look; return whether there is a content that was not there at the last `True`.

        Args:
            at_once: Somebody says that it is at rest.
        """
        traits = _traits(self.paths)
        if traits == self._traits:
            return False
        at_rest, self._seen = traits == self._seen or at_once, traits
        if not at_rest:
            return False
        self._traits, digest = traits, _digest(self.paths)
        new, self._digest = digest != self._digest, digest
        return new


def _traits(paths: Sequence[Path]) -> Traits:
    """Return what tells one file from another without reading it; None for one that is not."""
    return tuple(map(_trait, paths))


def _trait(path: Path) -> tuple[int, ...] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _digest(paths: Sequence[Path]) -> str:
    """Return a hash of the contents; a file that cannot be read is as good as none."""
    total = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
        except OSError:
            total.update(b"none")
    return total.hexdigest()
