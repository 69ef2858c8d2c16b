"""The demo from its first line to its last, and stopped halfway."""

import re
import signal
import subprocess
import sys
from pathlib import Path

from daemons import until


def demo(folder: Path, seconds: int) -> subprocess.Popen[str]:
    command = [
        sys.executable, "-m", "training.demo", "--seconds", str(seconds), "--folder", str(folder)
    ]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_the_demo_finds_faults_and_says_how_many(tmp_path: Path) -> None:
    with demo(tmp_path, 30) as process:
        said, _ = process.communicate(timeout=280)
    assert process.returncode == 0, said
    closing = re.search(r"(\d+) faults played: (\d+) found, (\d+) missed.*?(\d+) false", said)
    assert closing, said
    played, found, missed, _ = map(int, closing.groups())
    assert played == found + missed == 6
    assert found >= 1, said
    assert re.search(r"pump-\d\d (warning|critical) unlike itself since .*expected", said), said
    assert "/metrics" in said
    assert "daemon stopped, exit code 0" in said


def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path) -> None:
    with demo(tmp_path, 300) as process:
        until((tmp_path / "run" / "model.onnx").exists, "a trained model", 200)
        until((tmp_path / "detector.log").exists, "a daemon", 60)
        until(lambda: "partitions moved" in (tmp_path / "detector.log").read_text(), "it polls")
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "daemon stopped, exit code 0" in said
    assert said.rstrip().endswith("stopped")
