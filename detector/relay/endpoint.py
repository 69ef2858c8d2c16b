"""HTTP as far as a relay speaks it: one POST a connection, and what the answer means."""

import base64
import http.client
import ssl
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from detector.relay_settings import Relay
from detector.secret import Secret

# What is wrong with this one message, and stays wrong. All else (a path that is not there yet, a
# token that is not known any more) somebody can mend, and then nothing is lost.
REFUSALS = frozenset({400, 409, 413, 414, 422, 431})
LONGEST_WAIT_S = 3600.0  # that a server may ask for
SAID_BYTES = 500
AGENT = {"User-Agent": "sensor-anomaly-detector"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request.

    Attributes:
        status: HTTP's; 0 where no answer came.
        said: The beginning of the answer, or why there was none.
        wait_s: How long the server asks us to wait (Retry-After); None where it does not.
    """

    status: int
    said: str = ""
    wait_s: float | None = None

    @property
    def good(self) -> bool:
        """Whether it was taken."""
        return self.status // 100 == 2  # noqa: PLR2004 - HTTP's

    @property
    def refused(self) -> bool:
        """Whether it will never be taken."""
        return self.status in REFUSALS


class Endpoint:
    """Where to POST. Certificates, passwords and tokens are read anew for each request."""

    def __init__(self, settings: Relay, path: str = "") -> None:
        """Remember the address; `path` is put behind that of the settings."""
        parts = urlsplit(settings.url or "")
        self._settings = settings
        self._https = parts.scheme == "https"
        self._host = parts.netloc
        self._path = (parts.path.rstrip("/") + path if path else parts.path) or "/"
        self._path += f"?{parts.query}" if parts.query else ""

    def post(self, body: bytes, headers: dict[str, str], now_s: float) -> Answer:
        """Send a request and wait for its answer; a failure is an answer, too.

        Args:
            body: What to send.
            headers: Of HTTP, beside those that say who we are.
            now_s: For a Retry-After that is a date.
        """
        try:
            everything = AGENT | headers | self._authorization()
            with closing(self._connection()) as connection:
                connection.request("POST", self._path, body, everything)
                answer = connection.getresponse()
                said = answer.read(SAID_BYTES).decode(errors="replace").strip()
                wait_s = wait_asked(answer.getheader("Retry-After"), now_s)
                return Answer(answer.status, said or answer.reason, wait_s)
        # A ValueError: a header that holds what it must not, as a token of two lines.
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Answer(0, f"{type(error).__name__}: {error}")

    def _connection(self) -> http.client.HTTPConnection:
        timeout_s = self._settings.timeout_s
        if not self._https:
            return http.client.HTTPConnection(self._host, timeout=timeout_s)
        context = ssl.create_default_context(cafile=self._settings.cafile)
        return http.client.HTTPSConnection(self._host, timeout=timeout_s, context=context)

    def _authorization(self) -> dict[str, str]:
        settings = self._settings
        if settings.token_file:
            return {"Authorization": f"Bearer {Secret(file=settings.token_file).read()}"}
        if settings.username:
            pair = f"{settings.username}:{Secret(file=settings.password_file).read()}"
            return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        return {}


def wait_asked(retry_after: str | None, now_s: float) -> float | None:
    """Return how long a Retry-After header asks to wait, in s; None where it does not.

    >>> wait_asked("120", 0), wait_asked("Thu, 01 Jan 1970 00:00:30 GMT", 10), wait_asked("x", 0)
    (120.0, 20.0, None)
    """
    if retry_after is None:
        return None
    try:
        if retry_after.strip().isdecimal():
            asked_s = float(retry_after)
        else:
            until = parsedate_to_datetime(retry_after)
            asked_s = until.replace(tzinfo=until.tzinfo or UTC).timestamp() - now_s
    except (ValueError, OverflowError):
        return None
    return min(max(asked_s, 0.0), LONGEST_WAIT_S)
