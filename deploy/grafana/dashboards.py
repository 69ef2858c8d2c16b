"""Writes the dashboards as JSON, beside it: `python deploy/grafana/dashboards.py`."""

import json
from itertools import count
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from machines import machines
from operation import operation

FOLDER = Path(__file__).with_suffix("")
BOARDS = {"machines.json": machines, "operation.json": operation}


def as_json(board: dashboard.Dashboard) -> str:
    """Return a dashboard as Grafana reads it, every panel with a number of its own."""
    made = board.build()
    for number, panel in zip(count(1), made.panels or [], strict=False):
        panel.id_val = number
    return json.dumps(made, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name, make in BOARDS.items():
        (FOLDER / name).write_text(as_json(make()), encoding="utf-8")
        print(f"wrote {FOLDER / name}")
