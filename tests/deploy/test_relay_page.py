"""What the page about the relay says is so."""

import json
import re
import subprocess
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from conftest import ROOT
from relays import SECRET, alert

from detector.messages import alert_message
from detector.records import Partition
from detector.relay.alert import Told, event_of, read
from detector.relay.board import LASTS, NAMES
from detector.relay.command import POLL_RECORDS
from detector.relay.endpoint import REFUSALS
from detector.relay.watch import OUTCOMES, RelayMetrics
from detector.relay.webhook import keys_of, signature
from detector.relay_settings import Relay
from detector.settings import Settings, describe

DOCS = ROOT / "docs"
PAGE = (DOCS / "relay.md").read_text(encoding="utf-8")
US = 1_795_652_603_518_025


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def verify() -> Callable[..., str]:
    """The receiver's code, as it stands on the page."""
    (code,) = blocks("python")
    made: dict[str, Callable[..., str]] = {}
    exec(code, made)  # noqa: S102 - ours
    return made["verify"]


def signed(body: bytes, stamp: float, *secrets: str) -> dict[str, str]:
    keys = keys_of("\n".join(secrets))
    at = str(int(stamp))
    return {"webhook-id": "a_open_1", "webhook-timestamp": at,
            "webhook-signature": signature(keys, "a_open_1", at, body)}  # fmt: skip


def test_the_receivers_code_takes_what_we_sign_and_nothing_else(verify: Callable[..., str]) -> None:
    body, other = b'{"a": "\xc3\xa4"}', "whsec_" + "b" * 32
    headers = signed(body, time.time(), SECRET)
    assert verify(headers, body, SECRET) == "a_open_1"
    assert verify(signed(body, time.time(), other, SECRET), body, SECRET) == "a_open_1"
    for changed, content, secret in (
        (headers, body + b" ", SECRET), (headers, body, other),
        (headers | {"webhook-id": "b"}, body, SECRET),
        (headers | {"webhook-timestamp": str(int(time.time()) + 1)}, body, SECRET),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="not signed by us"):
            verify(changed, content, secret)
    for stamp in (time.time() - 301, time.time() + 310):
        with pytest.raises(ValueError, match="too old"):
            verify(signed(body, stamp, SECRET), body, SECRET)


def test_the_request_that_is_shown_is_the_one_that_is_sent() -> None:
    one = alert(7, stream="pump-7", opened_us=US, at_us=US + 1_500_000, offset=8141,
                partition=Partition("readings", 0))  # fmt: skip
    value = alert_message(one, "alerts").value or b""
    told = read(value)
    assert isinstance(told, Told)
    body = msgspec.json.encode(event_of(told, value))
    (shown,) = blocks("json")
    assert shown.encode() == body + b"\n"
    (http,) = blocks("http")
    headers = dict(line.split(": ", 1) for line in http.splitlines()[1:])
    assert headers["webhook-id"] == json.loads(body)["id"].replace(".", "_")
    made = signature(keys_of(SECRET), headers["webhook-id"], headers["webhook-timestamp"], body)
    assert headers["webhook-signature"] == made


@pytest.mark.parametrize("example", blocks("toml"))
def test_the_example_settings_are_valid(example: str) -> None:
    assert Settings(model=Path("none"), **tomllib.loads(example)).relay.to


@pytest.mark.parametrize("example", blocks("sh"))
def test_the_commands_are_ones_a_shell_reads(example: str) -> None:
    done = subprocess.run(["sh", "-n"], input=example, text=True, check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_command_that_makes_a_secret_makes_one(tmp_path: Path) -> None:
    (command,) = [block for block in blocks("sh") if "openssl" in block]
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
    assert len(keys_of((tmp_path / "webhook").read_text())[0]) == 32


def test_what_is_named_exists_and_figures_are_right() -> None:
    known = {variable for variable, _, _ in describe()}
    named = re.findall(r"`((?:relay|http|kafka)\.\w+)`", PAGE)
    assert {"DETECTOR_" + name.replace(".", "__").upper() for name in named} <= known
    metrics = {row.name for row in RelayMetrics("webhook").table.rows}
    assert set(re.findall(r"`(detector_\w+)`", PAGE)) <= metrics
    targets = set(re.findall(r"\]\(((?!http)[^)#:]+)\)", PAGE))
    targets |= {f"../{path}" for path in re.findall(r"\bdeploy/[\w@./-]*\w", PAGE)}
    assert [target for target in targets if not (DOCS / target).exists()] == []
    defaults = Relay()
    for name, shown in re.findall(r"`relay\.(\w+)` \(([\d,]+)", PAGE):
        default = getattr(defaults, name)
        if name != "forget_after_s":
            assert float(shown.replace(",", "")) == default, name
    assert defaults.forget_after_s == 30 * 86400
    assert ", ".join(map(str, sorted(REFUSALS))) in PAGE
    for name in ("StreamUnlikeItself", *NAMES.values()):
        assert f"`{name}`" in PAGE
    assert (LASTS, POLL_RECORDS) == (5, 500)
    assert set(OUTCOMES) <= {*re.findall(r"`(\w+)`", PAGE), "delivered"}
