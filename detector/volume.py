"""How much is told, of whom and when. Pure."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from detector.records import SEVERITIES, Severity

Volume = Counter[tuple[str, str, Severity]]


def volume(alerts: Iterable[dict[str, Any]]) -> Volume:
    """Count alerts (not messages) by the day they opened (UTC), stream and worst severity.

    Args:
        alerts: Messages as alert.schema.json describes them, those of an alert in their order.

    >>> opened = {"id": "a", "stream": "pump", "at": "2026-01-01T23:59:59Z", "status": "open"}
    >>> later = {"id": "a", "stream": "pump", "at": "2026-01-02T00:00:00Z", "status": "update"}
    >>> volume([opened | {"severity": "warning"}, later | {"severity": "critical"}])
    Counter({('2026-01-01', 'pump', 'critical'): 1})
    """
    opened: dict[str, tuple[str, str]] = {}
    worst: dict[str, Severity] = {}
    for alert in alerts:
        opened.setdefault(alert["id"], (alert["at"][:10], alert["stream"]))
        one, severity = alert["id"], alert["severity"]
        worst[one] = max(worst.get(one, severity), severity, key=SEVERITIES.index)
    return Counter((*opened[one], worst[one]) for one in opened)
