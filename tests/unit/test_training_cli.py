"""The command line of training: what it writes, what it says, what it refuses."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel

from detector.model import load
from training.__main__ import main
from training.config import Config, DataChannel

CONFIG = """\
# Comments and spacing   stay.
name = "tiny"
[data]
files = ["history-*.csv"]
channels = [{ name = "a", unit = "bar" }, { name = "b", column = "second" }]
[network]
hidden = 4
bottleneck = 2
window = 2
[fit]
epochs = 2
lanes = 4
[score]
windows = 16
warm_up = 5
[evaluate]
files = ["labelled.csv"]
"""
START = 1_700_000_000


def write_rows(path: Path, rows: int, seed: int = 0) -> None:
    random = np.random.default_rng(seed)
    x = np.sin(np.arange(rows)[:, None] / 5 + [0, 1]) + 0.1 * random.normal(size=(rows, 2))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ts", "a", "second", "anomaly"])
        for t, (a, b) in enumerate(x.tolist()):
            off = 100 <= t < 130
            writer.writerow([START + t, a + 9 * off, b, int(off)])


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    for pump in range(2):
        write_rows(folder / f"history-{pump}.csv", 500, seed=pump)
    write_rows(folder / "labelled.csv", 200, seed=9)
    (folder / "tiny.toml").write_bytes(CONFIG.replace("\n", "\r\n").encode())
    assert main(["fit", str(folder / "tiny.toml"), "--output", str(folder / "run")]) == 0
    return folder


def test_fit_leaves_all_of_a_run_in_its_folder(fitted: Path) -> None:
    run = fitted / "run"
    pictures = ["calibration.png", "losses.png"]
    files = ["about.json", *pictures, "config.toml", "losses.csv", "model.onnx", "weights.npz"]
    assert sorted(path.name for path in run.iterdir()) == sorted(files)
    assert (run / "config.toml").read_bytes() == (fitted / "tiny.toml").read_bytes()
    losses = list(csv.DictReader((run / "losses.csv").read_text().splitlines()))
    assert [loss["epoch"] for loss in losses] == ["0", "1"]
    assert all(float(loss["train"]) > 0 < float(loss["valid"]) for loss in losses)
    for picture in pictures:
        assert (run / picture).read_bytes().startswith(b"\x89PNG")
    about, manifest = (
        json.loads((run / "about.json").read_text()),
        load(run / "model.onnx").manifest,
    )
    assert about["name"] == manifest.name == "tiny"
    assert [(c.name, c.unit) for c in manifest.channels] == [("a", "bar"), ("b", "")]


def test_export_makes_the_same_version_again(
    fitted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = fitted / "again.onnx"
    assert main(["export", str(fitted / "run"), "--output", str(again)]) == 0
    version = load(fitted / "run" / "model.onnx").manifest.version
    assert load(again).manifest.version == version
    assert capsys.readouterr().out == f"wrote {again} (version {version[:12]})\n"


def test_evaluate_prints_figures_and_draws_the_scores(
    fitted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, output = str(fitted / "run" / "model.onnx"), fitted / "pictures"
    arguments = ["--model", model, "--output", str(output)]
    assert main(["evaluate", str(fitted / "tiny.toml"), *arguments]) == 0
    *figures, wrote = capsys.readouterr().out.splitlines()
    told = dict(line.split() for line in figures)
    assert (told["readings"], told["anomalous"], told["events"]) == ("200", "30", "1")
    assert told.keys() >= {"f1", "far", "mar", "found", "delay_s", "false_a_day"}
    assert wrote == f"wrote {output / 'scores.png'} and {output / 'report.html'}"
    report = (output / "report.html").read_text()
    assert f"version {load(Path(model)).manifest.version[:12]}" in report
    assert "Loss over 2 passes" in report  # the model lies in its run folder
    assert (output / "scores.png").read_bytes().startswith(b"\x89PNG")


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must end with exit code 2 and one line that says why."""
    capsys.readouterr()
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith("training: ")
    assert told.count("\n") == 1
    return told


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("[data]", "[data", "expected TOML, saw: "),
        ("hidden", "hiden", "network.hiden: Extra inputs are not permitted; `training fit --help`"),
        ("epochs = 2", "epochs = 0", "fit.epochs: Input should be greater than or equal to 1"),
        ("lanes = 4", "shares = [0.5, 0.2, 0.2]", "expected shares that add up to 1, saw 0.9"),
        ('name = "tiny"', "", "name: Field required"),
        ("history-*", "no-*", "no-*.csv, saw none; mend `files`"),
        ("second", "third", "expected columns third; saw ts, a, second, anomaly"),
    ],
)
def test_a_configuration_that_is_wrong_is_refused(
    fitted: Path, capsys: pytest.CaptureFixture[str], before: str, after: str, says: str
) -> None:
    config = fitted / "wrong.toml"
    config.write_text(CONFIG.replace(before, after, 1))
    assert says in refusal(capsys, "fit", str(config), "--output", str(fitted / "wrong"))
    assert not (fitted / "wrong" / "model.onnx").exists()


