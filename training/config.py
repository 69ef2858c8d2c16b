"""One TOML file says all of a training run; this is what may stand in it."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from detector.errors import SettingsRejected
from detector.files import PART_ROWS

Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
MOST_SYMBOLS = 256  # of a channel: each is a column of the network, and a number a stream
Kind = Literal[
    "rnn",
    "lstm",
    "gru",
    "encoder_decoder",
    "bidirectional",
    "attention",
    "convolution",
    "memory",
    "tcn",
    "transformer",
    "persistence",
]


class Table(BaseModel):
    """A table of the file: frozen, and nothing unknown in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataChannel(Table):
    """One channel, and where it is in the files."""

    name: str = Field(min_length=1, description="What alerts and metrics call it.")
    column: str | None = Field(None, description="Its column, where that has another name.")
    unit: str = Field("", description="For people: bar, °C.")
    valid: tuple[float, float] | None = Field(
        None, description="Lowest and highest value a sensor can tell; others are missing."
    )
    role: Literal["telemetry", "command", "status", "event"] | None = Field(
        None,
        description="Telemetry is scored, command and status inform, an event is a symbol that is "
        "foretold; default: status if 0 or 1 only, else telemetry.",
    )
    symbols: tuple[str, ...] = Field(
        (),
        max_length=MOST_SYMBOLS,
        description="Names of an event's codes, from 0 on; a file may hold either.",
    )

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _spelled(self) -> Self:
        names, fault = self.symbols, ""
        if self.role != "event" and names:
            fault = f'expected `role = "event"` beside `symbols`, saw {self.role or "no role"}'
        elif self.role == "event" and len(names) < 2:  # noqa: PLR2004 - one foretells itself
            fault = (
                f"expected an event to have two `symbols` or more, saw {len(names)}; name all that "
                'can come, in the order of their codes from 0 on: symbols = ["idle", "fill"]'
            )
        elif len(set(names)) < len(names):
            fault = f"expected `symbols` that differ, saw {', '.join(names)}"
        elif numbers := [name for name in names if not name or name[0].isdigit()]:
            fault = f"expected names as `symbols`, saw {numbers[0]!r}: a number is a code already"
        if fault:
            msg = f"channel {self.name!r}: {fault}"
            raise ValueError(msg)
        return self


class Data(Table):
    """Which files, and which column is what."""

    files: tuple[str, ...] = Field(
        min_length=1, description="Paths or patterns, from the folder of this file."
    )
    channels: tuple[DataChannel, ...] = Field(
        min_length=1, description="Names, or tables of name, column, unit and valid."
    )
    time: str = Field("ts", description="Column of the event time.")
    stream: str | None = Field(None, description="Column of the stream id; none: one a file.")
    rows_per_file: int | None = Field(
        None, ge=1, le=PART_ROWS, description="Use only the first rows of each file."
    )
    period_s: Positive | None = Field(None, description="Between two readings; default: median.")
    largest_gap_s: Positive | None = Field(
        None, description="A longer silence starts a stream afresh; default: 60 periods."
    )

    @property
    def symbols(self) -> dict[int, int]:
        """How many symbols each event channel has, by its place among the channels."""
        return {
            c: len(channel.symbols) for c, channel in enumerate(self.channels) if channel.symbols
        }


class Network(Table):
    """The shape of the autoencoder."""

    kind: Kind = Field("lstm", description=f"Which network: {', '.join(get_args(Kind))}.")
    hidden: Count = Field(48, description="Width of its layers.")
    bottleneck: Count = Field(4, description="What it must squeeze the stream through.")
    window: Count = Field(8, description="Newest readings that are reconstructed from that.")


class Fit(Table):
    """How it is trained."""

    epochs: Count = Field(40, description="At most so many passes over the training share.")
    patience: Count = Field(6, description="Passes without a better validation before it ends.")
    chunk: Count = Field(64, description="Readings between two steps of the optimiser (TBPTT).")
    lanes: Count = Field(64, description="Sequences side by side.")
    piece: Count = Field(2048, description="Longest sequence whose state is carried.")
    learning_rate: Positive = Field(3e-3, description="Of Adam; falls where nothing improves.")
    clip: Positive = Field(1.0, description="Largest norm of a gradient.")
    noise: float = Field(0.1, ge=0, le=1, description="Added to inputs, in standard deviations.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Share of hidden units left out.")
    channel_dropout: float = Field(
        0.15, ge=0, lt=1, description="Share of channels hidden, in a quarter of the chunks."
    )
    seed: int = Field(0, description="Of every random number.")
    shares: tuple[Share, Share, Share] = Field(
        (0.6, 0.15, 0.25),
        description="Of every stream's rows, by time: training, validation, calibration.",
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if abs(sum(self.shares) - 1) > 1e-6:  # noqa: PLR2004 - rounding of decimals
            msg = f"expected shares that add up to 1, saw {sum(self.shares):g}"
            raise ValueError(msg)
        return self


class Score(Table):
    """What is remembered of normal, to score by."""

    windows: int = Field(
        512, ge=0, le=65_536, description="Windows of normal history that are remembered."
    )
    levels: int = Field(
        64, ge=0, le=1024, description="Levels a channel that a stream remembers; 0: no `onset`."
    )
    warm_up: Count = Field(400, description="Readings after a start that are never alerted.")


class Evaluate(Table):
    """Labelled data to measure against; never used to train or to calibrate."""

    files: tuple[str, ...] = Field(min_length=1, description="As in [data].")
    label: str = Field("anomaly", description="Column that is not 0 where something is wrong.")
    skip_rows: int = Field(0, ge=0, description="First rows of each stream that do not count.")
    false_alarms_per_stream_day: Positive = Field(0.1, description="As in the daemon's settings.")


class Config(Table):
    """All of it."""

    name: str = Field(min_length=1, description="Of the model; alerts carry it.")
    data: Data
    network: Network = Network()
    fit: Fit = Fit()
    score: Score = Score()
    evaluate: Evaluate | None = None


def read_config(path: Path) -> Config:
    """Read a training configuration.

    Raises:
        SettingsRejected: Naming each entry that is missing, unknown or out of bounds.
    """
    return _validated(path, _content(path))


def read_recipe(path: Path) -> dict[str, Any]:
    """Read only how to train, not on what: the tables `network`, `fit` and `score`, where given.

    Raises:
        SettingsRejected: As `read_config`; `name` and `data` may be missing.
    """
    content = _content(path)
    nothing = {"name": "none", "data": {"files": ["none"], "channels": ["none"]}}
    _validated(path, nothing | content)
    return {name: content[name] for name in ("network", "fit", "score") if name in content}


def _content(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"{path}: expected a training configuration, saw: {error.strerror}"
        raise SettingsRejected(msg) from error
    except ValueError as error:  # neither TOML nor text
        msg = f"{path}: expected TOML, saw: {error}"
        raise SettingsRejected(msg) from error


def _validated(path: Path, content: dict[str, Any]) -> Config:
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in error.errors()]
        msg = f"{path}: {'; '.join(faults)}; `training fit --help` lists all entries"
        raise SettingsRejected(msg) from error
