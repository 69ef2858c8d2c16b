"""Writes metrics.md, beside it, from the daemon's own tables: `python docs/metrics.py`."""

from itertools import groupby
from pathlib import Path

from prometheus_client import generate_latest

from detector.instruments import Row
from detector.metrics import POSITIONS, Metrics
from detector.relay.watch import RelayMetrics

PAGE = Path(__file__).with_suffix(".md")
# What every model of this release has.
KINDS = ("state", "onset")

HEAD = (
    "Served as `/metrics` on port 9108, in Prometheus's text format. "
    "[`deploy/prometheus`](../deploy/prometheus) scrapes them, derives rates and alerts; "
    "[runbook.md](runbook.md) says what an alert means; [`deploy/grafana`](../deploy/grafana) "
    "draws them. This page is written by `python docs/metrics.py` from the table in "
    "[`detector/metrics.py`](../detector/metrics.py); what [the relay](relay.md) serves, on port "
    "9109, from [`detector/relay/watch.py`](../detector/relay/watch.py).\n\n"
    "No label names a stream, so their number costs nothing here: a replica has {fixed} series, "
    "and {each} for each partition it holds. Which stream it is stands in the topic of alerts: "
    "[runbook.md](runbook.md#which-machine-is-it).\n\n"
    "Counters and histograms begin with the process: take `rate()` or `increase()` of them. Every "
    "label whose values are known beforehand is there from the start, at 0."
)
TAIL = (
    "Beside these there is what every Python client of Prometheus tells of its process: "
    "`process_cpu_seconds_total`, `process_resident_memory_bytes`, "
    "`process_virtual_memory_bytes`, `process_start_time_seconds`, `process_open_fds` and "
    "`process_max_fds`."
)


def page() -> str:
    """Return the page."""
    metrics = Metrics(KINDS)
    for info in (metrics.model.labels("", ""), metrics.config.labels(""), metrics.build.labels("")):
        info.set(1)
    fixed = len(
        [line for line in generate_latest(metrics.registry).splitlines() if line[:1] != b"#"]
    )
    head = HEAD.format(fixed=fixed, each=1 + len(POSITIONS))
    text = f"# Metrics\n\n{head}\n"
    relay = RelayMetrics("alertmanager or webhook")
    every = metrics.table.rows + relay.table.rows
    for section, rows in groupby(every, key=lambda row: row.section):
        text += f"\n## {section}\n\n| metric | type | labels | |\n| --- | --- | --- | --- |\n"
        text += "".join(f"{_line(row)}\n" for row in rows)
    return f"{text}\n{TAIL}\n"


def _line(row: Row) -> str:
    labels = "; ".join(
        f"`{label}`" + (f": {', '.join(f'`{value}`' for value in values)}" if values else "")
        for label, values in row.labels.items()
    )
    return f"| `{row.name}` | {row.type} | {labels} | {row.says} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
