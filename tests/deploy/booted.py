"""A real systemd as the first process of a container that shares this machine's /usr."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from conftest import ROOT
from daemons import until

# The daemon's interpreter is where nobody's home is, and its libraries are found there.
COMMAND = """#!/bin/sh
export LD_LIBRARY_PATH=/opt/python/lib PYTHONPATH=/opt/detector/src:/opt/detector/site
exec /opt/python/bin/python3 -m detector "$@"
"""


class Booted:
    """A machine that was just made, with the daemon installed and nothing configured.

    Its root is in memory, its /usr is ours, read-only; it has our network.
    """

    def __init__(self, files: dict[str, Path]) -> None:
        """Boot it, with files of ours at paths of its."""
        if shutil.which("systemd-nspawn") is None:
            pytest.skip("no systemd-nspawn here; Debian's package systemd-container has it")
        if os.geteuid() != 0:
            pytest.skip("only root may boot a container")
        self._folder = tempfile.TemporaryDirectory(prefix="booted-")
        opt = Path(self._folder.name) / "opt"
        for name in ("bin", "src/detector", "site"):
            (opt / name).mkdir(parents=True)
        (opt / "bin" / "detector").write_text(COMMAND)
        (opt / "bin" / "detector").chmod(0o755)
        binds = {
            "/opt/python": Path(sys.base_prefix),
            "/opt/detector": opt,
            "/opt/detector/site": Path(sysconfig.get_path("purelib")),
            "/opt/detector/src/detector": ROOT / "detector",
            **files,
        }
        self._log = Path(self._folder.name) / "nspawn.log"
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(
                [
                    "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--directory=/",
                    "--volatile=yes", "--console=pipe", "--kill-signal=SIGRTMIN+3",
                    f"--machine=detector-{os.getpid()}",
                    *(f"--bind-ro={ours}:{theirs}" for theirs, ours in binds.items()),
                    "--boot", "--", "--unit=basic.target",
                ],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )  # fmt: skip
        try:
            until(lambda: self._up or self._process.poll() is not None, "systemd", timeout_s=30)
        except AssertionError:
            self.close()
        if self._process.poll() is not None:
            pytest.skip(f"systemd does not boot in a container here: {self._log.read_text()}")

    def run(self, *command: str) -> str:
        """Run a command in it; return what it said, stripped."""
        done = self._enter(*command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}{self.journal}"
        return done.stdout.strip()

    def systemctl(self, *arguments: str) -> int:
        """Return systemctl's exit code."""
        return self._enter("systemctl", *arguments).returncode

    def show(self, unit: str, name: str) -> str:
        """Return a unit's property."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file of its."""
        at = Path(f"/proc/{self._leader}/root{path}")
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(text)
        at.chmod(mode)

    @property
    def journal(self) -> str:
        return self._enter("journalctl", "--no-pager", "-o", "cat", "-u", "detector*@*").stdout

    @property
    def _leader(self) -> int:
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0]) if children else 0

    @property
    def _up(self) -> bool:
        leader = self._leader
        return (
            bool(leader) and self._enter("systemctl", "is-active", "basic.target").returncode == 0
        )

    def _enter(self, *command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["nsenter", f"--target={self._leader}", "--all", *command],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    def close(self) -> None:
        """Switch it off."""
        leader = self._leader if self._process.poll() is None else 0
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            if leader:
                os.kill(leader, 9)
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
