"""What the documents show is what happens."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT
from fakes import chunk_of
from small_model import SMALL, write_fleet

from detector.decode import decode
from detector.settings import describe
from detector.validate import Format

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_shell_blocks_run_as_they_stand(tmp_path: Path) -> None:
    write_fleet(tmp_path / "build/demo/history.parquet", pumps=4, seconds=1500, seed=1)
    (tmp_path / "build/demo/pump.toml").write_text(SMALL)
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parent.parent)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    script = "set -eu\n" + "\n".join(blocks("sh"))
    script = re.sub(r"^make", "make -n", script, flags=re.MULTILINE)  # they install and run us
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DETECTOR_")}
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "build/pump/losses.png").exists()
    assert len((tmp_path / "build/scored.csv").read_text().splitlines()) == 6001
    assert "it says what is missing" in done.stdout


@pytest.mark.parametrize("example", blocks("json"))
def test_the_example_records_are_valid(example: str) -> None:
    assert json.loads(example)
    chunk = chunk_of([(b"pump", example.encode())])
    assert not decode(chunk, Format(("pressure", "temperature"))).bad


def test_every_setting_that_is_named_exists() -> None:
    texts = [path.read_text(encoding="utf-8") for path in ROOT.glob("*.md")]
    texts += [(ROOT / "Dockerfile").read_text(encoding="utf-8")]
    named = set(re.findall(r"DETECTOR_[A-Z_]+", "".join(texts))) - {"DETECTOR_DATA"}
    assert named <= {variable for variable, _, _ in describe()}


def test_every_file_that_is_named_exists() -> None:
    for document in ("README.md", "ARCHITECTURE.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (ROOT / target).exists(), f"{document} names {target}"


def test_every_test_that_is_named_exists() -> None:
    architecture = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", architecture))
    code = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/*/test_*.py"))
    assert named
    assert [name for name in sorted(named) if f"def {name}(" not in code] == []


def test_the_daemon_needs_neither_torch_nor_pyarrow() -> None:
    code = "import detector.__main__, sys; print(sorted({'torch', 'pyarrow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert not [need for need in project["dependencies"] if need.startswith(("torch", "pyarrow"))]
