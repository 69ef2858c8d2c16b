"""Every setting of the daemon, and the only reader of the environment.

`DETECTOR_KAFKA__TOPIC=readings` sets `topic` of the table `[kafka]`. A TOML file named by
`--config` or DETECTOR_CONFIG sets the same; the environment wins.
"""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from detector.errors import SettingsRejected
from detector.mapping import Input
from detector.protection import File, HttpSecurity, KafkaSecurity, Table
from detector.relay_settings import Relay
from detector.renewal import CONFIG_VARIABLE, Reload, Shadow
from detector.route_settings import RouteSettings
from detector.telling import Judge

PREFIX = "DETECTOR_"
SEPARATOR = "__"
SECRET = re.compile("password|token|secret|url")
HIDDEN_FAULTS = {"missing", "extra_forbidden", "value_error", "model_type"}

TopicNames = Annotated[
    str, Field(min_length=1, pattern=r"^[A-Za-z0-9._*?-]+(,[A-Za-z0-9._*?-]+)*$")
]
Topic = Annotated[str, Field(min_length=1, max_length=249, pattern=r"^[A-Za-z0-9._-]+$")]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Kafka(KafkaSecurity):
    """Where readings come from."""

    bootstrap_servers: str = Field("localhost:9092", description="host:port, comma separated.")
    topic: TopicNames = Field(
        "readings",
        description="Topic that carries the readings; several, comma separated, or a pattern such "
        "as plant-*.",
    )
    group: str = Field("detector", min_length=1, description="Consumer group; replicas share it.")
    max_poll_records: int = Field(
        5000, ge=1, le=100_000, description="Records a poll: more is faster, fewer is sooner."
    )
    poll_timeout_s: Seconds = Field(0.5, description="How long a poll waits for records.")
    session_timeout_s: float = Field(
        45.0, ge=1, le=1800, description="Silence after which the group takes a member for dead."
    )
    group_instance_id: str | None = Field(
        None,
        min_length=1,
        pattern=r"^[A-Za-z0-9._-]+$",
        description="Name of this replica, the same after a restart: it gets its partitions back.",
    )
    from_beginning: bool = Field(
        default=True,
        description="Where a new group starts: the oldest reading kept, or only new ones.",
    )


class Output(Table):
    """Where what is said goes."""

    to: Literal["kafka", "stdout"] = Field("kafka", description="stdout: one JSON line a message.")
    alerts_topic: Topic = Field("alerts", description="Topic for alerts.")
    dead_letters_topic: Topic = Field("dead-letters", description="Topic for bad records.")
    scores_topic: Topic | None = Field(
        None, description="Topic for the score of every reading; costs throughput."
    )


class DeadLetterLimit(Table):
    """When bad input stops the daemon instead of being set aside."""

    consecutive: int = Field(1000, ge=1, description="Bad records in a row of a partition.")
    share: float = Field(0.5, gt=0, le=1, description="Part of the records of a minute.")


class Delivery(Table):
    """What is promised, and how progress is kept."""

    guarantee: Literal["exactly_once", "at_least_once"] = Field(
        "exactly_once",
        description="exactly_once: transactions; at_least_once: a crash may repeat alert ids.",
    )
    commit_interval_s: Seconds = Field(5.0, description="Commit at least this often.")
    checkpoint_interval_s: Seconds = Field(
        30.0, description="State is written this often; a restart replays at most as much."
    )
    transaction_timeout_s: float = Field(
        30.0, ge=5, le=900, description="The broker undoes a transaction that takes longer."
    )
    shutdown_timeout_s: Seconds = Field(20.0, description="How long a SIGTERM may take.")
    watchdog_s: float = Field(
        300.0, ge=10, description="A loop that stands still this long ends the process."
    )


class State(Table):
    """What is kept of every stream."""

    topic: Topic | None = Field(
        None, description="Compacted topic that keeps state; None: the group's name and -state."
    )
    control_topic: Topic | None = Field(None, description="Of mutes; None: group and -control.")
    max_streams: int = Field(
        1_000_000, ge=1, description="Beyond, the streams longest idle are forgotten."
    )
    ttl_s: Seconds = Field(
        604_800.0, description="A stream idle for longer (event time) is forgotten."
    )


