"""The page of `training evaluate` in a browser: it shows all, complains of nothing, asks nobody."""

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib.image import imread
from small_model import write_fleet

from training.__main__ import main

QUIET = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--no-first-run", "--disable-dev-shm-usage",
    "--hide-scrollbars", "--force-device-scale-factor=1", "--virtual-time-budget=5000",
    "--enable-logging=stderr",
]  # fmt: skip
DARK = "--blink-settings=preferredColorScheme=0"
# What the page looks like to itself: with folds open, every chart's size, and how wide all is.
MEASURE = """
<script>
for (const fold of document.querySelectorAll("details")) fold.open = true;
const charts = [...document.querySelectorAll("svg")].map(svg => {
  const box = svg.getBoundingClientRect();
  return [box.width, box.height];
});
const wide = [document.documentElement.scrollWidth, innerWidth];
document.title = JSON.stringify({charts, wide});
</script>
"""


class Browser:
    """Chromium without a head, and a server that notes what it is asked for."""

    def __init__(self, program: str, folder: Path) -> None:
        self.folder, self._program = folder, program
        self.asked: list[str] = []
        asked = self.asked

        class Noting(SimpleHTTPRequestHandler):
            def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
                asked.append(f"{self.path} {int(code)}")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Noting, directory=folder))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def show(self, page: str, *options: str, width: int = 1280) -> tuple[str, list[str]]:
        """Return what the page became, and each line of its console."""
        url = f"http://127.0.0.1:{self._server.server_port}/{page}"
        profile = self.folder / "profile"
        done = subprocess.run(
            [self._program, *QUIET, f"--user-data-dir={profile}", f"--window-size={width},2000",
             *(options or ["--dump-dom"]), url],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    def picture(
        self, page: str, *options: str
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        path = self.folder / "picture.png"
        self.show(page, f"--screenshot={path}", *options)
        return np.asarray(imread(path))[..., :3]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium to open the page in; Debian's package `chromium` has it")
    made = Browser(program, tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def page(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated")
    write_fleet(folder / "labelled.parquet", pumps=14, seconds=600, seed=5)
    table = pq.read_table(folder / "labelled.parquet")
    broken = np.zeros(14 * 600, np.int64)
    pressure = table["pressure"].to_numpy().copy()
    for start in (300, 1500):
        broken[start : start + 100] = 1
        pressure[start : start + 100] = 0.0
    columns = {name: table[name] for name in table.column_names} | {"pressure": pressure}
    pq.write_table(pa.table(columns | {"anomaly": broken}), folder / "labelled.parquet")
    config = (small_run / "config.toml").read_text()
    (folder / "small.toml").write_text(f'{config}\n[evaluate]\nfiles = ["labelled.parquet"]\n')
    arguments = ["--model", str(small_run / "model.onnx"), "--output", str(folder)]
    assert main(["evaluate", str(folder / "small.toml"), *arguments]) == 0
    return folder / "report.html"


def test_a_browser_has_nothing_to_complain_of_and_nothing_to_ask_for(
    browser: Browser, page: Path
) -> None:
    shutil.copy(page, browser.folder)
    became, console = browser.show("report.html")
    assert console == []
    assert browser.asked == ["/report.html 200"]
    assert became.count("<section") == 9
    for name in ("Worst moments", "Threshold and false alerts", "All figures"):
        assert f"<h2>{name}</h2>" in became


@pytest.mark.parametrize("width", [500, 1280])
def test_every_chart_has_a_size_and_the_page_is_no_wider_than_the_screen(
    browser: Browser, page: Path, width: int
) -> None:
    text = re.sub("<meta http-equiv.*?>", "", page.read_text(encoding="utf-8"))
    (browser.folder / "measured.html").write_text(text.replace("</body>", MEASURE + "</body>"))
    became, console = browser.show("measured.html", width=width)
    assert console == []
    title = re.search("<title>(.*?)</title>", became)
    assert title is not None
    told = json.loads(title[1])
    assert len(told["charts"]) == text.count("<svg") >= 14 + 5
    assert all(chart_width >= 300 and height >= 40 for chart_width, height in told["charts"])
    assert told["wide"][0] <= told["wide"][1]


def test_it_is_light_or_dark_as_the_screen_is(browser: Browser, page: Path) -> None:
    shutil.copy(page, browser.folder)
    light, dark = browser.picture("report.html"), browser.picture("report.html", DARK)
    assert np.median(light) > 0.9
    assert np.median(dark) < 0.2
    # A line's colour: blue well above red.
    for picture in (light, dark):
        assert ((picture[..., 2] - picture[..., 0]) > 0.3).sum() > 500


def test_a_page_that_is_not_whole_would_be_noticed(browser: Browser, page: Path) -> None:
    bad = "<img src='missing.png'><img src='https://elsewhere.invalid/a.png'>"
    text = page.read_text(encoding="utf-8")
    open_text = re.sub("<meta http-equiv.*?>", "", text)
    (browser.folder / "strict.html").write_text(text.replace("</main>", bad))
    (browser.folder / "open.html").write_text(
        open_text.replace("</main>", bad + "<script>nothing.there()</script>")
    )
    _, console = browser.show("strict.html")
    assert len([line for line in console if "Content Security Policy" in line]) == 2
    assert browser.asked == ["/strict.html 200"]
    _, console = browser.show("open.html")
    assert any("nothing is not defined" in line for line in console)
    assert "/missing.png 404" in browser.asked
