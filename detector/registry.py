"""A schema registry that speaks Confluent's API: schemas by id."""

import base64
import json
import ssl
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, urlsplit

from detector.errors import RegistryLost
from detector.mapping import Input
from detector.secret import Secret

TIMEOUT_S = 5.0
LARGEST = 4 << 20  # bytes of an answer; a schema is some thousand
MOST_REFERENCES = 100
OK, NOT_FOUND, REFUSED = 200, 404, {401, 403}
# The API's own codes for what it has not: a subject, its version, a schema.
NOT_THERE = {40401, 40402, 40403}

Answer = dict[str, Any]  # JSON


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema as the registry has it.

    Attributes:
        kind: AVRO, JSON or PROTOBUF.
        text: Itself.
        references: The schemas whose names it uses, each before those that use it.
    """

    kind: str
    text: str
    references: tuple[str, ...] = ()


def registry_of(given: Input) -> "Registry":
    """Return the registry that the settings name."""
    return Registry(
        given.registry_url or "",
        username=given.registry_username,
        password=Secret(file=given.registry_password_file),
        cafile=given.registry_cafile,
    )


class Registry:
    """Asks a registry; every request is a connection of its own, so files may be rotated."""

    def __init__(
        self,
        url: str,
        *,
        username: str | None = None,
        password: Secret | None = None,
        cafile: Path | None = None,
    ) -> None:
        """Remember where it is; nothing is asked yet.

        Args:
            url: http or https, a host, perhaps a port and a path.
            username: For basic authentication; none where None.
            password: Read with each request.
            cafile: PEM: who vouches for it; whom the system trusts where None.
        """
        self.url = url
        self._parts = urlsplit(url)
        self._username = username
        self._password = password or Secret()
        self._cafile = cafile

    def schema(self, number: int) -> Schema | None:
        """Return the schema of an id; None where the registry has none of it.

        Raises:
            RegistryLost: If it does not answer, or not as a registry does.
        """
        found = self._get(f"/schemas/ids/{number}")
        if found is None:
            return None
        texts: dict[tuple[str, int], str] = {}
        try:
            self._refer(found, texts, ())
        except (TypeError, KeyError, ValueError) as error:
            self._fail(f"references that are none: {error!r}")
        kind = found.get("schemaType") or "AVRO"
        return Schema(str(kind), self._text(found), tuple(texts.values()))

    def ping(self) -> None:
        """Ask for something cheap.

        Raises:
            RegistryLost: If it does not answer, or not as a registry does.
        """
        self._get("/schemas/ids/1")

    def _refer(
        self, found: Answer, texts: dict[tuple[str, int], str], above: tuple[tuple[str, int], ...]
    ) -> None:
        """Add the schemas that one refers to, those first that they refer to themselves."""
        for reference in found.get("references") or ():
            subject, version = str(reference["subject"]), int(reference["version"])
            if (subject, version) in texts or (subject, version) in above:
                continue
            if len(texts) + len(above) >= MOST_REFERENCES:
                self._fail(f"more than {MOST_REFERENCES} references of a schema")
            one = self._get(f"/subjects/{quote(subject, safe='')}/versions/{version}")
            if one is None:
                self._fail(f"no {subject} version {version}, which a schema refers to")
            self._refer(one, texts, (*above, (subject, version)))
            texts[subject, version] = self._text(one)

    def _text(self, found: Answer) -> str:
        text = found.get("schema")
        if not isinstance(text, str):
            self._fail("an answer without a schema")
        return text

    def _get(self, path: str) -> Answer | None:
        """Return the object that a path answers with; None where it says that it has none."""
        connection = self._connection()
        try:
            where = self._parts.path.rstrip("/") + path
            connection.request("GET", where, headers=self._headers())
            answer = connection.getresponse()
            body = answer.read(LARGEST + 1)
        except (OSError, HTTPException) as error:  # a secret that cannot be read is an OSError
            self._fail(f"{type(error).__name__}: {error}")
        finally:
            connection.close()
        try:
            said = json.loads(body)
        except (ValueError, RecursionError):
            said = None
        if answer.status == OK and isinstance(said, dict):
            return said
        code = said.get("error_code") if isinstance(said, dict) else None
        if answer.status != NOT_FOUND or code not in NOT_THERE:
            self._fail(f"{answer.status} {answer.reason}{self._remedy(answer)}")
        return None

    def _connection(self) -> HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "http":
            return HTTPConnection(host, port, timeout=TIMEOUT_S)
        try:
            context = ssl.create_default_context(cafile=self._cafile)
        except OSError as error:
            self._fail(f"{self._cafile}: {error}")
        return HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/vnd.schemaregistry.v1+json, application/json"}
        if self._username is not None:
            plain = f"{self._username}:{self._password.read()}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(plain).decode()}"
        return headers

    def _remedy(self, answer: HTTPResponse) -> str:
        if answer.status in REFUSED:
            return "; set input.registry_username and input.registry_password_file"
        if answer.status == NOT_FOUND:
            return "; is the path in input.registry_url right?"
        location = answer.getheader("Location")
        return f"; input.registry_url moved to {location[:200]}" if location else ""

    def _fail(self, saw: str) -> NoReturn:
        msg = f"expected a schema registry at {self.url} to answer, saw {saw}"
        raise RegistryLost(msg)
