"""Writes the PrometheusRule anew from Prometheus' own rules file: `python rules.py`."""

from pathlib import Path
from textwrap import indent

HERE = Path(__file__).parent
RULES = HERE.parent / "prometheus" / "rules.yml"
WRITTEN = HERE / "components" / "monitoring" / "prometheusrule.yaml"

HEAD = """\
# Made by deploy/kubernetes/rules.py from deploy/prometheus/rules.yml; change them there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: detector
  labels: {app.kubernetes.io/name: detector}
spec:
"""


def prometheus_rule(rules: str) -> str:
    """Return the object that holds a rules file: what is in it, two columns to the right."""
    return HEAD + indent(rules, "  ")


if __name__ == "__main__":
    WRITTEN.write_text(prometheus_rule(RULES.read_text(encoding="utf-8")), encoding="utf-8")
