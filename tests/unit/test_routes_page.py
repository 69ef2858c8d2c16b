"""docs/routes.md shows what happens."""

import re
import tomllib
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from rigs import Rig

from detector.records import Chunk, Partition
from detector.routed import names_of, routes_of
from detector.routes import Routes
from detector.settings import Settings

PAGE = (ROOT / "docs/routes.md").read_text(encoding="utf-8")
ROW = re.compile(r"\| `(.+)` \| `(.+)` \| (.+) \|")


@pytest.fixture
def routes(monkeypatch: pytest.MonkeyPatch) -> Routes:
    monkeypatch.delenv("DETECTOR_CONFIG", raising=False)
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    given: dict[str, Any] = tomllib.loads(text)
    settings = Settings(**given)
    assert names_of(settings) == ["motors", "wind", "canary", ""]
    return routes_of(settings, lambda _: Rig().scorer())


def test_each_stream_goes_where_the_table_says(routes: Routes) -> None:
    rows = ROW.findall(PAGE)
    assert len(rows) == 7
    for topic, key, where in rows:
        one, zero = Partition(topic, 0), np.zeros(1, np.int64)
        ((route, _),) = routes.split(Chunk(one, zero, zero, [key.encode()], [b""]))
        assert (f"`{route.name}`" if route.name else "the others") == where, (topic, key)
