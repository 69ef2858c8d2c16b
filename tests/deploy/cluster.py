"""A real Kubernetes API server with controllers, a scheduler and fake nodes; and kubectl."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from daemons import until

Object = dict[str, Any]


def home() -> Path | None:
    """Return the folder of the server: KUBE_HOME (empty: none), or what lies beside us."""
    named = os.environ.get("KUBE_HOME")
    if named is not None:
        return Path(named) if named else None
    unpack = ROOT.parent / "shared" / "unpack.sh"
    if not unpack.exists():
        return None
    done = subprocess.run([unpack, "k8s"], capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


def kubectl() -> Path:
    """Return kubectl: the server's, or the machine's."""
    beside, found = home(), shutil.which("kubectl")
    if beside is not None:
        return beside / "bin" / "kubectl"
    if found is None:
        pytest.skip("no kubectl here, and KUBE_HOME names no folder that has it")
    return Path(found)


def rendered(folder: Path) -> str:
    """Return what kustomize makes of a folder, as YAML."""
    done = subprocess.run(
        [kubectl(), "kustomize", folder], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


class Cluster:
    """The server, from `start` to `close`."""

    def __init__(self, folder: Path, nodes: int = 3) -> None:
        beside = home()
        if beside is None:
            pytest.skip("no Kubernetes API server here; KUBE_HOME names the folder that has it")
        config = folder / "kubeconfig"
        self._environment = {
            **os.environ, "KUBECONFIG": str(config), "KUBECACHEDIR": str(folder / "cache"),
        }  # fmt: skip
        log = folder / "start.log"
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [
                    sys.executable, beside / "start.py", "--kubeconfig", config,
                    "--nodes", str(nodes), "--timeout", "90",
                ],
                stdout=out, stderr=out,
            )  # fmt: skip
        until(lambda: config.exists() or self._process.poll() is not None, "the API server", 90)
        assert config.exists(), log.read_text()

    def kubectl(self, *arguments: str | Path, stdin: str = "") -> tuple[int, str]:
        """Return the exit code, and what it said: answers, warnings and errors."""
        done = subprocess.run(
            [kubectl(), *arguments], input=stdin, env=self._environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=120,
        )  # fmt: skip
        return done.returncode, done.stdout

    def done(self, *arguments: str | Path, stdin: str = "") -> str:
        """Return what kubectl said; it must have worked, and nobody warned."""
        code, said = self.kubectl(*arguments, stdin=stdin)
        assert code == 0, said
        assert "Warning" not in said, said
        return said

    def get(self, *what: str) -> Object:
        """Return an object, or a list of them."""
        found: Object = json.loads(self.done("get", "--output=json", *what))
        return found

    def close(self) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait(timeout=30)
