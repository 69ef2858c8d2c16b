"""Who may read /metrics, and the certificate the port shows."""

import base64
import binascii
import hmac
import socket
import ssl

from detector.protection import HttpSecurity
from detector.secret import Secret


class Guard:
    """Asks for a password or a token, and encrypts; both only where the settings say so."""

    def __init__(self, security: HttpSecurity) -> None:
        """Make sure that the certificate can be used.

        Raises:
            OSError: If it cannot; an `ssl.SSLError` is one.
        """
        self._security = security
        if security.certfile:
            self._context()

    @property
    def challenge(self) -> str:
        """What a refused client is told to bring (RFC 9110, 11.6.1)."""
        scheme = "Basic" if self._security.username else "Bearer"
        return f'{scheme} realm="detector"'

    def allows(self, authorization: str) -> bool:
        """Say whether a request with this Authorization header may read the metrics.

        The files are read anew; one that cannot be read lets nobody in.
        """
        security = self._security
        if not security.username and not security.token_file:
            return True
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() == "basic" and security.username:
            told = _decoded(given)
            return _same(told, security.username + ":", Secret(file=security.password_file))
        if scheme.lower() == "bearer" and security.token_file:
            return _same(given.strip().encode(), "", Secret(file=security.token_file))
        return False

    def encrypt(self, sock: socket.socket) -> socket.socket:
        """Return the socket, behind TLS where there is a certificate; it is read anew.

        The handshake comes with the first byte, on the connection's own thread and in its time.
        """
        if not self._security.certfile:
            return sock
        return self._context().wrap_socket(sock, server_side=True, do_handshake_on_connect=False)

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(str(self._security.certfile), self._security.keyfile)
        return context


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _same(given: bytes, prefix: str, secret: Secret) -> bool:
    try:
        return hmac.compare_digest(given, (prefix + secret.read()).encode())
    except OSError:
        return False
