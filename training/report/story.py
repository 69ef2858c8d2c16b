"""What happened: every stream along its time, and the moments that surprised most."""

from collections.abc import Mapping

import numpy as np

from detector.artifact import Channel, Manifest
from detector.judge import rules
from detector.records import Doubles, Floats
from training.evaluate import Track
from training.figures import measure
from training.report.curves import surprise
from training.report.moments import APART, Moment, story, worst
from training.report.page import (
    Block,
    Card,
    Cards,
    Fold,
    Key,
    Legend,
    Mood,
    Picture,
    Section,
    Strip,
    Table,
    Text,
)
from training.report.svg import KINDS, VARIABLES
from training.report.timelines import (
    AFTER,
    BEFORE,
    NORMAL,
    Scale,
    draw_moment,
    draw_strip,
    scale_of,
)
from training.report.words import SIGMA, clock, duration, number, one_in, percent, span, with_unit

SHOWN, DRAWN = 12, 40  # streams at once, and when asked for
WORST, WORST_NORMAL = 8, 4  # moments
GUILTY = 3  # channels of a moment


def thresholds(manifest: Manifest, asked: float) -> Doubles:
    """Return [K] the surprise above which a reading counts against its stream."""
    allowed = [t.reading_probability(asked, manifest.period_s) for t in manifest.calibration]
    return surprise(np.array(allowed))


def streams(manifest: Manifest, tracks: Mapping[str, Track], asked: float) -> Section:
    """Return every stream's surprise, alerts and labels; those with most wrong readings first."""
    scale = scale_of(tracks.values(), thresholds(manifest, asked))
    order = sorted(tracks, key=lambda name: -_wrong(tracks[name]))
    strips = [_strip(name, tracks[name], scale) for name in order[:DRAWN]]
    blocks: list[Block] = [_legend(manifest), *strips[:SHOWN]]
    if strips[SHOWN:]:
        left = f"{len(strips) - SHOWN} more streams"
        if len(order) > DRAWN:
            left += f" (of {len(order)} in all)"
        blocks.append(Fold(left, strips[SHOWN:]))
    return Section(
        "streams",
        "Streams over time",
        "How surprised the model was by each reading: how rarely a normal one scores as high. "
        "Streams with the most wrong readings (in alert without a label, or the reverse) come "
        "first.",
        blocks,
    )


def _wrong(track: Track) -> int:
    return int((track.in_alert != track.label)[track.counts].sum())


def _strip(name: str, track: Track, scale: Scale) -> Strip:
    figures = measure([track])
    told = "nothing labelled"
    if figures.events == 1:
        told = f"found after {duration(figures.delay_s)}" if figures.found else "not found"
    elif figures.events:
        told = f"found {figures.found} of {figures.events}"
        told += f", after {duration(figures.delay_s)}" if figures.found else ""
    notes = [span(int(track.ts_us[0]), int(track.ts_us[-1])), told]
    if figures.opened:
        notes.append(f"{figures.opened} false alert" + ("" if figures.opened == 1 else "s"))
    alt = f"Surprise of stream {name} over time. {'; '.join(notes)}."
    return Strip(name, notes, Picture(draw_strip(track, scale), alt))


def _legend(manifest: Manifest, more: tuple[Key, ...] = ()) -> Legend:
    kinds = manifest.kinds
    lines = [
        Key(VARIABLES[KINDS[k % len(KINDS)]], "line", f"surprise: {kind}")
        for k, kind in enumerate(kinds)
    ]
    lanes = "" if len(kinds) == 1 else f" (lanes from the top: {', '.join(kinds)})"
    keys = [
        *lines,
        Key(VARIABLES[KINDS[0]], "dash", "threshold"),
        Key("amber", "band", "labelled anomalous"),
        Key("red", "lane", f"in alert{lanes}"),
        Key("muted", "band", "warm-up, or skipped: does not count"),
    ]
    return Legend([*more, *keys])


