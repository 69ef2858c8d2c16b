"""Files that change while it runs: what is taken, what is refused, and how often that is said."""

import os
from pathlib import Path
from typing import Any

import pytest
from fakes import StubModel, manifest

from detector.engine import Engine
from detector.errors import ArtifactRejected, SettingsRejected
from detector.judge import rules
from detector.model import StepModel
from detector.promote import promote
from detector.records import Floats, Step
from detector.reload import Reload, differing, settle
from detector.scorer import Lineup, Notice, Scorer
from detector.settings import Judge, Settings
from detector.validate import Format
from detector.watched import Watched

OLD, NEW, BAD = "0" * 64, "1" * 64, "no model"


class Counting(StubModel):
    """Knows how wide the ticks were that it has seen."""

    widths: tuple[int, ...] = ()

    def step(self, x: Floats, state: Floats) -> Step:
        self.widths += (len(x),)
        return super().step(x, state)


def load(_: Settings, path: Path) -> StepModel:
    """Take a file's content for the version of a stub."""
    content = path.read_text() if path.exists() else BAD
    if content == BAD:
        msg = f"{path}: expected a model, saw none"
        raise ArtifactRejected(msg)
    if content == "other kinds":
        calibration = manifest().calibration[0].model_copy(update={"kind": "onset"})
        return StubModel(manifest(version=NEW, calibration=(calibration,)))
    return Counting(manifest(version=content))


def make(settings: Settings, model: StepModel, route: str = "") -> Scorer:
    rate = settings.judge.false_alarms_per_stream_day
    return Scorer(Engine(model, rules(model.manifest, rate)), Format(("c0", "c1")))


