"""The page about an evaluation: all of it is there, and nothing of it is elsewhere."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from fakes import manifest
from labelled import kinds, tracks_of

from detector.artifact import Channel, Manifest
from training.evaluate import Track
from training.report.evaluation import report
from training.report.words import NOTHING, SIGMA

SECTIONS = [
    "glance", "streams", "moments", "settings", "precision", "scores", "channels", "training",
    "figures",
]  # fmt: skip
TWO = manifest(calibration=kinds("state", "onset"))


class Seen(HTMLParser):
    """What a browser would find: elements, anchors, what would be loaded, words, charts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.sections: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.alts: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        self.ids += [told["id"]] if "id" in told else []
        if tag == "section":
            self.sections.append(told["id"])
        if tag == "a":
            self.links.append(told["href"])
        elif tag not in {"use", "meta"}:
            self.loads += [told[name] for name in ("src", "href", "data", "action") if name in told]
        if told.get("role") == "img":
            self.alts.append(told["aria-label"])

    def handle_data(self, data: str) -> None:
        self.words += data


def seen(made: Manifest, tracks: dict[str, Track], run: Path | None = None) -> Seen:
    text = report(made, tracks, 0.1, run)
    found = Seen(text)
    assert found.loads == ["data:,"]  # the icon, which a server would be asked for otherwise
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert "<script" not in text
    assert text.count("url(") == text.count("url(#c")
    assert found.sections == SECTIONS
    assert found.links == [f"#{name}" for name in SECTIONS]
    assert len(found.ids) == len(set(found.ids))
    assert all(len(alt) > 20 for alt in found.alts)
    return found


@pytest.mark.parametrize("names", [("state",), ("state", "onset")])
def test_a_page_holds_every_section_and_loads_nothing(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    made = manifest(calibration=kinds(*names))
    (tmp_path / "losses.csv").write_text("epoch,train,valid\n0,2.5,1.5\n1,1.25,0.75\n2,1,0.8\n")
    found = seen(made, tracks_of(tmp_path, made), tmp_path)
    assert "2 of 2 labelled stretches raised an alert" in found.words
    assert "validation from 1.5 to 0.8; pass 2 was kept, at 0.75" in found.words
    assert found.words.count("<pump> 1, 2023-11-14") >= 2  # moments
    strips = [alt for alt in found.alts if alt.startswith("Surprise of stream <pump>")]
    assert len(strips) == 3
    for kind in names:
        assert f"evidence: {kind}" in found.words
        assert f"average precision: {kind}" in found.words
        assert f"threshold ({kind})" in found.words
    assert ("average precision: all together" in found.words) == (len(names) > 1)
    assert "0.1 (in use)" in found.words
    assert found.words.count(f"beyond 3 {SIGMA}") >= 2
    assert "c1 (bar)" in found.words


def test_a_run_folder_without_losses_is_no_error(tmp_path: Path) -> None:
    told = "The model file does not lie in its run folder"
    assert told in seen(manifest(), tracks_of(tmp_path), tmp_path).words
    assert told in seen(manifest(), tracks_of(tmp_path)).words


def changed(tracks: dict[str, Track], **to: object) -> dict[str, Track]:
    """Set columns of every track to one value each."""
    return {
        name: replace(t, **{k: np.full_like(getattr(t, k), v) for k, v in to.items()})
        for name, t in tracks.items()
    }


@pytest.mark.parametrize(
    ("to", "says"),
    [
        ({"label": False}, "No reading that counts is labelled anomalous."),
        ({"label": True}, "There are no normal readings to count false alerts on."),
        ({"counts": False}, "No reading counts"),
        ({"warm": False}, "No reading is past its stream's warm-up."),
        ({"x": np.nan, "residual": 0.0}, "c1 (bar)" + 4 * NOTHING),
        ({"score": 0.0, "probability": 1.0}, "All figures"),
        ({"score": 1e9, "probability": 0.0, "alerting": True}, "rarer than 1 in a billion"),
    ],
)
def test_whatever_is_lacking_is_said(tmp_path: Path, to: dict[str, object], says: str) -> None:
    assert says in seen(TWO, changed(tracks_of(tmp_path, TWO), **to)).words.replace("\n", "")


def test_one_reading_is_enough(tmp_path: Path) -> None:
    tracks = {name: first(t, 1) for name, t in tracks_of(tmp_path).items()}
    assert "No reading is past its stream's warm-up." in seen(manifest(), tracks).words


def first(track: Track, rows: int) -> Track:
    return Track(**{name: getattr(track, name)[:rows] for name in Track.__slots__})


def test_channels_without_an_error_are_named(tmp_path: Path) -> None:
    named = (
        Channel(name="c0"),
        Channel(name="valve", role="constant"),
        Channel(name="speed", role="command"),
    )
    made = manifest().model_copy(update={"channels": named})
    words = seen(made, tracks_of(tmp_path)).words
    assert "Constant in the history; any change is new: valve." in words
    assert "Inform, and are not scored: speed." in words


def test_slow_streams_have_no_setting_without_a_closing_level(tmp_path: Path) -> None:
    made = manifest(period_s=86_400.0, largest_gap_s=864_000.0)
    words = seen(made, tracks_of(tmp_path, made)).words
    assert "Threshold and false alerts" in words


def test_a_page_stays_small_however_much_there_is(tmp_path: Path) -> None:
    one = list(tracks_of(tmp_path, TWO, streams=2, rows=4000).values())[1]
    many = first(one, 3900)
    random = np.random.default_rng(0)
    for column in (many.score, many.probability):
        column[:] = random.random(column.shape) ** 8
    flags = random.random((*many.alerting.shape, 2)) < 0.3
    noisy = replace(many, alerting=flags[..., 0], label=flags[:, 0, 1])
    text = report(TWO, {f"stream {n}": noisy for n in range(60)}, 0.1)
    assert len(text.encode()) < 3_000_000
    assert "28 more streams (of 60 in all)" in text