def moments(manifest: Manifest, tracks: Mapping[str, Track], asked: float) -> Section:
    """Return the most surprising moments, and the most surprising ones without a label."""
    first = worst(tracks, WORST)
    quiet = [m for m in worst(tracks, WORST + WORST_NORMAL, quiet=True) if m not in first]
    levels = rules(manifest, asked).open_level
    scale = scale_of(tracks.values(), thresholds(manifest, asked))

    def cards(title: str, told: list[Moment]) -> Cards:
        return Cards(title, [_card(manifest, tracks[m.stream], m, levels, scale) for m in told])

    seen = (
        Key("ink", "line", "seen"),
        Key("teal", "line", "expected"),
        Key("teal", "band", f"normal: expected ± {NORMAL} {SIGMA}"),
    )
    blocks: list[Block] = [_legend(manifest, seen), cards("", first)]
    if quiet:
        blocks.append(cards("Most surprising far from any label", quiet[:WORST_NORMAL]))
    return Section(
        "moments",
        "Worst moments",
        f"The most surprising readings, one of each story (of what lies within {APART} readings, "
        f"one alert or one labelled stretch), with {BEFORE} readings before and {AFTER} after. "
        "Guilty channels come first, as in an alert: by their share of the squared residuals.",
        blocks if first else [Text("No reading is past its stream's warm-up.")],
    )


def _card(manifest: Manifest, track: Track, moment: Moment, levels: Floats, scale: Scale) -> Card:
    row = moment.row
    share = track.residual[row].astype(np.float64) ** 2
    share = share / max(share.sum(), np.finfo(np.float64).tiny)
    guilty = [(int(c), manifest.channels[c]) for c in np.argsort(-share, kind="stable")[:GUILTY]]
    off = "; ".join(_off(track, row, c, channel) for c, channel in guilty)
    alt = f"Readings around {clock(int(track.ts_us[row]))} UTC in stream {moment.stream}: {off}."
    by_channel = Table(
        ("channel", "seen", "expected", "off by", "share"),
        [
            (
                with_unit(channel.name, channel.unit),
                _value(channel, float(track.x[row, c]), 4),
                _value(channel, float(track.expected[row, c]), 4),
                f"{number(abs(float(track.residual[row, c])), 2)} {SIGMA}",
                percent(round(float(share[c]), 2)),
            )
            for c, channel in guilty
        ],
    )
    by_kind = Table(
        ("evidence", "score", "threshold", "among normal readings"),
        [
            (kind, number(float(track.score[row, k])), number(float(levels[k])),
             one_in(float(track.probability[row, k])))
            for k, kind in enumerate(manifest.kinds)
        ],
    )  # fmt: skip
    picture = Picture(draw_moment(track, row, guilty, scale), alt)
    return Card(
        f"{moment.stream}, {clock(int(track.ts_us[row]))} UTC",
        _tags(track, row),
        [picture, by_channel, by_kind],
    )


def _off(track: Track, row: int, c: int, channel: Channel) -> str:
    seen, expected = float(track.x[row, c]), float(track.expected[row, c])
    told, normal = (_value(channel, value) for value in (seen, expected))
    return f"{channel.name} {told}, expected {normal} {channel.unit}".strip()


def _value(channel: Channel, value: float, digits: int = 3) -> str:
    """Return a channel's value, or the name of the symbol that it means."""
    known = value in range(len(channel.symbols))
    return channel.symbols[int(value)] if known else number(value, digits)


def _tags(track: Track, row: int) -> list[tuple[str, Mood]]:
    """Return whether a reading is labelled and in alert, and what that makes of its story."""
    whole = story(track, row)
    label, alerting = bool(track.label[row]), bool(track.in_alert[row])
    if label and alerting:
        told: tuple[str, Mood] = ("in alert", "good")
    elif label:
        told = ("not in alert yet", "") if track.in_alert[whole].any() else ("missed", "bad")
    elif alerting:
        told = ("alert goes on", "") if track.label[whole].any() else ("false alert", "bad")
    else:
        told = ("no alert", "good")
    return [("labelled anomalous" if label else "no label", ""), told]
