"""The partitions that are ours: what each goes through from its assignment on. Pure.

waiting    it is ours; where it stands is not known yet
loading    its state is read from the changelog; none of its records come
replaying  records come that were said already: the state moves in silence
live       what its records cause is said
"""

from dataclasses import dataclass, replace
from typing import Literal

from detector.lane import Lane
from detector.records import Bounds, Message, Partition
from detector.restore import Resumed

# Checkpoints of a member's partitions are spread over the interval: no two next to each other.
GOLDEN_RATIO = 0.618034
NOT_KNOWN = Bounds(0, 0, None)


@dataclass(slots=True)
class Held:
    """One partition of ours.

    Attributes:
        partition: Which.
        lanes: Its streams, by the name of the route that takes them.
        assigned_s: When it was assigned, on the loop's stopwatch.
        bounds: Of the input, once they are known.
        phase: See the module.
        due_s: When its next checkpoint is due, on the loop's stopwatch.
        went_back_to: The first offset of an input topic that was made anew; None otherwise.
    """

    partition: Partition
    lanes: dict[str, Lane]
    assigned_s: float
    bounds: Bounds = NOT_KNOWN
    phase: Literal["waiting", "loading", "replaying", "live"] = "waiting"
    due_s: float = 0.0
    went_back_to: int | None = None

    @property
    def streams(self) -> int:
        """How many streams it has."""
        return sum(lane.streams for lane in self.lanes.values())

    def resume(self, now_s: float, interval_s: float) -> list[Resumed]:
        """Make all state from what was kept; return what came of it, lane by lane."""
        lanes = list(self.lanes.values())
        known = [bool(lane.kept.values) for lane in lanes]
        resumed = [lane.resume(self.bounds, self.went_back_to) for lane in lanes]
        if any(known):  # where nothing is kept beside what is, nothing is missing: a route is new
            resumed = [
                one if there else replace(one, outcome="new", detail="")
                for one, there in zip(resumed, known, strict=True)
            ]
        restored = [one.live_from for one in resumed if one.outcome == "restored"]
        for lane, one in zip(lanes, resumed, strict=True):
            if restored and one.outcome != "restored":
                # What the others read again was said already, and is not for fresh state.
                lane.start = lane.live_from = max(restored)
        self.phase = "replaying"
        self.due_s = now_s + interval_s * (self.partition.number * GOLDEN_RATIO % 1)
        return resumed

    def go_live(self, lane: Lane) -> int:
        """End a lane's replay; return how many streams' judgement was overruled."""
        corrected = lane.go_live()
        if all(one.live for one in self.lanes.values()):
            self.phase = "live"
        return corrected

    def checkpoint(self, topic: str, offset: int) -> list[Message]:
        """Return what keeps all lanes as they are before record `offset`; see `Lane`."""
        return [m for lane in self.lanes.values() for m in lane.checkpoint(topic, offset)]

    def checkpointed(self) -> None:
        """Note that the last checkpoint is delivered."""
        for lane in self.lanes.values():
            lane.checkpointed()
