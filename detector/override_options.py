"""The command line of overrides."""

import argparse
import getpass
import logging
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from detector.errors import ConnectionLost
from detector.override_command import ls, mute, threshold, unmute
from detector.overrides import Name, PerDay, Reason
from detector.settings import Settings, read_settings

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
LONGEST = timedelta(days=3660)
EXIT_FAILED = 1

Commands = argparse._SubParsersAction  # noqa: SLF001 - the library's only name for it
Act = Callable[[Settings, argparse.Namespace], int]


def add_override_commands(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add `mute`, `unmute`, `threshold` and `overrides` to the command line."""
    sub = _add(commands, "mute", mute, "mark a stream's alerts as muted for a while")
    _add_stream(sub)
    sub.add_argument(
        "--for", dest="length", type=_length, required=True, metavar="TIME", help="90s, 30m, 2h, 1d"
    )
    sub.add_argument(
        "--from",
        dest="begins",
        type=_moment,
        metavar="TIME",
        help="when it begins, such as 2026-01-31T06:00Z; without it: at once",
    )
    _add_author(sub, needed=True)
    _add_stream(_add(commands, "unmute", unmute, "take a mute back"))
    sub = _add(commands, "threshold", threshold, "give a stream a threshold of its own")
    _add_stream(sub)
    either = sub.add_mutually_exclusive_group(required=True)
    either.add_argument(
        "--false-alarms-per-day",
        dest="rate",
        type=_checked(PerDay, float),
        metavar="N",
        help="openings a day to accept on normal data",
    )
    either.add_argument("--reset", action="store_true", help="everybody's again")
    _add_author(sub, needed=False)
    overrides = commands.add_parser("overrides", help="show what operators said of streams")
    actions = overrides.add_subparsers(required=True, metavar="ACTION")
    _add(actions, "ls", ls, "a line an override: what, until when, who, when, why")


def _add(
    commands: "Commands[argparse.ArgumentParser]", name: str, act: Act, text: str
) -> argparse.ArgumentParser:
    more = "Settings as for `detector run`, of which every replica follows within two seconds."
    sub = commands.add_parser(name, help=text, description=f"{text.capitalize()}. {more}")
    sub.add_argument("--config", type=Path, help="TOML file with settings")
    sub.set_defaults(command=_command, act=act)
    return sub


def _add_stream(sub: argparse.ArgumentParser) -> None:
    whose = "its id, or a pattern of ids, such as 'pump-*'"
    sub.add_argument("stream", type=_checked(Name, str), help=whose)


def _add_author(sub: argparse.ArgumentParser, *, needed: bool) -> None:
    sub.add_argument(
        "--why", required=needed, default="", type=_checked(Reason, str), help="for those who ask"
    )
    sub.add_argument(
        "--by", default=_user(), type=_checked(Name, str), help="who says so (%(default)s)"
    )


def _command(options: argparse.Namespace) -> int:
    settings = read_settings(options.config)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # the error says it
    try:
        code: int = options.act(settings, options)
    except ConnectionLost as error:
        print(f"detector: {error}", file=sys.stderr)
        return EXIT_FAILED
    return code


def _checked(kind: object, read: Callable[[str], object]) -> Callable[[str], object]:
    """Return what turns an argument into a value that the control topic's records may hold."""

    def convert(text: str) -> object:
        try:
            return msgspec.convert(read(text), kind)
        except ValueError as error:  # msgspec's, too
            msg = f"{error}, saw {text[:80]!r}"
            raise argparse.ArgumentTypeError(msg) from error

    return convert


def _length(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)([smhd])", text)
    length = timedelta(seconds=float(found[1]) * UNITS_S[found[2]]) if found else timedelta()
    if not timedelta() < length <= LONGEST:
        msg = f"expected a time such as 90s, 30m, 2h or 1d, ten years at the most, saw {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return length


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = datetime.min  # noqa: DTZ901 - has no zone either
    if moment.tzinfo is None:
        msg = f"expected a time with its zone, such as 2026-01-31T06:00Z, saw {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return moment.astimezone(UTC)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container, where nobody is called anything
        return "unknown"
