"""How far every channel's expected value is off, without and with a label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from detector.artifact import Manifest
from detector.records import Doubles
from training.evaluate import Track
from training.perplexity import lines
from training.report.charts import NORMAL, QUANTILES, draw_channels
from training.report.page import Block, Picture, Section, Table, Text
from training.report.words import SIGMA, number, percent, with_unit

MOST = 40  # channels in one chart

# What is said of channels that have no error of their own.
OTHERS = {
    ("constant",): "Constant in the history; any change is new",
    ("command", "status"): "Inform, and are not scored",
}


@dataclass(frozen=True, slots=True)
class Errors:
    """One channel's errors over N readings that have a value.

    Attributes:
        quantiles: [5] the `QUANTILES` of the residual; NaN without readings.
        rms: Root mean square of expected minus seen, engineering units.
        beyond: Part of the residuals of more than `NORMAL` standard deviations.
    """

    quantiles: Doubles
    rms: float
    beyond: float


def channels(manifest: Manifest, tracks: Mapping[str, Track]) -> Section:
    """Return the section; the channels that labelled readings disturb most come first."""
    scored = [c for c, channel in enumerate(manifest.channels) if channel.role == "telemetry"]
    blocks = [*_compared(manifest, tracks, scored), *map(Text, lines(manifest.training))]
    for roles, says in OTHERS.items():
        names = [channel.name for channel in manifest.channels if channel.role in roles]
        if names:
            blocks.append(Text(f"{says}: {', '.join(names)}."))
    return Section(
        "channels",
        "Error of each channel",
        "How far the expected value is off, where nothing is labelled and where something is. "
        f"The grey band is ± {NORMAL} {SIGMA} of held-out normal data; the typical error is the "
        "root mean square, in the channel's unit. Channels that labels disturb most come first.",
        blocks,
    )


def _compared(
    manifest: Manifest, tracks: Mapping[str, Track], scored: Sequence[int]
) -> list[Block]:
    """Return a chart and a table of channels; nothing where there are only symbols."""
    if not scored:
        return []
    told = {c: [errors(tracks, c, labelled=flag) for flag in (False, True)] for c in scored}
    order = sorted(scored, key=lambda c: -_disturbed(*told[c]))
    rows = [
        (
            with_unit(manifest.channels[c].name, manifest.channels[c].unit),
            *(number(one.rms) for one in told[c]),
            *(percent(one.beyond) for one in told[c]),
        )
        for c in order
    ]
    alt = "Spread of residuals. " + "; ".join(
        f"{row[0]}: {row[3]} of normal and {row[4]} of labelled readings beyond {NORMAL} {SIGMA}"
        for row in rows
    )
    names = [manifest.channels[c].name for c in order[:MOST]]
    spread = [np.stack([told[c][i].quantiles for c in order[:MOST]], 1) for i in (0, 1)]
    return [
        Picture(draw_channels(names, *spread), alt),
        Table(
            (
                "channel",
                "typical error, normal",
                "typical error, labelled",
                f"beyond {NORMAL} {SIGMA}, normal",
                f"beyond {NORMAL} {SIGMA}, labelled",
            ),
            rows,
        ),
    ]


def errors(tracks: Mapping[str, Track], c: int, *, labelled: bool) -> Errors:
    """Return a channel's errors over all streams, past warm-up.

    Args:
        tracks: By stream.
        c: The channel.
        labelled: Over the readings with (True) or without (False) a label.
    """
    residual, off = [], []
    for track in tracks.values():
        rows = track.counts & track.warm & (track.label == labelled) & np.isfinite(track.x[:, c])
        residual.append(track.residual[rows, c])
        off.append(track.expected[rows, c] - track.x[rows, c])
    told, by = np.concatenate(residual), np.concatenate(off).astype(np.float64)
    if not len(told):
        return Errors(np.full(len(QUANTILES), np.nan), float("nan"), float("nan"))
    return Errors(
        np.quantile(told.astype(np.float64), QUANTILES),
        float(np.sqrt((by**2).mean())),
        float((np.abs(told) > NORMAL).mean()),
    )


def _disturbed(normal: Errors, labelled: Errors) -> float:
    """Return how much larger errors are where something is wrong; 0 where nothing can be told."""
    ratio = labelled.rms / normal.rms if normal.rms else 0.0
    return ratio if np.isfinite(ratio) else 0.0