class World:
    """Files, and what looks at them, by hand instead of by its thread."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.model, self.config = folder / "model.onnx", folder / "pumps.toml"
        self.model.write_text(OLD)
        self.config.write_text("")
        self.settings = self.wanted = Settings(model=self.model, **more)
        self.refusal: str | None = None
        self.told: list[Settings] = []
        self.reload = Reload(self.settings, self.read, make, self.config, self.told.append, load)
        self.reload._replacements[""].start(StubModel())

    def read(self) -> Settings:
        if self.refusal:
            raise SettingsRejected(self.refusal)
        return self.wanted

    def look(self, times: int = 2, *, hurried: bool = False) -> list[Lineup | Notice]:
        for _ in range(times):
            self.reload.look(hurried=hurried)
        news = []
        while (one := self.reload.take()) is not None:
            news.append(one)
        return news

    def want(self, **changes: Any) -> None:
        self.config.write_text(f"# {changes}")
        self.wanted = Settings(**{"model": self.model, **changes})


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_while_nothing_changes_nothing_is_read(world: World) -> None:
    os.utime(world.model)  # another stat, the same content
    assert world.look(5) == []


def test_a_new_model_is_loaded_warmed_and_lined_up_once(world: World) -> None:
    world.model.write_text(NEW)
    notice, lineup = world.look(5)
    assert notice == Notice("model", "taken", f"stub {NEW[:12]}")
    assert isinstance(lineup, Lineup)
    assert lineup.judging.manifest.version == NEW
    assert lineup.judging.engine.model.widths == (1, 64, 1024)  # type: ignore[attr-defined]
    assert lineup.candidate is None


def test_a_file_that_is_being_written_is_let_be(world: World) -> None:
    for length in (10, 30, 64):  # it grows between looks
        world.model.write_text(NEW[:length])
        assert world.look(1) == []
    assert [type(one) for one in world.look(1)] == [Notice, Lineup]


def test_a_bad_file_is_refused_once_and_the_next_one_taken(world: World) -> None:
    world.model.write_text(BAD)
    assert world.look(5) == [
        Notice("model", "refused", f"{world.model}: expected a model, saw none")
    ]
    world.model.write_text(NEW)
    assert [type(one) for one in world.look(5)] == [Notice, Lineup]


def test_a_file_that_went_is_refused_once(world: World) -> None:
    world.model.unlink()
    (refused,) = world.look(5)
    assert isinstance(refused, Notice)
    assert refused.fate == "refused"


def test_what_was_refused_is_tried_again_when_asked_to(world: World) -> None:
    world.model.write_text(BAD)
    world.look()
    (again,) = world.look(1, hurried=True)
    assert isinstance(again, Notice)
    assert again.fate == "refused"


def test_a_model_of_other_evidence_needs_a_restart(world: World) -> None:
    world.model.write_text("other kinds")
    (refused,) = world.look()
    assert isinstance(refused, Notice)
    assert (
        "expected evidence of the kinds state, as the model that runs, saw onset" in refused.detail
    )


def test_a_configmaps_swap_of_links_is_seen(tmp_path: Path) -> None:
    for name, version in (("..1", OLD), ("..2", NEW)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.onnx").write_text(version)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "model.onnx").symlink_to("..data/model.onnx")
    watched = Watched([tmp_path / "model.onnx"])
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").replace(tmp_path / "..data")
    assert [watched.news() for _ in range(3)] == [False, True, False]


def test_a_signature_that_comes_later_counts(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_text(NEW)
    watched = Watched([model, tmp_path / "model.onnx.sig"])
    (tmp_path / "model.onnx.sig").write_text("signed")
    assert [watched.news() for _ in range(3)] == [False, True, False]


# Settings ---------------------------------------------------------------------------------


def test_settings_that_may_change_are_taken(world: World) -> None:
    world.want(judge={"close_share": 0.5}, log={"level": "debug"}, dead_letter_limit={"share": 1})
    notice, lineup = world.look(5)
    assert notice == Notice(
        "settings", "taken", "judge.close_share, dead_letter_limit.share, log.level"
    )
    assert isinstance(lineup, Lineup)
    assert lineup.limit == (1000, 1)
    assert world.told == [world.reload.settings]
    assert world.reload.settings.log.level == "debug"
    assert lineup.config != ""


def test_one_that_needs_a_restart_is_named_and_the_others_are_taken(world: World) -> None:
    world.want(judge={"close_share": 0.5}, kafka={"topic": "other", "sasl_password": None})
    left, taken, lineup = world.look(5)
    assert left == Notice("settings", "needs_restart", "kafka.topic")
    assert taken == Notice("settings", "taken", "judge.close_share")
    assert isinstance(lineup, Lineup)
    assert world.reload.settings.kafka.topic == "readings"


def test_a_wrong_file_is_refused_and_the_settings_stay(world: World) -> None:
    world.refusal = "judge.colour: extra"
    world.config.write_text("[judge]\ncolour = 1")
    assert world.look(5) == [Notice("settings", "refused", "judge.colour: extra")]
    assert world.reload.settings == world.settings


def test_a_signal_reads_them_even_where_no_file_has_changed(world: World) -> None:
    world.wanted = Settings(model=world.model, judge=Judge(open_after=3))
    assert world.look(5) == []
    assert world.look(1, hurried=True)[0] == Notice("settings", "taken", "judge.open_after")


def test_another_path_is_another_model(world: World, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_text(NEW)
    world.want(model=other)
    news = world.look(5)
    assert news[-2] == Notice("model", "taken", f"stub {NEW[:12]}")
    other.write_text("2" * 64)
    assert world.look()[0] == Notice("model", "taken", f"stub {'2' * 12}")


def test_what_differs_is_told_by_name_alone(world: World) -> None:
    kafka = {"sasl_password": "secret", "sasl_username": "me", "sasl_mechanism": "PLAIN",
             "security_protocol": "SASL_SSL"}  # fmt: skip
    wanted = Settings(model=world.model, kafka=kafka)
    assert "kafka.sasl_password" in differing(world.settings, wanted)
    assert settle(world.settings, wanted) == world.settings


# A candidate ------------------------------------------------------------------------------


def test_a_candidate_comes_and_goes_with_the_settings(world: World, tmp_path: Path) -> None:
    other = tmp_path / "candidate.onnx"
    other.write_text(NEW)
    world.want(shadow={"model": other})
    lineup = world.look(5)[-1]
    assert isinstance(lineup, Lineup)
    assert lineup.candidate is not None
    assert lineup.candidate.manifest.version == NEW
    world.want()
    lineup = world.look(5)[-1]
    assert isinstance(lineup, Lineup)
    assert lineup.candidate is None


def test_a_candidate_that_was_promoted_is_none_any_more(tmp_path: Path) -> None:
    other = tmp_path / "candidate.onnx"
    other.write_text(NEW)
    world = World(tmp_path, shadow={"model": other})
    world.reload._replacements[""]._load("candidate", other)
    world.look()
    world.model.write_text(NEW)
    lineup = world.look(5)[-1]
    assert isinstance(lineup, Lineup)
    assert (lineup.judging.manifest.version, lineup.candidate) == (NEW, None)


def test_its_thread_looks_and_ends(tmp_path: Path) -> None:
    world = World(tmp_path, reload={"every_s": 0.1})
    world.reload.start({"": StubModel()})
    world.model.write_text(NEW)
    news = [world.reload._news.get(timeout=30), world.reload._news.get(timeout=30)]
    assert news[0] == Notice("model", "taken", f"stub {NEW[:12]}")
    world.reload.hurry()
    world.reload.close()
    assert not world.reload._thread.is_alive()


# A new one takes the place ----------------------------------------------------------------


def promoting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detector.promote.load_trusted", load)


def test_a_candidate_takes_the_models_place_and_back(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    promoting(monkeypatch)
    candidate, previous = tmp_path / "candidate.onnx", tmp_path / "model.onnx.previous"
    candidate.write_text(NEW)
    (tmp_path / "candidate.onnx.sig").write_text("by us")
    world.model.chmod(0o640)
    said = promote(world.settings, candidate)
    assert said == f"{world.model} is stub {NEW[:12]} now; the one before is {previous}"
    assert (world.model.read_text(), previous.read_text()) == (NEW, OLD)
    assert (tmp_path / "model.onnx.sig").read_text() == "by us"
    assert world.model.stat().st_mode & 0o777 == 0o640
    promote(world.settings, previous)
    assert (world.model.read_text(), previous.read_text()) == (OLD, NEW)
    assert not (tmp_path / "model.onnx.sig").exists()
    assert (tmp_path / "model.onnx.previous.sig").read_text() == "by us"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_is_no_model_takes_no_place(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    promoting(monkeypatch)
    bad = tmp_path / "bad.onnx"
    bad.write_text(BAD)
    with pytest.raises(ArtifactRejected, match=r"bad\.onnx: expected a model"):
        promote(world.settings, bad)
    with pytest.raises(SettingsRejected, match="saw none; name its file, or set DETECTOR_SHADOW__"):
        promote(world.settings)
    assert world.model.read_text() == OLD
    assert not (tmp_path / "model.onnx.previous").exists()


def test_a_folder_that_cannot_be_written_is_named(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    promoting(monkeypatch)
    candidate = tmp_path / "candidate.onnx"
    candidate.write_text(NEW)

    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("detector.promote.tempfile.mkstemp", refuse)
    with pytest.raises(SettingsRejected, match="expected to write beside it, saw: Permission"):
        promote(world.settings, candidate)
    assert world.model.read_text() == OLD
