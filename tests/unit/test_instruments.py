"""What metrics are made of, and the page that shows them all."""

import importlib.util
import re
import subprocess

import numpy as np
import pytest
from conftest import ROOT, tool
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from detector.instruments import Distribution, Table
from detector.metrics import DECADES, DELAYS_S, Metrics

KINDS = ("state", "onset")


@pytest.mark.parametrize("bounds", [DECADES, DELAYS_S, (0.0, 1.0)])
def test_a_distribution_says_what_the_clients_histogram_would(bounds: tuple[float, ...]) -> None:
    random, table, theirs = np.random.default_rng(1), Table(), CollectorRegistry()
    ours = table.distribution("seen_decades", "Seen.", bounds, kind=KINDS)
    one_by_one = Histogram("seen_decades", "Seen.", ["kind"], buckets=bounds, registry=theirs)
    one_by_one.labels("onset")
    one_by_one.labels("state")
    for size in (0, 1, 5, 1000):
        x = np.concatenate([random.exponential(3.0, size), random.choice(bounds, size)])
        ours.add(x, "state")
        for value in x.tolist():
            one_by_one.labels("state").observe(value)
    said, expected = (
        {
            sample.name + str(sorted(sample.labels.items())): sample.value
            for family in registry.collect()
            for sample in family.samples
        }
        for registry in (table.registry, theirs)
    )
    assert said == pytest.approx(expected)


def test_values_of_labels_that_are_known_beforehand_are_there_at_once() -> None:
    table = Table()
    table.counter("sent_total", "Sent.", kind=KINDS, severity=("warning",))
    table.gauge("behind_records", "Behind.", partition=())
    said = generate_latest(table.registry).decode()
    assert 'sent_total{kind="onset",severity="warning"} 0.0' in said
    assert "\nbehind_records" not in said
    assert [(row.name, row.type) for row in table.rows] == [
        ("sent_total", "counter"),
        ("behind_records", "gauge"),
    ]


def test_what_no_label_names_cannot_be_added() -> None:
    ours = Distribution("ages_seconds", "Ages.", (1,), {"kind": KINDS})
    with pytest.raises(KeyError):
        ours.add(np.ones(1), "another")


def test_every_row_of_the_table_is_exposed_by_its_name() -> None:
    metrics = Metrics(KINDS)
    exposed = generate_latest(metrics.registry).decode()
    types = dict(re.findall(r"^# TYPE (\S+) (\w+)$", exposed, re.MULTILINE))
    ours = {name: kind for name, kind in types.items() if name.startswith("detector_")}
    assert ours == {row.name: row.type for row in metrics.table.rows}
    assert len(metrics.table.rows) == len({row.says for row in metrics.table.rows})


def test_names_and_units_are_as_prometheus_wants_them() -> None:
    promtool = tool("promtool", "prometheus")
    body = generate_latest(Metrics(KINDS).registry)
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=body, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_the_page_of_metrics_is_up_to_date() -> None:
    path = ROOT / "docs" / "metrics.py"
    spec = importlib.util.spec_from_file_location("metrics_page", path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    page = path.with_suffix(".md").read_text(encoding="utf-8")
    assert page == made.page(), "run `python docs/metrics.py`"
