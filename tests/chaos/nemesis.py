"""What happens to the members and to the broker, and when: drawn from the run's seed."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from brokers import ApacheKafka
from members import SESSION_S, Members
from proxy import Proxy

MEAN_GAP_S = 0.5


@dataclass
class Nemesis:
    """Acts again and again until it is closed.

    Attributes:
        grow: Adds a partition to the input.
        acts: How often it did what.
    """

    members: Members
    broker: ApacheKafka
    proxies: list[Proxy]
    random: Random
    grow: Callable[[], None]
    acts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, and let all be well again."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        acts: dict[str, tuple[int, Callable[[], object]]] = {
            "kill": (14, self.members.kill),
            "terminate": (2, self.members.terminate),
            "pause": (2, lambda: self.members.pause(SESSION_S + self.random.uniform(0.5, 3))),
            "short pause": (1, lambda: self.members.pause(self.random.uniform(0.1, 1))),
            "join": (1, self.members.join),
            "leave": (1, self.members.leave),
            "restart the broker": (1, self._restart),
            "slow broker": (1, self._slow),
            "cut the wire": (2, self._cut),
            "slow wire": (1, self._delay),
            "add a partition": (1, self.grow),
        }
        names = list(acts)
        weights = [weight for weight, _ in acts.values()]
        while not self._closed.wait(self.random.expovariate(1 / MEAN_GAP_S)):
            name = self.random.choices(names, weights)[0]
            self.acts[name] += 1
            acts[name][1]()

    def _restart(self) -> None:
        self.broker.stop()
        time.sleep(self.random.uniform(0, 2))
        self.broker.start()

    def _slow(self) -> None:
        os.killpg(self.broker.pid, signal.SIGSTOP)
        time.sleep(self.random.uniform(0.2, 1.5))
        os.killpg(self.broker.pid, signal.SIGCONT)

    def _cut(self) -> None:
        proxy = self.random.choice(self.proxies)
        proxy.cut()
        time.sleep(self.random.choice([0.0, 0.5, SESSION_S + 1]))
        proxy.mend()

    def _delay(self) -> None:
        proxy = self.random.choice(self.proxies)
        proxy.delay_s = self.random.uniform(0.005, 0.05)
        time.sleep(1)
        proxy.delay_s = 0.0
