"""The model files of one route, looked at while their models are used.

What is new and good is loaded, proven and warmed, and a line-up tells the loop; what is refused is
said once, and what was before stays.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from detector.errors import ArtifactRejected, Refused
from detector.model import StepModel
from detector.scorer import Lineup, News, Notice, Scorer, What, same_state
from detector.settings import Settings
from detector.signature import SUFFIX
from detector.watched import Watched

WARM_WIDTHS = (1, 64, 1024)  # streams a step; what a session allocates, it does with the first ones


class Replacement:
    """Looks at a route's model and candidate."""

    def __init__(
        self,
        route: str,
        settings: Settings,
        make: Callable[[Settings, StepModel], Scorer],
        load: Callable[[Settings, Path], StepModel],
        tell: Callable[[News], object],
        config: str,
    ) -> None:
        """Look for the first time: what is there now is known.

        Args:
            route: Its name.
            settings: As they are now, for this route.
            make: Makes a model's scorer under such settings.
            load: Loads and proves a model file; raises Refused.
            tell: Takes what is new.
            config: Hash of all settings.
        """
        self._route = route
        self._settings = settings
        self._make = make
        self._load_file = load
        self._tell = tell
        self._config = config
        self._models: dict[What, Watched] = {
            "model": _model_files(settings.model),
            "candidate": _model_files(settings.shadow.model),
        }
        self._refused: set[What] = set()
        self._judging: StepModel | None = None
        self._candidate: StepModel | None = None

    def start(self, judging: StepModel) -> None:
        """Note which model runs."""
        self._judging = judging

    def first_look(self) -> None:
        """Load the candidate, if there is one."""
        if self._settings.shadow.model:
            self._load("candidate", self._settings.shadow.model)

    def look(self, *, hurried: bool) -> None:
        """Take what has changed since the last look and is at rest, or refuse it."""
        paths: dict[What, Path | None] = {
            "model": self._settings.model,
            "candidate": self._settings.shadow.model,
        }
        for what, path in paths.items():
            again = hurried and what in self._refused  # its signature or key may be right now
            if path and (self._models[what].news(at_once=hurried) or again):
                self._load(what, path)

    def settle(self, now: Settings, config: str) -> None:
        """Take other settings, and the files that they name."""
        before, self._settings = self._settings, now
        if config != self._config or now != before:
            self._config = config
            self._line_up()
        if now.shadow.model != before.shadow.model:
            self._models["candidate"] = _model_files(now.shadow.model)
            self._load("candidate", now.shadow.model)
        if now.model != before.model:
            self._models["model"] = _model_files(now.model)
            self._load("model", now.model)

    def _load(self, what: What, path: Path | None) -> None:
        """Load a model, prove and warm it, and let the loop have it."""
        try:
            model = self._proven(path) if path else None
        except Refused as error:
            self._refused.add(what)
            self._tell(Notice(what, "refused", str(error)))
            return
        self._refused.discard(what)
        if what == "candidate":
            self._candidate = model
        else:
            self._judging = model
        about = f"{model.manifest.name} {model.manifest.version[:12]}" if model else "none"
        self._tell(Notice(what, "taken", about))
        self._line_up()

    def _proven(self, path: Path) -> StepModel:
        """Load a model that could take the place of the one that runs.

        Raises:
            ArtifactRejected: If it cannot.
        """
        model = self._load_file(self._settings, path)
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
        settings, judging, candidate = self._settings, self._running, self._candidate
        if candidate and same_state(candidate.manifest, judging.manifest):
            candidate = None  # it was promoted
        make, limit = partial(self._make, settings), settings.dead_letter_limit
        self._tell(
            Lineup(
                make(judging),
                make(candidate) if candidate else None,
                make,
                settings.reload.patience_s,
                (limit.consecutive, limit.share),
                self._config,
                self._route,
            )
        )


def _model_files(path: Path | None) -> Watched:
    return Watched([path, path.with_name(path.name + SUFFIX)] if path else [])
