"""Settings and model files are looked at while the daemon runs, on a thread beside its loop.

What is new waits in a queue for the loop.
"""

import queue
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from detector.errors import SettingsRejected
from detector.model import StepModel
from detector.replacement import Replacement
from detector.route_settings import RouteSettings
from detector.routed import names_of, settings_for
from detector.scorer import News, Notice, Scorer
from detector.settings import Settings, fingerprint
from detector.trusted import load_trusted
from detector.watched import Watched

# What may change while it runs; all else waits for a restart.
TABLES = ("dead_letter_limit", "reload")  # and a few single ones, see `settle`


class Reload:
    """Looks at files; an `Outside` of the loop."""

    def __init__(
        self,
        settings: Settings,
        read: Callable[[], Settings],
        make: Callable[..., Scorer],
        config: Path | None = None,
        on_settings: Callable[[Settings], object] = lambda _: None,
        load: Callable[[Settings, Path], StepModel] = load_trusted,
    ) -> None:
        """Look for the first time: what is there now is known.

        Args:
            settings: As they are now.
            read: Reads them again; raises SettingsRejected.
            make: Makes the scorer of a model under such settings, for a `route`.
            config: The file that settings come from; None where there is none.
            on_settings: Told of those that were taken.
            load: Loads and proves a model file; raises Refused.
        """
        self.settings = settings
        self._read = read
        self._on_settings = on_settings
        self._config = Watched([config] if config else [])
        self._news: queue.SimpleQueue[News] = queue.SimpleQueue()
        config_hash = fingerprint(settings)
        self._replacements = {
            name: Replacement(
                name,
                settings_for(settings, name),
                partial(make, route=name),
                load,
                self._news.put,
                config_hash,
            )
            for name in names_of(settings)
        }
        self._awake, self._closing = threading.Event(), False
        self._hurried = False
        self._thread = threading.Thread(target=self._run, name="reload", daemon=True)

    def start(self, judging: Mapping[str, StepModel]) -> None:
        """Begin to look, and to load the candidate, while each route's model runs."""
        for name, model in judging.items():
            self._replacements[name].start(model)
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
        for one in self._replacements.values():
            one.first_look()
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
        for one in self._replacements.values():
            one.look(hurried=hurried)

    def _reread(self) -> None:
        try:
            wanted = self._read()
        except SettingsRejected as error:
            self._news.put(Notice("settings", "refused", str(error)))
            return
        before = self.settings
        self.settings = now = settle(before, wanted)
        if left := differing(now, wanted):
            self._news.put(Notice("settings", "needs_restart", ", ".join(left)))
        if taken := differing(before, now):
            self._on_settings(now)
            self._news.put(Notice("settings", "taken", ", ".join(taken)))
        for name, one in self._replacements.items():
            one.settle(settings_for(now, name), fingerprint(now))


def settle(now: Settings, wanted: Settings) -> Settings:
    """Return the settings that run, with what may change as it is wanted."""
    depth = {"readings_before": now.judge.readings_before}  # rings lie beside the state
    alike = list(map(_fixed, now.routes)) == list(map(_fixed, wanted.routes))
    return now.model_copy(
        update={
            "model": wanted.model,
            "shadow": now.shadow.model_copy(update={"model": wanted.shadow.model}),
            "log": now.log.model_copy(update={"level": wanted.log.level}),
            **{name: getattr(wanted, name) for name in TABLES},
            "judge": wanted.judge.model_copy(update=depth),
            "routes": wanted.routes if alike else now.routes,
        }
    )


def _fixed(route: RouteSettings) -> object:
    """Return what of a route waits for a restart: which streams it takes, and where they go."""
    depth = route.judge.get("readings_before")
    return route.model_copy(update={"model": route.model is None, "judge": {"": depth}})


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
