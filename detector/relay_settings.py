"""The settings of the relay: one table beside the daemon's, whose Kafka it reads."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from detector.protection import Place, Table

Url = Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+(/\S*)?$", max_length=2000)]


class Relay(Table):
    """Where `detector relay` hands alerts on to; the daemon itself ignores it."""

    to: Literal["alertmanager", "webhook"] | None = Field(
        None, description="The one place that this relay serves; a second place is a second relay."
    )
    url: Url | None = Field(
        None, description="Alertmanager's address (without /api/v2/alerts), or the webhook's."
    )
    group: str | None = Field(
        None, min_length=1, description="Consumer group; None: the daemon's, -relay- and `to`."
    )
    from_beginning: bool = Field(
        default=False, description="Where a new group starts: the oldest alert kept, or new ones."
    )
    timeout_s: float = Field(10.0, ge=0.1, le=60, description="How long an answer may take.")
    cafile: Place | None = Field(
        None, description="PEM: who vouches for the server; None: whom the system trusts."
    )
    username: str | None = Field(
        None, min_length=1, pattern="^[^:]+$", description="Our name there (basic)."
    )
    password_file: Place | None = Field(None, description="Holds the password of username.")
    token_file: Place | None = Field(None, description="Holds a token (bearer).")
    secret_file: Place | None = Field(
        None, description="Holds what a webhook is signed with: whsec_ and base64; several: all."
    )
    resend_s: float = Field(
        60.0, ge=0.1, le=3600, description="Open alerts are told to Alertmanager again so often."
    )
    least_firing_s: float = Field(
        60.0, ge=0, le=3600, description="An alert fires so long at least: more than group_wait."
    )
    max_open: int = Field(
        10_000, ge=1, le=1_000_000, description="Alerts held; beyond, the oldest is forgotten."
    )
    forget_after_s: float = Field(
        2_592_000.0, gt=0, description="An open alert of which nothing is heard is forgotten."
    )
    replay_records: int = Field(
        100_000, ge=0, description="Alerts read again at a start, to know which are open."
    )
    port: int = Field(9109, ge=0, le=65535, description="Of its /metrics; the rest is in http.")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        faults = {
            "url, saw none": self.to and not self.url,
            "secret_file with to = webhook, saw none": self.to == "webhook"
            and not self.secret_file,
            "no secret_file with to = alertmanager, saw one": self.to == "alertmanager"
            and self.secret_file,
            "username and password_file together, saw one of them": (self.username is None)
            != (self.password_file is None),
            "username or token_file, saw both": self.username and self.token_file,
            "no cafile with http://, saw one": self.cafile and str(self.url).startswith("http://"),
        }
        for wanted, wrong in faults.items():
            if wrong:
                msg = f"expected {wanted}"
                raise ValueError(msg)
        return self
