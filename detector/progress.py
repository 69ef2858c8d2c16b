"""How far a long run is: a bar on a terminal, a line now and then in a log."""

import sys
import time
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_EVERY_S = 10.0


class Shown:
    """Shows how much of something is done.

    Example:
        >>> with Shown("reading", 40, "records", sys.stdout) as shown:
        ...     shown.to(30)
        reading: 30 of 40 records (75%)
    """

    def __init__(self, doing: str, total: int, unit: str, out: TextIO | None = None) -> None:
        """Prepare.

        Args:
            doing: What is done.
            total: How much there is to do.
            unit: Of what.
            out: Where it is shown; standard error where None.
        """
        self._doing, self._total, self._unit = doing, total, unit
        self._out = out or sys.stderr
        self._console = Console(file=self._out)
        self._bar = Progress(
            TextColumn(doing),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(f"{unit}, left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(doing, total=total)
        self._done = 0
        self._told, self._told_s = -1, time.monotonic()

    def to(self, done: int) -> None:
        """So much is done."""
        self._done = done
        self._bar.update(self._task, completed=done)
        if time.monotonic() - self._told_s >= LINE_EVERY_S:
            self._line()

    def by(self, more: int) -> None:
        """So much more is done."""
        self.to(self._done + more)

    def _line(self) -> None:
        self._told_s = time.monotonic()
        if self._console.is_terminal or self._told == self._done:
            return
        self._told = self._done
        share = f" ({self._done / self._total:.0%})" if self._total else ""
        print(
            f"{self._doing}: {self._done} of {self._total} {self._unit}{share}",
            file=self._out,
            flush=True,
        )

    def __enter__(self) -> Self:
        """Show it."""
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave it as it is."""
        self._bar.stop()
        self._line()
