"""`detector promote` at the command line."""

import argparse
from pathlib import Path

from detector.promote import promote
from detector.routed import settings_for
from detector.settings import read_settings


def add_promote(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    sub = commands.add_parser(
        "promote",
        help="put a candidate in the place of the model; a running daemon takes it on",
        description="Put a candidate in the place of the model file, whole or not at all, and "
        "keep the one before beside it as MODEL.previous. A daemon that runs takes it on. "
        "Settings as for `detector run`.",
        epilog="to roll back: detector promote MODEL.previous",
    )
    sub.add_argument("candidate", type=Path, nargs="?", help="the file (DETECTOR_SHADOW__MODEL)")
    sub.add_argument("--route", help="whose model (DETECTOR_SHADOW__ROUTE)")
    sub.add_argument("--config", type=Path, help="TOML file with settings")
    sub.add_argument("--model", type=Path, help="model file; instead of DETECTOR_MODEL")
    sub.set_defaults(command=_promote)


def _promote(options: argparse.Namespace) -> int:
    settings = read_settings(options.config, model=options.model)
    route = settings.shadow.route if options.route is None else options.route
    print(promote(settings_for(settings, route), options.candidate))
    return 0
