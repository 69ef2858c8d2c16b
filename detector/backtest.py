"""The daemon's stages over a stretch of history, as fast as the machine allows.

Decode, score and judge are the daemon's own; nothing joins a group, commits or writes a topic.
A part of the past (a partition, a share of the streams) is played by one process.
"""

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from detector.budget import Limits
from detector.engine import Engine
from detector.errors import SettingsRejected
from detector.history import Span
from detector.judge import Rules
from detector.kept import KeptScores
from detector.messages import alert_message
from detector.past import Past
from detector.played import About, Played, Tally, join
from detector.ring import ring_depth
from detector.settings import Settings
from detector.silence import Silence
from detector.tables import appear
from detector.trusted import load_trusted
from detector.volume import Volume, volume

ABOUT, ALERTS, VOLUME, SCORES = "backtest.json", "alerts.jsonl", "volume.csv", "scores"
SHOW_S = 0.2


@dataclass(frozen=True, slots=True)
class Job:
    """One part of the past to play.

    Attributes:
        number: Of the part; its files' name.
        silence, limits: See `Engine`; of a partition, so None for files.
    """

    number: int
    past: Past
    span: Span
    settings: Settings
    rules: Rules
    silence: Silence | None
    limits: Limits | None
    folder: Path


def prepare(folder: Path) -> None:
    """Make the folder, empty of an earlier backtest.

    Raises:
        SettingsRejected: If something else is in it, or it cannot be written.
    """
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if there and not there & {ABOUT, SCORES}:
        msg = f"{folder}: expected an empty folder, or one of an earlier backtest"
        raise SettingsRejected(msg)
    try:
        (folder / SCORES).mkdir(parents=True, exist_ok=True)
        for old in (folder / ABOUT, *folder.glob("*.part"), *(folder / SCORES).iterdir()):
            old.unlink(missing_ok=True)
    except OSError as error:
        msg = f"{folder}: expected a folder to write to, saw: {error}"
        raise SettingsRejected(msg) from error


def play_all(jobs: Sequence[Job], processes: int, progress: Callable[[int], object]) -> Played:
    """Play every part, several at once.

    Args:
        jobs: At least one.
        processes: At most so many at once; with 1, this one.
        progress: Takes how many records are done, of all parts.

    Raises:
        ConnectionLost: If the broker does not answer.
        Refused: If the model or a file is not one to play.
    """
    if min(processes, len(jobs)) == 1:
        done = _Counter()
        return join([play(job, lambda more: progress(done.by(more))) for job in jobs])
    spawn = multiprocessing.get_context("spawn")  # a client of Kafka does not survive a fork
    shared = spawn.Value("q", 0)
    workers = min(processes, len(jobs))
    with ProcessPoolExecutor(workers, spawn, _begin, (shared,)) as pool:
        try:
            left: set[Future[Played]] = {pool.submit(_play, job) for job in jobs}
            parts: list[Played] = []
            while left:
                done_now, left = wait(left, SHOW_S, "FIRST_EXCEPTION")
                parts += [one.result() for one in done_now]
                progress(shared.value)
        except BaseException:
            for child in multiprocessing.active_children():
                child.terminate()
            raise
    return join(parts)


def play(job: Job, progress: Callable[[int], object]) -> Played:
    """Play one part: its alerts and scores go into files of its own.

    Args:
        job: What to play.
        progress: Takes how many more records are done.
    """
    model = load_trusted(job.settings)
    manifest, depth = model.manifest, job.settings.judge.readings_before
    engine = Engine(model, job.rules, job.silence, job.limits)
    arena = engine.new_arena(ring_depth(len(manifest.channels), depth))
    tally = Tally(manifest)
    scores = KeptScores(job.folder / SCORES / f"{job.number:05}.parquet", manifest.kinds)
    with _alerts_of(job).open("wb") as alerts:
        for heard in job.past.hear(manifest, job.span):
            outcome = engine.run(arena, heard.readings, heard.partition, keep_trace=True)
            assert outcome.trace is not None  # noqa: S101 - it was asked for
            alerts.writelines((alert_message(a, "").value or b"") + b"\n" for a in outcome.alerts)
            scores.add(heard.readings, outcome.trace)
            tally.add(heard, outcome)
            progress(heard.records)
    scores.finish()
    return tally.close(len(arena))


def tell(folder: Path, jobs: Sequence[Job]) -> Volume:
    """Put the alerts of all parts into one file, by time; write their volume beside it.

    Raises:
        OSError: If they cannot be written.
    """
    parts = [_alerts_of(job) for job in jobs]
    lines = [line for part in parts for line in part.read_bytes().splitlines()]
    alerts = [(msgspec.json.decode(line), line) for line in lines]
    # Stable: messages of one stream at one time, a close and an opening, stay in their order.
    alerts.sort(key=lambda pair: pair[0]["at"])
    appear(folder / ALERTS, b"".join(line + b"\n" for _, line in alerts))
    for part in parts:
        part.unlink()
    counted = volume(body for body, _ in alerts)
    rows = [f"{d},{_cell(s)},{severity},{n}\n" for (d, s, severity), n in sorted(counted.items())]
    appear(folder / VOLUME, "".join(["day,stream,severity,alerts\n", *rows]).encode())
    return counted


def finish(folder: Path, about: About, page: str) -> None:
    """Write the page, and last, what all of it is about.

    Raises:
        OSError: If they cannot be written.
    """
    appear(folder / "report.html", page.encode())
    appear(folder / ABOUT, msgspec.json.format(msgspec.json.encode(about)))


def _cell(text: str) -> str:
    quoted = text.replace('"', '""')
    return f'"{quoted}"' if set(text) & set(',"\n') else text


def _alerts_of(job: Job) -> Path:
    return job.folder / f"alerts-{job.number:05}.part"


class _Counter:
    def __init__(self) -> None:
        self._done = 0

    def by(self, more: int) -> int:
        self._done += more
        return self._done


_shared: Any = None


def _begin(shared: Any) -> None:  # noqa: ANN401 - a ctypes value
    """Prepare a process of the pool."""
    global _shared  # noqa: PLW0603 - how an initializer hands over what cannot be pickled
    _shared = shared
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends it without a word; the parent speaks


def _play(job: Job) -> Played:
    def progress(more: int) -> None:
        with _shared.get_lock():
            _shared.value += more

    return play(job, progress)
