"""What the page for those who run it says is so."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT

from detector.metrics import Metrics
from detector.settings import Settings, describe

DOCS = ROOT / "docs"
PAGE = (DOCS / "operate.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_every_file_that_is_named_exists() -> None:
    targets = set(re.findall(r"\]\(([^)#:]+)\)", PAGE))
    targets |= {f"../{path}" for path in re.findall(r"\bdeploy/[\w@./-]*\w", PAGE)}
    assert [target for target in targets if not (DOCS / target).exists()] == []


def test_every_setting_that_is_named_exists() -> None:
    known = {variable for variable, _, _ in describe()}
    assert set(re.findall(r"DETECTOR_[A-Z_]+", PAGE)) <= known
    tables = "|".join(set(Settings.model_fields) - {"model"})
    named = re.findall(rf"`((?:{tables})\.\w+)`", PAGE)
    assert named
    assert {"DETECTOR_" + name.replace(".", "__").upper() for name in named} <= known


def test_every_metric_that_is_named_exists() -> None:
    families = list(Metrics(("state", "onset")).registry.collect())
    known = {sample.name for family in families for sample in family.samples}
    known |= {family.name for family in families}  # without a sample yet
    known |= {f"{family.name}_total" for family in families}
    assert set(re.findall(r"`(detector_\w+)`", PAGE)) <= known


@pytest.mark.parametrize("example", blocks("toml"))
def test_the_example_settings_are_valid(example: str) -> None:
    Settings(model=Path("model.onnx"), **tomllib.loads(example))


@pytest.mark.parametrize("example", blocks("sh"))
def test_the_commands_are_ones_a_shell_reads(example: str) -> None:
    done = subprocess.run(["sh", "-n"], input=example, text=True, check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("example", blocks("Dockerfile"))
def test_the_example_image_has_nothing_to_mend(example: str) -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, "-"], input=example, text=True, check=False)
    assert done.returncode == 0