def test_a_configuration_that_cannot_be_read_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no.toml: expected a training config" in refusal(
        capsys, "fit", str(tmp_path / "no.toml")
    )
    (tmp_path / "latin.toml").write_bytes('name = "Kühlung"'.encode("latin-1"))
    assert "latin.toml: expected" in refusal(capsys, "fit", str(tmp_path / "latin.toml"))


@pytest.mark.parametrize("rows", [1, 3, 60])
def test_a_history_that_is_too_short_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: int
) -> None:
    write_rows(tmp_path / "history-0.csv", rows)
    assert "expected" in refuse_fit(tmp_path, capsys)


def test_a_history_in_which_nothing_moves_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{START + t},1,2" for t in range(500)]
    (tmp_path / "history-0.csv").write_text("\n".join(["ts,a,second", *rows]))
    assert "expected" in refuse_fit(tmp_path, capsys)


def refuse_fit(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    (folder / "tiny.toml").write_text(CONFIG)
    return refusal(capsys, "fit", str(folder / "tiny.toml"), "--output", str(folder / "run"))


@pytest.mark.parametrize("content", ["", "never,1,2,0\n"])
def test_labelled_data_without_a_reading_is_refused(
    fitted: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    (fitted / "empty.csv").write_text("ts,a,second,anomaly\n" + content)
    (fitted / "empty.toml").write_text(CONFIG.replace("labelled", "empty"))
    model = str(fitted / "run" / "model.onnx")
    told = refusal(capsys, "evaluate", str(fitted / "empty.toml"), "--model", model)
    assert "empty.csv" in told


def test_what_a_command_needs_and_lacks_is_named(
    fitted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (fitted / "bare.toml").write_text(CONFIG[: CONFIG.index("[evaluate]")])
    assert "expected a table [evaluate]" in refusal(capsys, "evaluate", str(fitted / "bare.toml"))
    no_model = refusal(capsys, "evaluate", str(fitted / "tiny.toml"), "--model", "no.onnx")
    assert "no.onnx: expected a model file, saw: No such file" in no_model
    half = fitted / "half"
    half.mkdir()
    assert "about.json" in refusal(capsys, "export", str(half))
    (half / "about.json").write_text("{}")
    assert "half" in refusal(capsys, "export", str(half))


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("fit", ["CONFIG.toml", "--output"]),
        ("evaluate", ["CONFIG.toml", "--model", "--output"]),
        ("compare", ["--data", "--models", "--seeds", "--output", "encoder_decoder"]),
        ("export", ["RUN", "--output"]),
    ],
)
def test_help_names_every_option(
    capsys: pytest.CaptureFixture[str], command: str, options: list[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    told = capsys.readouterr().out
    assert [option for option in options if option not in told] == []


EXAMPLE = Config.model_validate(
    {"name": "x", "data": {"files": ["f"], "channels": ["c"]}, "evaluate": {"files": ["f"]}}
)


def test_help_lists_every_entry_of_a_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--help"])
    told = capsys.readouterr().out

    def entries(model: type[BaseModel]) -> list[str]:
        return [f"    {name} (" for name in model.model_fields]

    tables = {name: type(getattr(EXAMPLE, name)) for name in Config.model_fields if name != "name"}
    assert [name for name in tables if f"[{name}]" not in told] == []
    listed = [entry for model in tables.values() for entry in entries(model)]
    assert [entry for entry in listed if entry not in told] == []
    described = [field.description or "" for field in DataChannel.model_fields.values()]
    assert [text for text in described if text not in told] == []
