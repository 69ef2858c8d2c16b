"""What metrics are made of: the client's own, each noted in a table, and one filled from arrays."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

import numpy as np
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

from detector.records import Doubles

# A second series for each counter, which nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]

Labels = dict[str, Sequence[str]]
Made = TypeVar("Made", bound=MetricWrapperBase)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table of all metrics.

    Attributes:
        section: What it belongs to.
        name: As it is scraped; a histogram's without `_bucket`, `_sum`, `_count`.
        type: `counter`, `gauge` or `histogram`.
        labels: Each with its values, where these are known beforehand.
        says: What it counts or measures.
    """

    section: str
    name: str
    type: str
    labels: Labels
    says: str


class Distribution(Collector):
    """A histogram that takes an array at a time: no Python a reading.

    Example:
        >>> ages = Distribution("age_seconds", "Ages.", (1, 10), {})
        >>> ages.add(np.array([0.5, 1, 7, 700]))
        >>> [(s.labels["le"], s.value) for s in next(iter(ages.collect())).samples[:3]]
        [('1.0', 2.0), ('10.0', 3.0), ('+Inf', 4.0)]
    """

    def __init__(self, name: str, says: str, bounds: Sequence[float], labels: Labels) -> None:
        """Start empty, with a histogram for each value of the label, if there is one."""
        self._name, self._says, self._labels = name, says, list(labels)
        self._bounds = np.array(bounds, np.float64)
        nothing = (np.zeros(len(bounds) + 1, np.int64), 0.0)
        # Counts and sum are replaced together: a scrape in between sees both or neither.
        self._told = dict.fromkeys(product(*labels.values()), nothing)

    def add(self, x: Doubles, *values: str) -> None:
        """Take observations.

        Args:
            x: [N], none below zero.
            values: Of the labels.
        """
        counts, total = self._told[values]
        within = np.searchsorted(np.sort(x), self._bounds, side="right")
        self._told[values] = counts + np.append(within, len(x)), total + float(x.sum())

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """Return it as the client's registry asks for it."""
        family = HistogramMetricFamily(self._name, self._says, labels=self._labels)
        edges = [*map(str, self._bounds.tolist()), "+Inf"]
        for values, (counts, total) in self._told.items():
            buckets = list(zip(edges, map(float, counts.tolist()), strict=True))
            family.add_metric(values, buckets, total)
        return [family]


class Table:
    """Makes metrics on a registry of its own, and notes a row of each.

    Labels are given with their values: all combinations are there from the start, at 0, so that
    the first event is seen as a rise. A label without values is filled as they come.

    Attributes:
        registry: What is scraped.
        rows: In the order they were made.
        section: Of the rows that come next.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.rows: list[Row] = []
        self.section = ""

    def counter(self, name: str, says: str, /, **labels: Sequence[str]) -> Counter:
        """Make what only rises."""
        made = Counter(name, says, list(labels), registry=self.registry)
        self._note(name, "counter", says, labels)
        return _begun(made, labels)

    def gauge(self, name: str, says: str, /, **labels: Sequence[str]) -> Gauge:
        """Make what rises and falls."""
        made = Gauge(name, says, list(labels), registry=self.registry)
        self._note(name, "gauge", says, labels)
        return _begun(made, labels)

    def histogram(
        self, name: str, says: str, bounds: Sequence[float], /, **labels: Sequence[str]
    ) -> Histogram:
        """Make a histogram of single events."""
        made = Histogram(name, says, list(labels), buckets=bounds, registry=self.registry)
        self._note(name, "histogram", says, labels)
        return _begun(made, labels)

    def distribution(
        self, name: str, says: str, bounds: Sequence[float], /, **labels: Sequence[str]
    ) -> Distribution:
        """Make a histogram of arrays."""
        made = Distribution(name, says, bounds, labels)
        self.registry.register(made)
        self._note(name, "histogram", says, labels)
        return made

    def _note(self, name: str, kind: str, says: str, labels: Labels) -> None:
        self.rows.append(Row(self.section, name, kind, labels, says))


def _begun(made: Made, labels: Labels) -> Made:
    """Make each combination of labels that is known beforehand start at 0."""
    if labels:
        for values in product(*labels.values()):
            made.labels(*values)
    return made
