"""What Alertmanager is told, held against one that decides as the real one does."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from relays import OPENED_US, alert

from detector.messages import alert_message
from detector.overrides import Mute
from detector.records import GROUP, Alert, Partition
from detector.relay.alert import Told, read
from detector.relay.board import Board, Post
from detector.relay.outlet import Heard

PLACE = Partition("alerts", 0)
NOW_S = OPENED_US / 1e6 + 60
RESEND_S, LEAST_S = 60.0, 30.0
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def board(**changes: Any) -> Board:
    made = Board(**{"resend_s": RESEND_S, "least_firing_s": LEAST_S, "max_open": 1000,
                    "forget_after_s": 1e6, **changes})  # fmt: skip
    made.begin(PLACE)
    return made


def heard(one: Alert, at_s: float = NOW_S) -> tuple[Heard, Told]:
    value = alert_message(one, "alerts").value or b""
    told = read(value)
    assert isinstance(told, Told)
    return Heard(PLACE, 0, at_s, value), told


class Manager:
    """Merges what it is told as Alertmanager does, where all have an `endsAt`."""

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[str, str], ...], tuple[float, float]] = {}

    def take(self, posts: Sequence[Post], now_s: float) -> None:
        for post in posts:
            labels: Any = post["labels"]
            key = tuple(sorted(labels.items()))
            start, end = (
                datetime.fromisoformat(str(post[name])).timestamp()
                for name in ("startsAt", "endsAt")
            )
            assert start <= end, "it answers 400"
            old = self._known.get(key)
            if old and (old[0] < end < old[1] or old[0] < start < old[1]):
                if end > now_s or old[1] <= now_s:
                    end = max(end, old[1])
                start = min(start, old[0])
            self._known[key] = start, end

    def firing(self, now_s: float) -> set[tuple[str, str]]:
        return {
            (dict(key)["stream"], dict(key)["severity"])
            for key, (_, end) in self._known.items()
            if end > now_s
        }


@st.composite
def stories(draw: st.DrawFn) -> list[Alert]:
    """Alerts of three streams, one after the other in each, told in turn; some repeated."""
    told: list[Alert] = []
    number = dict.fromkeys("abc", 0)
    going: dict[str, str] = {}
    for stream in draw(st.lists(st.sampled_from("abc"), max_size=20)):
        at_us = OPENED_US + 1_000_000 * len(told)
        before = going.get(stream, "close")
        status = draw(
            st.sampled_from(
                {"open": ("update", "close"), "update": ("close",)}.get(before, ("open",))
            )
        )
        number[stream] += status == "open"
        going[stream] = status
        told.append(
            alert(1 + "abc".index(stream) + 10 * number[stream], status, stream=stream, at_us=at_us)  # type: ignore[arg-type]
        )
    return told


@given(
    story=stories(),
    steps=st.lists(st.floats(0, 200), min_size=20, max_size=20),
    again=st.lists(st.booleans(), min_size=20, max_size=20),
    restart=st.integers(0, 20),
    outage=st.booleans(),
)
def test_in_the_end_what_is_open_fires_and_nothing_else(
    story: list[Alert], steps: list[float], again: list[bool], restart: int, *, outage: bool
) -> None:
    made, manager, now_s = board(), Manager(), NOW_S
    past: list[tuple[Heard, Told]] = []
    for n, one in enumerate(story):
        if n == restart:  # what it knew is gone; it reads again what it had done
            made = board()
            for earlier, told in past:
                made.learn(earlier, told, now_s)
            manager = Manager() if outage else manager
        pair = heard(one, now_s)
        past.append(pair)
        first = made.take(*pair, now_s)
        if again[n]:  # the first request got no answer, and may have been taken or not
            now_s += 1
            first = made.take(*pair, now_s)
        manager.take(first, now_s)
        now_s += steps[n]
        _keep(made, manager, now_s)
    for _ in range(3):
        now_s += LEAST_S + 1
        _keep(made, manager, now_s)
    last = {one.stream: one for one in story}
    opened = {(s, one.severity) for s, one in last.items() if one.status != "close"}
    assert manager.firing(now_s) == opened
    assert made.open == len(opened)


def _keep(made: Board, manager: Manager, now_s: float) -> None:
    entries, posts = made.due(now_s, 1000)
    manager.take(posts, now_s)
    made.told(entries, now_s)


def test_one_that_closes_at_once_fires_long_enough_to_be_heard() -> None:
    made, manager = board(), Manager()
    manager.take(made.take(*heard(alert(1)), NOW_S), NOW_S)
    assert made.take(*heard(alert(1, "close")), NOW_S + 1) == []
    assert made.due(NOW_S + LEAST_S - 1, 10) == ([], [])
    _keep(made, manager, NOW_S + LEAST_S - 1)
    assert manager.firing(NOW_S + LEAST_S - 1)
    _keep(made, manager, NOW_S + LEAST_S)
    assert not manager.firing(NOW_S + LEAST_S)


def test_what_is_over_is_told_for_as_long_as_it_could_fire_and_then_let_go() -> None:
    made, now_s = board(least_firing_s=0), NOW_S
    made.take(*heard(alert(1)), now_s)
    made.take(*heard(alert(1, "close")), now_s)
    told = 0
    for _ in range(10):
        now_s += RESEND_S
        entries, posts = made.due(now_s, 10)
        made.told(entries, now_s)
        told += len(posts)
    assert told == 5
    assert not made._known


def test_a_part_that_is_not_known_yet_is_not_told_again() -> None:
    made = Board(RESEND_S, LEAST_S, 1000, 1e6)
    made.learn(*heard(alert(1)), NOW_S)
    assert made.due(NOW_S, 10) == ([], [])
    made.begin(PLACE)
    assert len(made.due(NOW_S, 10)[1]) == 1
    made.drop(PLACE)
    assert (made.due(NOW_S, 10), made.open) == (([], []), 0)


def test_it_is_bounded_in_number_and_age() -> None:
    made = board(max_open=3, forget_after_s=1000)
    for n in range(1, 6):
        made.take(*heard(alert(n), NOW_S + n), NOW_S + n)
    assert (made.open, made.forgotten) == (3, 2)
    made.take(*heard(alert(3, "close")), NOW_S + 100)
    assert made.due(NOW_S + 1002, 10)[0] != []
    assert (made.open, made.forgotten) == (2, 2), "one that has closed was not forgotten"
    assert made.due(NOW_S + 1100, 10) == ([], [])
    assert (made.open, made.forgotten) == (0, 4)


def test_repeats_of_what_is_over_say_nothing() -> None:
    made = board(least_firing_s=0)
    for status in ("open", "update", "close"):
        made.take(*heard(alert(1, status)), NOW_S)
    assert made.take(*heard(alert(1)), NOW_S) == []
    assert made.take(*heard(alert(1, "update")), NOW_S) == []
    assert made.take(*heard(alert(1, "close")), NOW_S) != [], "its request may have got no answer"
    made.take(*heard(alert(2, stream="pump-1")), NOW_S)
    ended: Any = [post["labels"] for post in made.take(*heard(alert(1, "close")), NOW_S)]
    assert [labels["severity"] for labels in ended] == ["critical"], "another is a warning now"
    assert made.open == 1


def test_the_end_of_one_that_nobody_remembers_is_told() -> None:
    posts = board().take(*heard(alert(1, "close")), NOW_S)
    assert [post["endsAt"] for post in posts] == ["2023-11-14T22:13:21.500000Z"]


def test_a_sensor_whose_clock_is_ahead_is_not_refused() -> None:
    made, manager = board(least_firing_s=0), Manager()
    ahead: Any = {"opened_us": OPENED_US + 10**10, "at_us": OPENED_US + 10**10}
    manager.take(made.take(*heard(alert(1, **ahead)), NOW_S), NOW_S)
    assert manager.firing(NOW_S)
    manager.take(made.take(*heard(alert(1, "close", **ahead)), NOW_S + 1), NOW_S + 1)
    assert not manager.firing(NOW_S + 1)


def test_a_group_stands_under_one_name_however_large_it_grows() -> None:
    table, manager = board(), Manager()
    group = {"kind": GROUP, "stream": "readings/3", "probability": None, "channels": (),
             "severity": "warning"}  # fmt: skip
    few = alert(7, score=3.0, streams=("a", "b", "c"), **group)
    many = alert(7, "update", score=80.0, streams=("a", "b", "c", "d"), **group)
    over = alert(7, "close", score=80.0, streams=("a", "b", "c", "d"), **group)
    since = "opened alerts since 2023-11-14T22:13:20Z: a, b, c"
    for one, says in (
        (few, f"3 streams of readings/3 {since}"),
        (many, f"80 streams of readings/3 {since} and 77 more"),
    ):
        (post,) = table.take(*heard(one), NOW_S)
        labels, annotations = post["labels"], post["annotations"]
        assert isinstance(labels, dict)
        assert isinstance(annotations, dict)
        assert labels["alertname"] == "StreamsTogether"
        assert annotations["summary"] == says
        manager.take([post], NOW_S)
        assert manager.firing(NOW_S) == {("readings/3", "warning")}
    table.take(*heard(over), NOW_S)
    manager.take(table.due(NOW_S + LEAST_S, 10)[1], NOW_S + LEAST_S)
    assert not manager.firing(NOW_S + LEAST_S + 1)


def test_what_is_muted_is_not_told_and_what_fired_before_ends() -> None:
    made, mute = board(), Mute(NOON, NOON, "ana", "new bearing")

    def muted(one: Alert) -> tuple[Heard, Told]:
        value = alert_message(one, "alerts", mute).value or b""
        told = read(value)
        assert isinstance(told, Told)
        return Heard(PLACE, 0, NOW_S, value), told

    assert made.take(*muted(alert(7)), NOW_S) == []
    assert made.open == 0
    assert made.take(*muted(alert(7, "close")), NOW_S) == []
    assert len(made.take(*heard(alert(7)), NOW_S)) == 1
    assert made.take(*muted(alert(7, "update")), NOW_S) == []
    assert made.open == 1
    made.take(*heard(alert(7, "close")), NOW_S)
    assert made.open == 0
