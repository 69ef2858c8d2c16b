"""A Kafka cluster: what every client of ours is told of it, and what its refusals mean."""

import logging
import socket
import ssl
import time
import warnings
from dataclasses import dataclass
from typing import Any

from detector.protection import KafkaSecurity
from detector.secret import Secret

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own, on import
    from kafka.errors import (  # type: ignore[import-untyped]
        AuthorizationError,
        KafkaError,
        SaslAuthenticationFailedError,
        UnsupportedSaslMechanismError,
    )
    from kafka.net.sasl import register_sasl_mechanism  # type: ignore[import-untyped]
    from kafka.net.sasl.oauth import AbstractTokenProvider, SaslMechanismOAuth  # type: ignore[import-untyped]
    from kafka.net.sasl.plain import SaslMechanismPlain  # type: ignore[import-untyped]
    from kafka.net.sasl.scram import SaslMechanismScram  # type: ignore[import-untyped]

HEARD_S = 30.0  # what the client logged longer ago explains nothing that fails now
PASSWORD = "sasl_plain_password"  # noqa: S105 - the name of an option


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where a cluster is, and how it knows us; as text, its servers."""

    bootstrap_servers: str
    security: KafkaSecurity = KafkaSecurity()  # noqa: RUF009 - frozen

    def __str__(self) -> str:
        return self.bootstrap_servers


def client_options(where: str | Cluster) -> dict[str, Any]:
    """Return the arguments of a kafka-python client that say where and how to connect.

    Passwords are not among them, only where to read them with each new connection.

    Args:
        where: The cluster, or the servers of one without security.
    """
    security = where.security if isinstance(where, Cluster) else KafkaSecurity()
    options: dict[str, Any] = {
        "bootstrap_servers": str(where).split(","),
        "security_protocol": security.security_protocol,
    }
    if security.tls:
        options |= {
            "ssl_check_hostname": security.ssl_check_hostname,
            "ssl_cafile": _text(security.ssl_cafile),
            "ssl_certfile": _text(security.ssl_certfile),
            "ssl_keyfile": _text(security.ssl_keyfile),
            "ssl_password": _key_password(security),
        }
    if security.sasl:
        options["sasl_mechanism"] = security.sasl_mechanism
        if security.sasl_mechanism == "OAUTHBEARER":
            options["sasl_oauth_token_provider"] = _Token(Secret(file=security.sasl_token_file))
        else:
            options |= {"sasl_plain_username": security.sasl_username, PASSWORD: security.password}
    return options


def shake_hands(where: str | Cluster, sock: socket.socket, host: str) -> None:
    """Make sure of the broker's certificate; does nothing where there is no TLS.

    The client would only say that it could not connect.

    Raises:
        OSError: If either side refuses the other; says what to do.
    """
    if not isinstance(where, Cluster) or not where.security.tls:
        return
    security = where.security
    context = ssl.create_default_context(cafile=_text(security.ssl_cafile))
    context.check_hostname = security.ssl_check_hostname
    try:
        if security.ssl_certfile:
            key, password = _text(security.ssl_keyfile), _key_password(security)
            context.load_cert_chain(security.ssl_certfile, key, password)
        with context.wrap_socket(sock, server_hostname=host):
            return
    except ssl.SSLError as error:
        msg = f"{error.strerror or error}; {_tls_remedy(error)}"
        raise OSError(msg) from error


def explain(where: str | Cluster, error: KafkaError) -> str:
    """Say what a client's error means: what was expected, what was seen, what to do."""
    security = where.security if isinstance(where, Cluster) else KafkaSecurity()
    heard = _heard.lately() if not isinstance(error, AuthorizationError) else None
    cause = heard or error
    saw = _said(error) + (f" ({_said(heard)})" if heard and heard is not error else "")
    remedy = _remedy(security, cause)
    return f"expected Kafka at {where} to answer, saw {saw}{remedy and '; ' + remedy}"


