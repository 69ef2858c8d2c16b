"""Model, candidate and settings are looked at while the daemon runs, on a thread beside its loop.

What is new and good is loaded, tested and warmed here, and waits in a queue for the loop; what
is refused is said once, and what was before stays.
"""

import queue
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from detector.errors import ArtifactRejected, Refused, SettingsRejected
from detector.model import StepModel
from detector.scorer import Fate, Lineup, News, Notice, Scorer, What, same_state
from detector.settings import Settings, fingerprint
from detector.signature import SUFFIX
from detector.trusted import load_trusted
from detector.watched import Watched

# What may change while it runs; all else waits for a restart.
TABLES = ("dead_letter_limit", "reload")  # and a few single ones, see `settle`
WARM_WIDTHS = (1, 64, 1024)  # streams a step; what a session allocates, it does with the first ones


class Reload:
    """Looks at files; an `Outside` of the loop."""

    def __init__(
        self,
        settings: Settings,
        read: Callable[[], Settings],
        make: Callable[[Settings, StepModel], Scorer],
        config: Path | None = None,
        on_settings: Callable[[Settings], object] = lambda _: None,
        load: Callable[[Settings, Path], StepModel] = load_trusted,
    ) -> None:
        """Look for the first time: what is there now is known.

        Args:
            settings: As they are now.
            read: Reads them again; raises SettingsRejected.
            make: Makes a model's scorer under such settings.
            config: The file that settings come from; None where there is none.
            on_settings: Told of those that were taken.
            load: Loads and proves a model file; raises Refused.
        """
        self.settings = settings
        self._read = read
        self._make = make
        self._on_settings = on_settings
        self._load_file = load
        self._config = Watched([config] if config else [])
        self._models: dict[What, Watched] = {
            "model": _model_files(settings.model),
            "candidate": _model_files(settings.shadow.model),
        }
        self._refused: set[What] = set()
        self._judging: StepModel | None = None
        self._candidate: StepModel | None = None
        self._news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._awake, self._closing = threading.Event(), False
        self._hurried = False
        self._thread = threading.Thread(target=self._run, name="reload", daemon=True)

    def start(self, judging: StepModel) -> None:
        """Begin to look, and to load the candidate, while `judging` runs."""
        self._judging = judging
        self._thread.start()

    def hurry(self) -> None:
        """Look now, and at the settings even if their file is the same; safe in a handler."""
        self._hurried = True
        self._awake.set()

    def take(self) -> News | None:
        """Return the next of what is new; None where nothing is."""
        try:
            return self._news.get_nowait()
        except queue.Empty:
            return None

    def close(self) -> None:
        """End the looking; idempotent."""
        self._closing = True
        self._awake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        if self.settings.shadow.model:
            self._load("candidate", self.settings.shadow.model)
        while not self._closing:
            self._awake.wait(self.settings.reload.every_s)
            self._awake.clear()
            hurried, self._hurried = self._hurried, False
            if not self._closing:
                self.look(hurried=hurried)

    def look(self, *, hurried: bool = False) -> None:
        """Take what has changed since the last look and is at rest, or refuse it."""
        if self._config.news(at_once=hurried) or hurried:
            self._reread()
        paths: dict[What, Path | None] = {
            "model": self.settings.model,
            "candidate": self.settings.shadow.model,
        }
        for what, path in paths.items():
            again = hurried and what in self._refused  # its signature or key may be right now
            if path and (self._models[what].news(at_once=hurried) or again):
                self._load(what, path)

    # Settings ---------------------------------------------------------------------------

    def _reread(self) -> None:
        try:
            wanted = self._read()
        except SettingsRejected as error:
            self._tell("settings", "refused", str(error))
            return
        before = self.settings
        self.settings = now = settle(before, wanted)
        if left := differing(now, wanted):
            self._tell("settings", "needs_restart", ", ".join(left))
        if taken := differing(before, now):
            self._on_settings(now)
            self._tell("settings", "taken", ", ".join(taken))
            self._line_up()
        if now.shadow.model != before.shadow.model:
            self._models["candidate"] = _model_files(now.shadow.model)
            self._load("candidate", now.shadow.model)
        if now.model != before.model:
            self._models["model"] = _model_files(now.model)
            self._load("model", now.model)

    # Models -----------------------------------------------------------------------------

    def _load(self, what: What, path: Path | None) -> None:
        """Load a model, prove and warm it, and let the loop have it."""
        try:
            model = self._proven(path) if path else None
        except Refused as error:
            self._refused.add(what)
            self._tell(what, "refused", str(error))
            return
        self._refused.discard(what)
        if what == "candidate":
            self._candidate = model
        else:
            self._judging = model
        about = f"{model.manifest.name} {model.manifest.version[:12]}" if model else "none"
        self._tell(what, "taken", about)
        self._line_up()

    def _proven(self, path: Path) -> StepModel:
        """Load a model that could take the place of the one that runs.

        Raises:
            ArtifactRejected: If it cannot.
        """
        model = self._load_file(self.settings, path)
        runs = self._running.manifest
        if model.manifest.kinds != runs.kinds:
            msg = (
                f"{path}: expected evidence of the kinds {', '.join(runs.kinds)}, as the model "
                f"that runs, saw {', '.join(model.manifest.kinds)}; restart to change them"
            )
            raise ArtifactRejected(msg)
        channels, width = len(model.manifest.channels), model.manifest.state_width
        for streams in WARM_WIDTHS:
            x, state = np.zeros((streams, channels)), np.zeros((streams, width))
            model.step(x.astype(np.float32), state.astype(np.float32))
        return model

    @property
    def _running(self) -> StepModel:
        assert self._judging is not None  # noqa: S101 - by `start`
        return self._judging

    def _line_up(self) -> None:
        """Let the loop know which models are to score, and how."""
        settings, judging, candidate = self.settings, self._running, self._candidate
        if candidate and same_state(candidate.manifest, judging.manifest):
            candidate = None  # it was promoted
        make, limit = partial(self._make, settings), settings.dead_letter_limit
        self._news.put(
            Lineup(
                make(judging),
                make(candidate) if candidate else None,
                make,
                settings.reload.patience_s,
                (limit.consecutive, limit.share),
                fingerprint(settings),
            )
        )

    def _tell(self, what: What, fate: Fate, detail: str) -> None:
        self._news.put(Notice(what, fate, detail))


def _model_files(path: Path | None) -> Watched:
    return Watched([path, path.with_name(path.name + SUFFIX)] if path else [])


def settle(now: Settings, wanted: Settings) -> Settings:
    """Return the settings that run, with what may change as it is wanted."""
    depth = {"readings_before": now.judge.readings_before}  # rings lie beside the state
    return now.model_copy(
        update={
            "model": wanted.model,
            "shadow": now.shadow.model_copy(update={"model": wanted.shadow.model}),
            "log": now.log.model_copy(update={"level": wanted.log.level}),
            **{name: getattr(wanted, name) for name in TABLES},
            "judge": wanted.judge.model_copy(update=depth),
        }
    )


def differing(one: Settings, other: Settings) -> list[str]:
    """Return the names of settings that differ, such as judge.close_share."""
    return [name for name, value in _flat(one).items() if value != _flat(other)[name]]


def _flat(settings: Settings) -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in settings.model_dump().items():
        if isinstance(value, dict):
            flat |= {f"{name}.{key}": one for key, one in value.items()}
        else:
            flat[name] = value
    return flat
