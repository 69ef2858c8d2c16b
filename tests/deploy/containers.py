"""The image, built with docker or buildah, and how to start what is in it."""

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from detector.settings import describe

TAG = "detector-test"
MODEL = "/etc/detector/model/model.onnx"

# The root read-only, nobody's user, no way to more: what `docker run --read-only` does. There is
# no engine to ask where buildah built it, only the kernel.
START = """
set -e
mount --bind "$0" "$0"
mount --bind "$1" "$0{model}"
mount -t proc proc "$0/proc"
mount --rbind /dev "$0/dev"
mount -o remount,bind,ro "$0"
root=$0
shift
exec unshare --root="$root" --wd=/ setpriv --regid={group} --reuid={user} --clear-groups \
    --no-new-privs --bounding-set=-all --inh-caps=-all -- "$@"
"""


def said(*command: str | Path) -> str:
    """Return what a command said; it must work."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{shlex.join(map(str, command))}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def docker_runs() -> bool:
    """Whether there is a docker engine to talk to."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


class Image:
    """The image of this checkout."""

    def __init__(self) -> None:
        self.docker = docker_runs()
        if not self.docker and (shutil.which("buildah") is None or os.geteuid() != 0):
            pytest.skip("no docker engine here, nor buildah and root; Debian has buildah")
        said(ROOT / "deploy" / "image" / "build.sh", TAG)
        self._container = self.root = ""
        if not self.docker:
            self._container = said("buildah", "from", f"localhost/{TAG}")
            self.root = said("buildah", "mount", self._container)

    @property
    def config(self) -> dict[str, Any]:
        """What the image says of itself, in docker's words."""
        if self.docker:
            found = json.loads(said("docker", "image", "inspect", TAG))[0]["Config"]
        else:
            found = json.loads(said("buildah", "inspect", "--type=image", TAG))["Docker"]["config"]
        return dict(found)

    @property
    def size(self) -> int:
        """Bytes, unpacked."""
        if self.docker:
            return int(json.loads(said("docker", "image", "inspect", TAG))[0]["Size"])
        return int(said("du", "--summarize", "--bytes", "--one-file-system", self.root).split()[0])

    def command(self, model: Path, *arguments: str) -> list[str]:
        """Return what starts the image with a model and settings from the environment."""
        if self.docker:
            names = [f"--env={variable}" for variable, _, _ in describe()]
            return [
                "docker", "run", "--rm", "--read-only", "--cap-drop=ALL", "--network=host",
                "--security-opt=no-new-privileges", f"--volume={model}:{MODEL}:ro", *names, TAG,
                *arguments,
            ]  # fmt: skip
        config = self.config
        inside = Path(f"{self.root}{MODEL}")
        inside.parent.mkdir(parents=True, exist_ok=True)
        inside.touch()
        user, group = config["User"].split(":")
        script = START.format(model=MODEL, user=user, group=group)
        return [
            "unshare", "--mount", "sh", "-c", script, self.root, str(model),
            *config["Entrypoint"], *(arguments or config["Cmd"]),
        ]  # fmt: skip

    def close(self) -> None:
        """Remove it; the image of Python stays, for the next time."""
        if self.docker:
            said("docker", "image", "rm", TAG)
        else:
            said("buildah", "rm", self._container)
            said("buildah", "rmi", TAG)