def _remedy(security: KafkaSecurity, cause: Exception) -> str:
    who = security.sasl_username or ("our certificate" if security.tls else "ANONYMOUS")
    if isinstance(cause, AuthorizationError):
        return f"let {who} do that (kafka-acls): docs/operate.md lists what the daemon does"
    if isinstance(cause, SaslAuthenticationFailedError):
        file = security.sasl_password_file or security.sasl_token_file
        place = file or "DETECTOR_KAFKA__SASL_PASSWORD"
        return f"expected the broker to know {who}; mend {place}, which is tried again, or the user"
    if isinstance(cause, UnsupportedSaslMechanismError):
        return "set DETECTOR_KAFKA__SASL_MECHANISM to one that the listener offers"
    return ""


def _tls_remedy(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        if "expired" in error.verify_message:
            return "renew the broker's certificate, or mend the clock"
        if "match" in error.verify_message:
            return "name the broker in kafka.bootstrap_servers as its certificate does"
        return "expected one that DETECTOR_KAFKA__SSL_CAFILE vouches for; mend that, or the broker"
    return "is that a TLS listener, and are DETECTOR_KAFKA__SSL_CERTFILE and its key right?"


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(map(str, error.args))}"


def _text(path: object) -> str | None:
    return str(path) if path else None


def _key_password(security: KafkaSecurity) -> Any:  # noqa: ANN401 - ssl takes what it calls
    file = security.ssl_key_password_file
    return Secret(file=file).read if file else None


def _revealed(config: dict[str, Any]) -> dict[str, Any]:
    secret = config.get(PASSWORD)
    return config | {PASSWORD: secret.read()} if isinstance(secret, Secret) else config


class _Plain(SaslMechanismPlain):  # type: ignore[misc]  # the client is untyped
    """Reads the password when it is needed: once a connection."""

    def __init__(self, **config: Any) -> None:  # noqa: ANN401
        super().__init__(**_revealed(config))
        _heard.begun(self)


class _Scram(SaslMechanismScram):  # type: ignore[misc]
    """Likewise."""

    def __init__(self, **config: Any) -> None:  # noqa: ANN401
        super().__init__(**_revealed(config))
        _heard.begun(self)


class _OAuth(SaslMechanismOAuth):  # type: ignore[misc]
    """Only tells that a login began."""

    def __init__(self, **config: Any) -> None:  # noqa: ANN401
        super().__init__(**config)
        _heard.begun(self)


class _Token(AbstractTokenProvider):  # type: ignore[misc]
    """Reads the token likewise; whoever writes the file keeps it fresh."""

    def __init__(self, secret: Secret) -> None:
        self._secret = secret

    def token(self) -> str:
        """Return the token as it is now."""
        return self._secret.read()


class _Heard(logging.Handler):
    """Remembers why the client could not connect: it tells its log, and not its caller."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._cause: tuple[Exception, float] | None = None
        self._login: tuple[Any, float] | None = None

    def begun(self, login: Any) -> None:  # noqa: ANN401
        """Note a login: a broker that refuses it hangs up, often before its reason is read."""
        self._login = (login, time.monotonic())

    def emit(self, record: logging.LogRecord) -> None:
        args = record.args if isinstance(record.args, tuple) else ()
        for arg in args:
            refused = isinstance(arg, SaslAuthenticationFailedError | UnsupportedSaslMechanismError)
            if isinstance(arg, Exception) and (refused or "expected a secret" in str(arg)):
                self._cause = (arg, time.monotonic())

    def lately(self) -> Exception | None:
        """Return the last reason, where it is fresh; only once."""
        cause, login = self._cause, self._login
        self._cause = self._login = None
        since_s = time.monotonic() - HEARD_S
        if cause and cause[1] > since_s:
            return cause[0]
        if login and login[1] > since_s and not login[0].is_authenticated():
            msg = "the connection ended while we logged in"
            refused: Exception = SaslAuthenticationFailedError(msg)
            return refused
        return None


for _name, _mechanism in (
    ("PLAIN", _Plain), ("SCRAM-SHA-256", _Scram), ("SCRAM-SHA-512", _Scram),
    ("OAUTHBEARER", _OAuth),
):  # fmt: skip
    register_sasl_mechanism(_name, _mechanism, overwrite=True)
_heard = _Heard()
_log = logging.getLogger("kafka.net.manager")
_log.addHandler(_heard)
_log.setLevel(logging.WARNING)  # even where the client itself is silenced
