"""Secrets: where one is, and what it is now. Nothing here ever prints one."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

LONGEST = 1 << 16  # bytes of a file; a token is a few thousand


@dataclass(frozen=True, slots=True)
class Secret:
    """A password or token, given itself or by the file that holds it.

    Attributes:
        value: The secret itself; its repr is stars.
        file: Read at each use, so that what was rotated needs no restart; white space around
            the secret is not part of it.

    Example:
        >>> Secret(SecretStr("hunter2"))
        Secret(value=SecretStr('**********'), file=None)
        >>> Secret(SecretStr("hunter2")).read()
        'hunter2'
    """

    value: SecretStr | None = None
    file: Path | None = None

    def read(self) -> str:
        """Return the secret as it is now.

        Raises:
            OSError: If the file cannot be read, or holds none; says which file.
        """
        if self.file is None:
            return self.value.get_secret_value() if self.value is not None else ""
        try:
            with self.file.open("rb") as content:
                text = content.read(LONGEST).decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            saw = getattr(error, "strerror", None) or "bytes that are not UTF-8"
            msg = f"expected a secret in {self.file}, saw: {saw}; mend the file or its permissions"
            raise OSError(msg) from None  # the cause may quote what it could not decode
        if not text:
            msg = f"expected a secret in {self.file}, saw an empty file; write it again"
            raise OSError(msg)
        return text
