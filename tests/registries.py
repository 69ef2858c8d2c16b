"""Schema registries to test against: a real one where REGISTRY_HOME names it, and a stand-in."""

import json
import os
import ssl
import subprocess
import threading
import urllib.request
from collections.abc import Sequence
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
from brokers import steady_port
from daemons import until

from detector.wire import MAGIC

API = "/apis/ccompat/v7"


def framed(number: int, body: bytes) -> bytes:
    """Return a body as serializers write it that know a registry."""
    return MAGIC + number.to_bytes(4, "big") + body


def avro(schema: Any, document: object, named: Sequence[Any] = ()) -> bytes:
    """Return a document in Avro, without a header."""
    known: dict[str, Any] = {}
    for one in named:
        fastavro.parse_schema(one, named_schemas=known)
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema, named_schemas=known), document)
    return out.getvalue()


class Apicurio:
    """Apicurio Registry with Confluent's API, in memory: nothing survives `stop`."""

    def __init__(self) -> None:
        self.port = steady_port()
        self.url = f"http://127.0.0.1:{self.port}{API}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        jar = Path(os.environ["REGISTRY_HOME"]) / "registry.jar"
        listen = ("-Dquarkus.http.host=127.0.0.1", f"-Dquarkus.http.port={self.port}")
        self._process = subprocess.Popen(
            ["java", "-Xmx300m", *listen, "-jar", jar], stdout=subprocess.DEVNULL
        )
        until(self.answers, "a registry that answers", 120)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.stop()

    def register(self, subject: str, schema: object, **more: object) -> int:
        """Add a version of a subject's schema; return its id."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        body = json.dumps({"schema": text, **more}).encode()
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        path, kind = f"{API}/subjects/{subject}/versions", {"Content-Type": "application/json"}
        connection.request("POST", path, body, kind)
        said = json.load(connection.getresponse())
        connection.close()
        assert "id" in said, said
        return int(said["id"])

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{API}/subjects", timeout=5):
                return True
        except OSError:
            return False


class StandIn:
    """Answers what a test says; counts what it is asked.

    Attributes:
        answers: Status and body of each path; others are none that it has.
        asked: Paths, in order.
        credentials: The last request's.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.asked: list[str] = []
        self.credentials: str | None = None
        self.location: str | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                outer.credentials = self.headers.get("Authorization")
                none = (404, b'{"error_code": 40403, "message": "none"}')
                status, body = outer.answers.get(self.path, none)
                self.send_response(status)
                if outer.location:
                    self.send_header("Location", outer.location)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "https" if certificate else "http"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def has(self, number: int, schema: object, **more: object) -> None:
        text = schema if isinstance(schema, str) else json.dumps(schema)
        said = json.dumps({"schema": text, **more}).encode()
        self.answers[f"/schemas/ids/{number}"] = (200, said)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
