"""The relay's loop: messages in, each to its outlet, positions committed behind it."""

from collections import Counter, deque
from dataclasses import dataclass

from detector.clock import Clock
from detector.errors import Displaced, MembershipLost
from detector.patience import Patience
from detector.records import US_PER_S, Chunk, Partition, Polled
from detector.relay.alert import Told, read
from detector.relay.endpoint import Answer
from detector.relay.outlet import Heard, Outlet
from detector.relay.watch import Watch
from detector.source import Source

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
SLICE_S = 1.0  # of sending, between two polls: the group and the watchdog want to hear of us
POLL_S = 0.5


@dataclass(slots=True)
class Place:
    """A partition that is ours.

    Attributes:
        next: Offset of the next record to come.
        live_from: Records before it were handed on by us or those before us.
        learning: Not all of those are read again yet.
        held: Its records do not come, because others wait.
    """

    next: int
    live_from: int
    learning: bool
    held: bool = False


class Loop:
    """At least once, in the order of each partition; one message at a time.

    While the outlet takes nothing it stays a member of the group, reads no more than it holds, and
    commits nothing beyond what was taken.
    """

    def __init__(
        self,
        source: Source,
        outlet: Outlet,
        watch: Watch,
        clock: Clock,
        replay_records: int,
        shutdown_s: float,
    ) -> None:
        """Wire it; `replay_records` are read again to learn what is open."""
        self._source = source
        self._outlet = outlet
        self._watch = watch
        self._clock = clock
        self._replay_records = replay_records if outlet.replays else 0
        self._patience = Patience(watch, clock, shutdown_s)
        self._places: dict[Partition, Place] = {}
        self._fresh: set[Partition] = set()
        self._waiting: deque[tuple[Heard, Told | str]] = deque()
        self._done: dict[Partition, int] = {}
        self._pause_s, self._not_before_s = 0.0, float("-inf")

    def stop(self) -> None:
        """Finish the request under way, commit and end; safe in a signal handler."""
        self._patience.stop()

    def run(self) -> None:
        """Relay until stopped.

        Raises:
            ConnectionLost: If at the end the positions could not be committed.
            MembershipLost: If another process has our place.
        """
        while not self._patience.stopping:
            polled = self._patience.attempt(lambda: self._source.poll(self._wait_s()), "poll")
            if polled is not None:
                self.step(polled)
        if self._done:
            self._patience.insist(self._commit_done, "commit")

    def step(self, polled: Polled) -> None:
        """Do all that a poll asks for."""
        self._watch.beat()
        self._move(polled)
        for chunk in polled.chunks:
            self._hear(chunk)
        self._learned()
        self._send()
        self._commit()
        self._hold()
        self._gauge(polled.revoked | polled.lost)

    def _wait_s(self) -> float:
        """Return how long a poll may wait."""
        if not self._waiting:
            return POLL_S
        return min(max(self._not_before_s - self._clock.monotonic_s(), 0.0), POLL_S)

    def _move(self, polled: Polled) -> None:
        for partition in polled.revoked | polled.lost:
            self._places.pop(partition, None)
            self._done.pop(partition, None)
            self._outlet.drop(partition)
        # What was lost may be ours again within one poll.
        self._fresh = (self._fresh - polled.revoked - polled.lost) | polled.assigned
        if polled.revoked or polled.lost:
            self._waiting = deque(w for w in self._waiting if w[0].partition in self._places)
        for partition in sorted(self._fresh):
            if not self._begin(partition):
                return  # we are asked to stop

    def _begin(self, partition: Partition) -> bool:
        bounds = self._patience.attempt(lambda: self._source.bounds(partition), "poll")
        if bounds is None:
            return False
        known = bounds.first if bounds.committed is None else bounds.committed
        live_from = max(known, bounds.start)
        learn_from = max(live_from - self._replay_records, bounds.start)
        self._places[partition] = Place(learn_from, live_from, learning=True)
        if bounds.committed is None:  # kept at once, so that nothing from now on is skipped
            self._done[partition] = live_from
        self._source.start(partition, learn_from)
        self._fresh.discard(partition)
        gone = max(bounds.start - known, 0)
        self._watch.began(partition, learn_from, live_from, gone)
        return True

    def _hear(self, chunk: Chunk) -> None:
        place = self._places.get(chunk.partition)
        if place is None:
            return  # it was taken from us in the same poll
        if int(chunk.offsets[0]) < place.next:  # the topic was made anew
            place.live_from = 0
        place.next = chunk.next_offset
        stamps_s = chunk.stamps_us / US_PER_S
        for n, value in enumerate(chunk.values):
            told = read(value)
            offset = int(chunk.offsets[n])
            heard = Heard(chunk.partition, offset, float(stamps_s[n]), value or b"")
            if offset >= place.live_from:
                self._waiting.append((heard, told))
            elif isinstance(told, Told):
                self._outlet.learn(heard, told)

    def _learned(self) -> None:
        for partition, place in self._places.items():
            if place.learning and self._knows(partition, place):
                place.learning = False
                self._outlet.begin(partition)
        if self._source.settled:
            learning = sum(place.learning for place in self._places.values())
            self._watch.settled(learning + len(self._fresh))

    def _knows(self, partition: Partition, place: Place) -> bool:
        """Say whether all of a partition that was handed on before is read again."""
        position = self._source.position(partition)
        if position is None or position >= place.live_from:
            return position is not None
        if self._source.lag().get(partition) == 0:  # it ends before that: the topic was made anew
            place.next = place.live_from = 0
            self._source.start(partition, 0)
        return False

    def _send(self) -> None:
        """Hand on what waits, in order, until it is done, time is up or the outlet is away."""
        start_s = self._clock.monotonic_s()
        while self._waiting and self._may_ask() and self._clock.monotonic_s() < start_s + SLICE_S:
            heard, told = self._waiting[0]
            if not self._hand_on(heard, told):
                return
            self._waiting.popleft()
            self._done[heard.partition] = heard.offset + 1
        if self._may_ask():
            self._keep()

    def _may_ask(self) -> bool:
        """Whether the outlet's pause is over; once asked to stop, nothing new is begun."""
        return not self._patience.stopping and self._clock.monotonic_s() >= self._not_before_s

    def _hand_on(self, heard: Heard, told: Told | str) -> bool:
        """Say whether the message is done with."""
        if isinstance(told, str):
            self._watch.unreadable(heard.partition, heard.offset, told)
            return True
        start_s = self._clock.monotonic_s()
        answer = self._outlet.offer(heard, told)
        if answer is not None and not self._heed(answer, start_s):
            return False
        if answer is not None and answer.refused:
            self._watch.refused(heard.partition, heard.offset, answer)
        else:
            self._watch.delivered(heard.stamp_s)
        return True

    def _keep(self) -> None:
        start_s = self._clock.monotonic_s()
        answer = self._outlet.keep()
        if answer is not None and self._heed(answer, start_s):
            self._watch.resent()

    def _heed(self, answer: Answer, start_s: float) -> bool:
        """Say whether an answer settles its request; if not, pause, each time for longer."""
        now_s = self._clock.monotonic_s()
        self._watch.asked(answer, now_s - start_s)
        if answer.good or answer.refused:
            self._pause_s = 0.0
            return True
        self._pause_s = min(max(self._pause_s * 2, FIRST_PAUSE_S), LONGEST_PAUSE_S)
        self._not_before_s = now_s + max(self._pause_s, answer.wait_s or 0.0)
        return False

    def _commit(self) -> None:
        """Commit what is done; while the group moves that may fail, and is tried again."""
        if not self._done:
            return
        try:
            self._patience.attempt(self._commit_done, "commit")
        except Displaced:
            raise
        except MembershipLost as error:
            self._watch.uncommitted(error)

    def _commit_done(self) -> None:
        self._source.commit(self._done)
        self._done = {}

    def _hold(self) -> None:
        """Let no more records come while some wait; and go on when none does."""
        for partition, place in self._places.items():
            if self._waiting and not place.held:
                self._source.hold(partition)
            elif place.held and not self._waiting:
                self._source.start(partition, place.next)
            place.held = bool(self._waiting)

    def _gauge(self, gone: frozenset[Partition]) -> None:
        behind = Counter(heard.partition for heard, _ in self._waiting)
        lag = {p: n + behind[p] for p, n in self._source.lag().items() if p in self._places}
        oldest_s = self._waiting[0][0].stamp_s if self._waiting else None
        self._watch.gauges(lag, gone, oldest_s)
        self._watch.holds(*self._outlet.holds())
