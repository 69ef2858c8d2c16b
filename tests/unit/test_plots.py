"""Charts show what they are given, whatever it is, and are well-formed."""

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.plots import HIGH, WIDE, bars, lines

value = st.floats(0, 1e9) | st.integers(0, 100).map(float)
anything = st.floats(-1e6, 1e6) | st.just(float("nan"))
names = st.lists(st.text("ab<&\"'", min_size=1), min_size=1, max_size=4, unique=True)


def inside(svg: str) -> None:
    """Every point lies within the picture."""
    root = ET.fromstring(svg)  # noqa: S314 - our own
    for part in root.iter():
        for name, most in (("cx", WIDE), ("x", WIDE), ("cy", HIGH), ("y", HIGH)):
            if name in part.attrib and part.tag != "text":
                assert -0.1 <= float(part.attrib[name]) <= most + 0.1, part.attrib


@given(st.data(), names)
def test_bars_are_well_formed(data: st.DataObject, series: list[str]) -> None:
    count = data.draw(st.integers(0, 40))
    parts = st.lists(value, min_size=count, max_size=count)
    svg = bars([f"<{n}>" for n in range(count)], {name: data.draw(parts) for name in series}, "A&B")
    inside(svg)


@given(st.data(), names)
def test_lines_are_well_formed(data: st.DataObject, series: list[str]) -> None:
    count = data.draw(st.integers(0, 40))
    parts = st.lists(anything, min_size=count, max_size=count)
    x = [str(n) for n in range(count)]
    inside(lines(x, {name: data.draw(parts) for name in series}, "A&B", mark=0.25))


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.0, 6918.0], ["0", "2,000", "4,000", "6,000", "8,000"]),
        ([-0.04, 0.3], ["-0.1", "0", "0.1", "0.2", "0.3"]),
        ([-900.0, 0.1], ["-1,000", "-750", "-500", "-250", "0", "250"]),
        ([float("nan")], ["0", "0.25", "0.5", "0.75", "1"]),
    ],
)
def test_the_scale_is_of_round_numbers_and_has_a_zero(
    values: list[float], ticks: list[str]
) -> None:
    svg = lines(["x"] * len(values), {"one": values}, "One")
    assert re.findall(r'text-anchor="end">([^<]+)<', svg) == ticks
    assert svg.count("<circle") == sum(v == v for v in values)  # noqa: PLR0124 - NaN
