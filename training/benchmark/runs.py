"""All cases and seeds, played side by side in processes of their own."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from detector.errors import ArtifactRejected, SettingsRejected
from training.benchmark.answers import Answer, rivals
from training.benchmark.cases import Case
from training.benchmark.play import Played, play, roles_matter
from training.workers import workers


class Task(NamedTuple):
    """One case to play with one seed; `roles`: it is said which channels are commands."""

    case: Case
    seed: int
    roles: bool

    @property
    def name(self) -> str:
        """For people, and for the run folder."""
        return f"{self.case.name} seed {self.seed}{' roles told' if self.roles else ''}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be played.

    Attributes:
        cases: All of them.
        recipe: Tables `network`, `fit` and `score`, the same for all.
        seeds: How often each is fitted.
        folder: Takes a run folder for each task.
    """

    cases: Sequence[Case]
    recipe: Mapping[str, Any]
    seeds: int
    folder: Path

    def tasks(self) -> list[Task]:
        """Return all tasks; a case whose roles are found as they would be told is played once."""
        return [
            Task(case, seed, roles)
            for case in self.cases
            for roles in ([False, True] if roles_matter(case) else [False])
            for seed in range(self.seeds)
        ]


class Run(NamedTuple):
    """A task, what came of it, and how many seconds that took."""

    task: Task
    played: Played
    took_s: float


def side_by_side(
    plan: Plan, jobs: int, progress: Callable[[int, int, str], object] = lambda *_: None
) -> tuple[list[Run], list[dict[str, Answer]]]:
    """Play all, and ask the rivals about each case.

    Args:
        plan: What.
        jobs: Processes; 1: this one alone.
        progress: Takes how many parts are done, of how many, and the name of the last one.

    Returns:
        The runs in the order of the tasks, and for each case what rivals say.

    Raises:
        SettingsRejected: If a case cannot be fitted.
        ArtifactRejected: If a case's file cannot be proven.
    """
    tasks = plan.tasks()
    with workers(jobs) as pool:
        played = [pool.submit(_run, task, plan.recipe, plan.folder) for task in tasks]
        asked = [pool.submit(rivals, case) for case in plan.cases]
        names: dict[Future[Any], str] = {}
        names |= {f: task.name for f, task in zip(played, tasks, strict=True)}
        names |= {f: f"{case.name} rivals" for f, case in zip(asked, plan.cases, strict=True)}
        for done, future in enumerate(as_completed(names), 1):
            future.result()
            progress(done, len(names), names[future])
    runs = [Run(task, *future.result()) for task, future in zip(tasks, played, strict=True)]
    return runs, [future.result() for future in asked]


def _run(task: Task, recipe: Mapping[str, Any], folder: Path) -> tuple[Played, float]:
    began = perf_counter()
    own = folder / task.name.replace("/", "-").replace(" ", "-")
    try:
        played = play(task.case, recipe, task.seed, own, task.roles)
    except (ArtifactRejected, SettingsRejected) as error:
        msg = f"{task.name}: {error}"
        raise type(error)(msg) from error
    return played, perf_counter() - began
