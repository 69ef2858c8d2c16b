"""The settings that protect: TLS and SASL towards Kafka, TLS and passwords of /metrics."""

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from detector.secret import Secret


class Table(BaseModel):
    """A group of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _located(path: Path) -> Path:
    """Return where a file is; a bare name is looked for among systemd's credentials first."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder and len(path.parts) == 1 and (Path(folder) / path).is_file():
        return Path(folder) / path
    return path


def _found(path: Path) -> Path:
    """Find a file; see `_located`."""
    path = _located(path)
    if not path.is_file():
        msg = f"expected a file {path}, saw none that this user can see"
        raise ValueError(msg)
    return path


File = Annotated[Path, AfterValidator(_found)]
# One that only another process, which shares the settings, must find.
Place = Annotated[Path, AfterValidator(_located)]
Hidden = Annotated[SecretStr, Field(min_length=1)]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]


class KafkaSecurity(Table):
    """How Kafka knows us, and we it. Files are read again with each new connection."""

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Of the broker's listener."
    )
    ssl_cafile: File | None = Field(
        None, description="PEM: who vouches for brokers; None: whom the system trusts."
    )
    ssl_certfile: File | None = Field(None, description="PEM: our certificate, for mutual TLS.")
    ssl_keyfile: File | None = Field(None, description="PEM: its key; None: in ssl_certfile.")
    ssl_key_password_file: File | None = Field(None, description="Holds the key's password.")
    ssl_check_hostname: bool = Field(
        default=True, description="A broker's certificate must name the host we asked."
    )
    sasl_mechanism: Mechanism | None = Field(None, description="How we prove who we are.")
    sasl_username: str | None = Field(None, min_length=1, description="Not for OAUTHBEARER.")
    sasl_password: Hidden | None = Field(None, description="Better: sasl_password_file.")
    sasl_password_file: File | None = Field(None, description="Holds the password.")
    sasl_token_file: File | None = Field(None, description="Holds OAUTHBEARER's token.")

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.security_protocol.endswith("SSL")

    @property
    def sasl(self) -> bool:
        """Whether we log in."""
        return self.security_protocol.startswith("SASL")

    @property
    def password(self) -> Secret:
        """The password of `sasl_username`."""
        return Secret(self.sasl_password, self.sasl_password_file)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        given = {n for n in type(self).model_fields if getattr(self, n) not in (None, True)}
        for prefix, used, names in (
            ("ssl_", self.tls, "SSL or SASL_SSL"),
            ("sasl_", self.sasl, "SASL_PLAINTEXT or SASL_SSL"),
        ):
            idle = sorted(n for n in given if n.startswith(prefix))
            if idle and not used:
                saw = self.security_protocol
                msg = f"expected security_protocol {names} with {', '.join(idle)}, saw {saw}"
                raise ValueError(msg)
        if (self.ssl_keyfile or self.ssl_key_password_file) and not self.ssl_certfile:
            msg = "expected ssl_certfile beside ssl_keyfile, saw none"
            raise ValueError(msg)
        if self.sasl:
            self._check_sasl(given)
        return self

    def _check_sasl(self, given: set[str]) -> None:
        secrets = given & {"sasl_password", "sasl_password_file", "sasl_token_file"}
        if self.sasl_mechanism == "OAUTHBEARER":
            good, wanted = secrets == {"sasl_token_file"}, "sasl_token_file and no password"
        else:
            good = len(secrets) == 1 and secrets != {"sasl_token_file"}
            good &= self.sasl_username is not None
            wanted = "sasl_username, and sasl_password_file or sasl_password"
        if self.sasl_mechanism is None or not good:
            saw = ", ".join(sorted(n for n in given if n.startswith("sasl_"))) or "none"
            how = self.sasl_mechanism or "sasl_mechanism"
            msg = f"expected with {self.security_protocol} and {how}: {wanted}; saw {saw}"
            raise ValueError(msg)


class HttpSecurity(Table):
    """Who may read /metrics. Files are read again with each connection."""

    certfile: File | None = Field(
        None, description="PEM: certificate (and key); the port then speaks TLS only."
    )
    keyfile: File | None = Field(None, description="PEM: its key; None: in certfile.")
    username: str | None = Field(
        None, min_length=1, pattern="^[^:]+$", description="/metrics asks for it (basic)."
    )
    password_file: File | None = Field(None, description="Holds the password of username.")
    token_file: File | None = Field(None, description="Holds a token; /metrics asks for it.")

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        if (self.username is None) != (self.password_file is None):
            msg = "expected username and password_file together, saw one of them"
            raise ValueError(msg)
        if self.keyfile and not self.certfile:
            msg = "expected certfile beside keyfile, saw none"
            raise ValueError(msg)
        return self
