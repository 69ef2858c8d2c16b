"""Brokers to test against: Tansu always, Apache Kafka where KAFKA_HOME points at one."""

import os
import random
import socket
import subprocess
import tempfile
from pathlib import Path

from training.demo.broker import TansuBroker, wait_for_port

PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners={listeners}
advertised.listeners={advertised}
listener.security.protocol.map={protocols}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={folder}/data
num.partitions=1
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
transaction.max.timeout.ms=900000
log.cleaner.dedupe.buffer.size=16777216
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
auto.create.topics.enable=false
"""


def steady_port() -> int:
    """Return a loopback port that stays free while its owner is away.

    Not one of those that the kernel gives to outgoing connections: a client that tries to reach
    a broker that is down could get the broker's own port, and keep it.
    """
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)):
                return port


class ApacheKafka:
    """One KRaft node in a folder of its own; keeps its data over `stop` and `start`.

    Attributes:
        doors: Ports that it also listens on, where it sends clients on to ports of others:
            to proxies, by which they reach it.
    """

    def __init__(self, proxies: tuple[int, ...] = ()) -> None:
        self.port = steady_port()
        self.doors = tuple(steady_port() for _ in proxies)
        self._home = Path(os.environ["KAFKA_HOME"])
        self._folder = tempfile.TemporaryDirectory(prefix="kafka-")
        self._properties = Path(self._folder.name) / "server.properties"
        self._process: subprocess.Popen[bytes] | None = None
        self._properties.write_text(
            PROPERTIES.format(folder=self._folder.name, **self._listeners(proxies))
        )
        self._run("kafka-storage.sh", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c")

    def _listeners(self, proxies: tuple[int, ...]) -> dict[str, object]:
        controller = steady_port()
        ours = {"PLAINTEXT": self.port} | {f"DOOR{n}": p for n, p in enumerate(self.doors)}
        told = {"PLAINTEXT": self.port} | {f"DOOR{n}": p for n, p in enumerate(proxies)}
        every = {**ours, "CONTROLLER": controller}
        return {
            "controller": controller,
            "listeners": ",".join(f"{n}://127.0.0.1:{p}" for n, p in every.items()),
            "advertised": ",".join(f"{n}://127.0.0.1:{p}" for n, p in told.items()),
            "protocols": ",".join(f"{n}:PLAINTEXT" for n in every),
        }

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        log = Path(self._folder.name) / "server.log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [self._home / "bin" / "kafka-server-start.sh", self._properties],
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_for_port(self.port, self._process, log)

    def stop(self) -> None:
        """Kill it, as a power cut would; idempotent."""
        if self._process is not None:
            os.killpg(self._process.pid, 9)
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.stop()
        self._folder.cleanup()

    def _run(self, script: str, *arguments: str) -> None:
        command = [self._home / "bin" / script, *arguments, self._properties]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


class Tansu(TansuBroker):
    """Tansu with the interface of `ApacheKafka`; it forgets everything when it stops."""

    def close(self) -> None:
        self.stop()


Broker = Tansu | ApacheKafka
