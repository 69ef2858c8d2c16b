"""Breaks the daemon in every way we know, and looks whether anybody could tell.

`make chaos SEEDS=1000`: each seed is a run of its own - a fleet, members, misfortunes - on one
Apache Kafka (KAFKA_HOME). `--first` begins with another seed, to see a failure again; `--long`
lets every record be one value (the long layout). A line a run; figures of all runs in
build/chaos.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from brokers import ApacheKafka
from daemons import until
from members import EXPECTED_EXITS, SESSION_S, Members
from nemesis import Nemesis
from proxy import Proxy
from story import Record, Story, tell
from verdict import Verdict, chunk_of, judge_run
from versions import another_version

from detector.emit import KafkaSink
from detector.equip import equip
from detector.model import load
from detector.overrides import Overrides
from detector.records import Message, Partition
from detector.routed import routes_of, settings_for
from detector.scorer import Scorer
from detector.settings import Settings
from detector.telling import Judge
from detector.topics import create_topics, partitions_of
from training.demo.broker import free_port

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own, on import
    from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition  # type: ignore[import-untyped]
    from kafka.admin import AbortTransactionSpec  # type: ignore[import-untyped]

BUILD = Path(__file__).parents[2] / "build"
MOMENTS, SECONDS, MOMENT_S = 80, 320, 0.12
DRAIN_S = 90.0
# Both kinds of evidence open, grow and close, and often.
JUDGE = Judge(
    false_alarms_per_stream_day=100, open_after=1, close_after=2, cool_down_s=5, lasting_s=4,
    opens_per_hour=12, group_streams=2, group_within_s=20,
)  # fmt: skip
PLACES = 3  # wires: members beyond share them


@dataclass
class Outcome:
    """One run: its verdict, and what it took.

    Attributes:
        faults: What must not happen to the processes: crashes, or an end that never came.
    """

    story: Story
    verdict: Verdict
    acts: Counter[str]
    exits: Counter[int]
    kills: int
    rebalances: int
    hanging: int
    faults: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        verdict, exactly = self.verdict, self.story.guarantee == "exactly_once"
        wrong = verdict.lost + verdict.strange + verdict.reordered + len(self.faults)
        return not wrong and not (exactly and (verdict.repeated or verdict.state_mismatches))


class World:
    """A broker with wires to it, and a model: what all runs share."""

    def __init__(self, model: Path) -> None:
        self.model = model
        self.folder = tempfile.TemporaryDirectory()
        for name in ("other", "next"):
            another_version(model, Path(self.folder.name) / f"{name}.onnx", mark=name)
        self.proxies = [Proxy() for _ in range(PLACES)]
        self.broker = ApacheKafka(tuple(proxy.port for proxy in self.proxies))
        for proxy, door in zip(self.proxies, self.broker.doors, strict=True):
            proxy.forward(door)
        self.broker.start()

    @property
    def servers(self) -> str:
        return self.broker.bootstrap_servers

    def close(self) -> None:
        for proxy in self.proxies:
            proxy.close()
        self.broker.close()
        self.folder.cleanup()

    def settings(self, story: Story) -> dict[str, Any]:
        """Return the settings that a story asks for, as a tree."""
        given: dict[str, Any] = {"model": self.model, "judge": dict(JUDGE)}
        if story.tags:
            given["input"] = {"values": "v", "tags": story.tags}
        if story.apart:
            others = {"name": "odd", "streams": "*[13579]", "model": str(self.other("other"))}
            given |= {"routes": [others], "shadow": {"model": str(self.other("next"))}}
        return given

    def other(self, name: str) -> Path:
        """Return the model under another version."""
        return Path(self.folder.name) / f"{name}.onnx"

    def run(self, seed: int, folder: Path, *, long: bool = False, apart: bool = False) -> Outcome:
        """Play a seed's story, let the nemesis act, and judge what is left."""
        story, random = tell(seed, MOMENTS, SECONDS, long=long, apart=apart), Random(seed + 1)
        play = Play(self, story)
        folder.mkdir(parents=True, exist_ok=True)
        servers = [f"127.0.0.1:{proxy.port}" for proxy in self.proxies]
        members = Members(story, random, play.environment(), servers, folder)
        time.sleep(1.5)
        nemesis = Nemesis(members, self.broker, self.proxies, Random(seed + 2), play.grow)
        try:
            for batch in story.batches:
                play.write(batch)
                time.sleep(MOMENT_S)
        finally:
            nemesis.close()
        faults = [] if play.drained() else ["not all was read: it hangs"]
        codes = members.close()
        faults += [
            f"exit code {code} when asked to stop" for code in codes if code not in EXPECTED_EXITS
        ]
        faults += [f"exit code {code}" for code in members.exits if code not in EXPECTED_EXITS]
        faults += self._heir(play, folder)
        logs = [path.read_text(errors="replace") for path in folder.glob("*.log")]
        faults += ["a traceback in a log" for log in logs if "Traceback" in log][:1]
        rebalances = sum(log.count("partitions moved") for log in logs)
        hanging = play.abort_hanging()
        verdict = play.judge()
        kills, exits = members.kills, members.exits
        return Outcome(story, verdict, nemesis.acts, exits, kills, rebalances, hanging, faults)

    def _heir(self, play: "Play", folder: Path) -> list[str]:
        """Let one more member, undisturbed, take all over and keep it; return what is wrong.

        The others may have died in their last checkpoint: what is kept then is less, and enough.
        """
        port = free_port()
        environment = {
            **os.environ,
            **play.environment(),
            "DETECTOR_KAFKA__BOOTSTRAP_SERVERS": self.servers,
            "DETECTOR_HTTP__PORT": str(port),
        }
        with (folder / "heir.log").open("wb") as log:
            heir = subprocess.Popen(
                [sys.executable, "-m", "detector", "run"], env=environment, stderr=log
            )
        try:
            until(lambda: _is_ready(port) or heir.poll() is not None, "an heir", DRAIN_S)
        except AssertionError as error:
            heir.kill()
            return [str(error)]
        heir.terminate()
        code = heir.wait(DRAIN_S)
        return [f"exit code {code} of the heir"] if code else []


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


