"""What the runbook lets one type, as it stands there."""

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

from brokers import ApacheKafka
from conftest import ROOT, tool
from daemons import Topics

from detector.emit import KafkaSink
from detector.messages import alert_message
from detector.records import Alert, ChannelValue, Partition

ALERT = Alert(
    id="a", stream="pump-1", status="open", kind="state", severity="warning",
    opened_us=1_700_000_000_000_000, at_us=1_700_000_000_000_000, score=4.0, probability=1e-4,
    threshold=3.0, channels=(ChannelValue("pressure", "bar", 7.5, 2.5, -5.0, 1.0),), peak=4.0,
    cause="normal", model="pumps", version="0" * 64, partition=Partition("readings", 3), offset=42,
)  # fmt: skip
SAID = [
    replace(ALERT, id="over", stream="pump-0", probability=1e-9),
    ALERT,
    replace(ALERT, id="worse", stream="pump-2", kind="onset", probability=1e-3),
    replace(ALERT, id="over", stream="pump-0", status="close"),
    replace(
        ALERT, id="worse", stream="pump-2", kind="onset", probability=1e-6, status="update",
        severity="critical",
    ),
]  # fmt: skip


def test_the_worst_machines_are_shown_worst_first(
    apache_kafka: ApacheKafka, tmp_path: Path
) -> None:
    tool("jq", "jq")
    topics = Topics(apache_kafka.bootstrap_servers).create()
    sink = KafkaSink(topics.servers, [])
    sink.send([alert_message(alert, topics.alerts) for alert in SAID])
    sink.close()
    run = Path(os.environ["KAFKA_HOME"]) / "bin" / "kafka-run-class.sh"
    consumer = tmp_path / "kafka-console-consumer.sh"  # some archives have only its class
    consumer.write_text(
        f'#!/bin/sh\nexec {run} org.apache.kafka.tools.consumer.ConsoleConsumer "$@"\n'
    )
    consumer.chmod(0o755)
    runbook = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"```sh\n(.*?)```", runbook, re.DOTALL)
    command = command.replace("localhost:9092", topics.servers)
    command = command.replace("--topic alerts", f"--topic {topics.alerts}")
    done = subprocess.run(
        ["sh", "-c", command], env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    at = "2023-11-14T22:13:20.000000Z"
    assert [line.split("\t") for line in done.stdout.splitlines()] == [
        ["critical", "pump-2", "onset", at, "pressure"],
        ["warning", "pump-1", "state", at, "pressure"],
    ]