class Http(HttpSecurity):
    """/metrics, /livez and /readyz."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(9108, ge=0, le=65535, description="0 takes a free one and logs it.")
    stall_s: Seconds = Field(60.0, description="/livez fails when the loop stood still this long.")


class Log(Table):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level.")
    format: Literal["auto", "human", "json"] = Field(
        "auto", description="auto: human on a terminal, JSON otherwise."
    )


class Settings(BaseSettings):
    """All of it, checked and frozen."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=SEPARATOR,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    model: Path = Field(description="The ONNX file that `training fit` wrote.")
    model_threads: int = Field(1, ge=1, le=256, description="Cores a step of the model may use.")
    model_max_bytes: int = Field(256 << 20, ge=1, description="A larger model file is not read.")
    model_public_key: File | None = Field(
        None, description="PEM: Ed25519 key; MODEL.sig, where there is one, must be by its owner."
    )
    require_signature: bool = Field(
        default=False, description="Refuse a model without MODEL.sig; needs model_public_key."
    )
    kafka: Kafka = Kafka()
    input: Input = Input()
    judge: Judge = Judge()
    routes: tuple[RouteSettings, ...] = Field(
        (), description="Other models for some streams, in the order in which they are asked."
    )
    output: Output = Output()
    dead_letter_limit: DeadLetterLimit = DeadLetterLimit()
    delivery: Delivery = Delivery()
    state: State = State()
    http: Http = Http()
    log: Log = Log()
    shadow: Shadow = Shadow()
    reload: Reload = Reload()
    relay: Relay = Relay()

    @model_validator(mode="after")
    def _has_key(self) -> Self:
        if self.require_signature and self.model_public_key is None:
            msg = "expected model_public_key with require_signature, saw none"
            raise ValueError(msg)
        names = [route.name for route in self.routes]
        if len(set(names)) < len(names):
            msg = f"expected routes of different names, saw {', '.join(names)}"
            raise ValueError(msg)
        if self.shadow.route not in {"", *(route.name for route in self.routes if route.model)}:
            msg = f"expected the name of a route with a model, saw shadow.route {self.shadow.route}"
            raise ValueError(msg)
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is the library's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over file over defaults; no .env file is looked for."""
        path = os.environ.get(CONFIG_VARIABLE)
        file = (TomlConfigSettingsSource(settings_cls, Path(path)),) if path else ()
        return (init_settings, env_settings, *file)


def read_settings(config: Path | None = None, **overrides: Any) -> Settings:  # noqa: ANN401 - pydantic validates
    """Read the settings from the environment and an optional TOML file.

    Args:
        config: The TOML file; DETECTOR_CONFIG where None.
        overrides: Top-level fields from the command line; they win.

    Raises:
        SettingsRejected: Naming each setting that is missing, unknown or out of bounds.
    """
    if config is not None:
        os.environ[CONFIG_VARIABLE] = str(config)
    path = os.environ.get(CONFIG_VARIABLE)
    if path and not Path(path).is_file():
        msg = f"expected settings in {path}, saw no such file; mend --config or {CONFIG_VARIABLE}"
        raise SettingsRejected(msg)
    known = _known_variables()
    ours = [name for name in sorted(os.environ) if name.upper().startswith(PREFIX)]
    strangers = [name for name in ours if name.upper() not in known]
    unknown = f"unknown in the environment: {', '.join(strangers)}; " if strangers else ""
    try:
        settings = Settings(**{k: v for k, v in overrides.items() if v is not None})
    except ValidationError as error:
        raise SettingsRejected(unknown + _explain(error)) from error
    except SettingsError as error:  # a variable that is no table
        msg = f"{unknown}expected single settings such as {PREFIX}KAFKA__TOPIC, saw: {error}"
        raise SettingsRejected(msg) from error
    except ValueError as error:  # the TOML does not parse
        msg = f"{path}: expected TOML, saw: {error}"
        raise SettingsRejected(msg) from error
    if strangers:
        msg = f"{unknown}`detector run --help` lists all settings"
        raise SettingsRejected(msg)
    return settings


def fingerprint(settings: Settings) -> str:
    """Return a hash that tells apart replicas of one group that run on different settings.

    What each replica may have for itself does not count: its name, its port, its log, where its
    model lies, and a candidate beside it.
    """
    own = dict.fromkeys(("model", "http", "log", "shadow", "reload", "relay"), True)
    exclude: Any = {**own, "kafka": {"group_instance_id"}, "routes": {"__all__": {"model"}}}
    ours = settings.model_dump(mode="json", exclude=exclude)
    return hashlib.sha256(json.dumps(ours, sort_keys=True).encode()).hexdigest()[:12]


def describe() -> list[tuple[str, str, str]]:
    """Return each setting's variable, default and description, in order."""
    lines = []
    for name, info in Settings.model_fields.items():
        table = info.annotation
        if isinstance(table, type) and issubclass(table, Table):
            for key, field in table.model_fields.items():
                variable = f"{PREFIX}{name}{SEPARATOR}{key}".upper()
                lines.append((variable, str(field.default), field.description or ""))
        else:
            default = "required" if info.is_required() else _shown(info.default)
            lines.append((f"{PREFIX}{name}".upper(), default, info.description or ""))
    return lines


def _shown(default: object) -> str:
    return "[]" if default == () else str(default)


def notify_socket() -> str | None:
    """Return the socket that systemd listens on for this service, if there is one."""
    return os.environ.get("NOTIFY_SOCKET")


def _known_variables() -> set[str]:
    return {variable for variable, _, _ in describe()} | {CONFIG_VARIABLE}


def _explain(error: ValidationError) -> str:
    """Say each fault in terms of the setting's name."""
    faults = []
    for fault in error.errors():
        where = ".".join(map(str, fault["loc"]))
        variable = PREFIX + SEPARATOR.join(map(str, fault["loc"])).upper()
        # What was put under an unknown name, or into a table, may be a secret.
        shown = fault["type"] not in HIDDEN_FAULTS and not SECRET.search(where)
        saw = f", saw {str(fault['input'])[:80]!r}" if shown else ""
        named = f"{where} ({variable}): " if where else ""  # several at once have no name
        faults.append(f"{named}{fault['msg']}{saw}")
    return "; ".join(faults) + "; `detector run --help` lists all settings"