class Play:
    """The topics of one run."""

    def __init__(self, world: World, story: Story) -> None:
        self._world = world
        self._story = story
        mark = f"{story.seed}-{int(time.time() * 1000) % 10**8}"
        self.group = f"chaos-{mark}"
        self.names = {name: f"{name}-{mark}" for name in ("readings", "alerts", "dead")}
        if story.scores:
            self.names["scores"] = f"scores-{mark}"
        self._partitions = story.partitions
        self._sink = KafkaSink(world.servers, [])
        create_topics(world.servers, [self.names["readings"]], story.partitions)
        create_topics(world.servers, [n for k, n in self.names.items() if k != "readings"], 2)

    def environment(self) -> dict[str, str]:
        """Return the members' settings."""
        story = self._story
        ours: dict[str, object] = {
            "model": self._world.model,
            "kafka__topic": self.names["readings"],
            "kafka__group": self.group,
            "kafka__session_timeout_s": SESSION_S,
            "kafka__poll_timeout_s": 0.2,
            "kafka__max_poll_records": story.poll_records,
            "output__alerts_topic": self.names["alerts"],
            "output__dead_letters_topic": self.names["dead"],
            "delivery__guarantee": story.guarantee,
            "delivery__commit_interval_s": 0.5,
            "delivery__checkpoint_interval_s": story.checkpoint_s,
            "delivery__transaction_timeout_s": 5,
            "delivery__watchdog_s": 60,
            **{f"judge__{name}": value for name, value in JUDGE},
            **self._apart(),
            "http__port": 0,
            "log__level": "debug",
        }
        if "scores" in self.names:
            ours["output__scores_topic"] = self.names["scores"]
        if story.tags:
            ours |= {"input__values": "v", "input__tags": json.dumps(story.tags)}
        return {f"DETECTOR_{name}".upper(): str(value) for name, value in ours.items()}

    def _apart(self) -> dict[str, object]:
        given = self._world.settings(self._story)
        if not self._story.apart:
            return {}
        return {"routes": json.dumps(given["routes"]), "shadow__model": given["shadow"]["model"]}

    def write(self, batch: list[Record]) -> None:
        """Write a moment's records; partitions that were added have a stream of their own."""
        topic, first = self.names["readings"], self._story.partitions
        extra = [
            (partition, b"extra-%02d" % partition, value)
            for partition in range(first, self._partitions)
            for _, key, value in batch
            if key == b"pump-00"
        ]
        messages = [Message(topic, key, value, partition=p) for p, key, value in batch + extra]
        _patiently(lambda: self._sink.send(messages))

    def grow(self) -> None:
        """Add a partition to the input."""

        topic, wanted = self.names["readings"], self._partitions + 1

        def act() -> None:
            if partitions_of(self._world.servers, topic) < wanted:
                with closing(KafkaAdminClient(bootstrap_servers=self._world.servers)) as admin:
                    admin.create_partitions({topic: wanted})

        if self._partitions < self._story.partitions + 2:
            _patiently(act)
            time.sleep(0.5)
            self._partitions = wanted

    def drained(self) -> bool:
        """Wait until the group has committed all; say whether it has."""
        parts = [TopicPartition(self.names["readings"], n) for n in range(self._partitions)]
        consumer = KafkaConsumer(
            bootstrap_servers=self._world.servers, group_id=self.group, enable_auto_commit=False
        )
        ends = consumer.end_offsets(parts)
        deadline = time.monotonic() + DRAIN_S
        done = False
        while not done and time.monotonic() < deadline:
            time.sleep(0.3)
            done = all((consumer.committed(tp) or 0) >= ends[tp] for tp in parts)
        consumer.close()
        return done

    def abort_hanging(self) -> int:
        """Abort transactions that nobody will end, as an operator would; return how many.

        A broker that is killed while it undoes a transaction may forget a partition of it.
        """
        topics = [*self.names.values(), f"{self.group}-state"]
        with closing(KafkaAdminClient(bootstrap_servers=self._world.servers)) as admin:
            parts = [
                TopicPartition(topic["name"], partition["partition_index"])
                for topic in admin.describe_topics(topics)
                for partition in topic["partitions"]
            ]
            deadline = time.monotonic() + 10
            while open_ := _open(admin, parts):
                if time.monotonic() > deadline:
                    for spec in open_:
                        admin.abort_transaction(spec)
                    return len(open_)
                time.sleep(0.5)
        return 0

    def judge(self) -> Verdict:
        """Read all topics to their ends and compare."""
        self._sink.close()
        readings, state = self.names["readings"], f"{self.group}-state"
        records = _read(self._world.servers, [*self.names.values(), state])
        inputs = [
            chunk_of(Partition(tp.topic, tp.partition), found)
            for tp, found in records.items()
            if tp.topic == readings and found
        ]
        outputs = [
            (tp.topic, record)
            for tp, found in records.items()
            if tp.topic not in {readings, state}
            for record in found
        ]
        changelog = {
            tp.partition: [(record.key, record.value) for record in found]
            for tp, found in records.items()
            if tp.topic == state
        }
        settings = Settings(**self._world.settings(self._story))

        def scorer(name: str) -> Scorer:
            own = settings_for(settings, name)
            return equip(own, load(own.model), overrides=Overrides(), route=name)

        return judge_run(routes_of(settings, scorer), self.names, inputs, outputs, changelog)


def _open(admin: Any, parts: list[Any]) -> list[AbortTransactionSpec]:
    """Return the transactions that are open on partitions."""
    return [
        AbortTransactionSpec(tp, producer.producer_id, producer.producer_epoch)
        for tp, producers in admin.describe_producers(parts).items()
        for producer in producers.active_producers
        if producer.current_transaction_start_offset >= 0
    ]


def _patiently(act: Callable[[], object]) -> None:
    """Do something while the broker may be away: an idempotent producer, or an admin."""
    deadline = time.monotonic() + 60
    while True:
        try:
            act()
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)
        else:
            return


def _read(servers: str, topics: list[str]) -> dict[Any, list[Any]]:
    """Return all committed records of topics, by partition."""
    consumer = KafkaConsumer(
        bootstrap_servers=servers,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    parts = [
        TopicPartition(topic, n)
        for topic in topics
        for n in consumer.partitions_for_topic(topic) or ()
    ]
    consumer.assign(parts)
    found: dict[Any, list[Any]] = {tp: [] for tp in parts}
    ends, deadline = consumer.end_offsets(parts), time.monotonic() + 60
    while any(consumer.position(tp) < ends[tp] for tp in parts):
        assert time.monotonic() < deadline, "expected to read all topics within a minute"
        for tp, records in consumer.poll(timeout_ms=200).items():
            found[tp] += records
    consumer.close()
    return found


def line(outcome: Outcome) -> str:
    """Say a run in a line."""
    story, verdict = outcome.story, outcome.verdict
    how = f"{story.members}m {story.partitions}p {story.guarantee}" + " static" * story.static
    return (
        f"{'ok  ' if outcome.good else 'FAIL'} seed {story.seed:5} {how:32} "
        f"{outcome.kills:3} kills {outcome.rebalances:3} moves {verdict.alerts:4} alerts "
        f"lost {verdict.lost} repeated {verdict.repeated} strange {verdict.strange} "
        f"state {verdict.state_mismatches}/{verdict.streams} "
        f"{f'hanging {outcome.hanging} ' if outcome.hanging else ''}{' '.join(outcome.faults)}"
    )


def figures(outcomes: list[Outcome]) -> dict[str, object]:
    """Sum up all runs; exactly_once and at_least_once apart where they promise otherwise."""
    exactly = [one for one in outcomes if one.story.guarantee == "exactly_once"]
    acts: Counter[str] = sum((one.acts for one in outcomes), Counter())
    return {
        "runs": len(outcomes),
        "failed_seeds": [one.story.seed for one in outcomes if not one.good],
        "kills": sum(one.kills for one in outcomes),
        "pauses": acts["pause"] + acts["short pause"],
        "rebalances": sum(one.rebalances for one in outcomes),
        "broker_restarts": acts["restart the broker"],
        "hanging_transactions": sum(one.hanging for one in outcomes),
        "alerts_expected": sum(one.verdict.alerts for one in outcomes),
        "messages_expected": sum(one.verdict.expected for one in outcomes),
        "lost": sum(one.verdict.lost for one in outcomes),
        "strange": sum(one.verdict.strange for one in outcomes),
        "reordered": sum(one.verdict.reordered for one in outcomes),
        "repeated": sum(one.verdict.repeated for one in exactly),
        "repeated_at_least_once": sum(
            one.verdict.repeated for one in outcomes if one not in exactly
        ),
        "state_mismatches": sum(one.verdict.state_mismatches for one in exactly),
        "streams_compared": sum(one.verdict.streams for one in exactly),
        "process_faults": sum(len(one.faults) for one in outcomes),
        "acts": dict(acts),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--long", action="store_true", help="a record is one value")
    parser.add_argument("--apart", action="store_true", help="two models, and a candidate")
    options = parser.parse_args()
    if "KAFKA_HOME" not in os.environ:
        print("chaos: expected KAFKA_HOME to name an Apache Kafka, saw none")
        return 2
    world = World(BUILD / "chaos" / "run" / "model.onnx")
    outcomes: list[Outcome] = []
    try:
        for seed in range(options.first, options.first + options.seeds):
            folder = BUILD / "chaos" / f"seed-{seed}"
            outcomes.append(world.run(seed, folder, long=options.long, apart=options.apart))
            print(line(outcomes[-1]), flush=True)
            for example in outcomes[-1].verdict.examples if not outcomes[-1].good else ():
                print("     ", example, flush=True)
            text = json.dumps(figures(outcomes), indent=2)
            (BUILD / "chaos.json").write_text(text + "\n", encoding="utf-8")
    finally:
        world.close()
    print(text)
    return int(any(not outcome.good for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
