"""A schema registry is asked once, believed where it speaks, and waited for where it does not."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError
from registries import StandIn
from secured import Authority

from detector.errors import RegistryLost
from detector.mapping import Input
from detector.registry import Registry, Schema, registry_of
from detector.secret import Secret


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    made = StandIn()
    yield made
    made.close()


def test_a_schema_is_what_it_says_and_avro_where_it_does_not_say(stand_in: StandIn) -> None:
    stand_in.has(1, '"long"')
    stand_in.has(2, "{}", schemaType="JSON")
    registry = Registry(f"{stand_in.url}/")
    assert registry.schema(1) == Schema("AVRO", '"long"')
    assert registry.schema(2) == Schema("JSON", "{}")
    assert registry.schema(3) is None
    registry.ping()


def test_the_url_may_have_a_path(stand_in: StandIn) -> None:
    stand_in.answers["/apis/ccompat/v7/schemas/ids/7"] = (200, b'{"schema": "\\"int\\""}')
    assert Registry(f"{stand_in.url}/apis/ccompat/v7").schema(7) == Schema("AVRO", '"int"')


def test_references_come_before_those_who_use_them(stand_in: StandIn) -> None:
    def refers(*subjects: str) -> list[dict[str, object]]:
        return [{"name": "n", "subject": subject, "version": 1} for subject in subjects]

    def has(subject: str, *others: str) -> None:
        said = {"schema": subject, "references": refers(*others)}
        stand_in.answers[f"/subjects/{subject}/versions/1"] = (200, json.dumps(said).encode())

    stand_in.has(1, "top", references=refers("a%2Fb", "c"))
    has("a%252Fb", "c")
    has("c", "c")  # itself: asked for no more
    assert Registry(stand_in.url).schema(1) == Schema("AVRO", "top", ("c", "a%252Fb"))
    stand_in.has(2, "top", references=refers("gone"))
    with pytest.raises(RegistryLost, match="no gone version 1"):
        Registry(stand_in.url).schema(2)
    stand_in.has(3, "top", references=[{"subject": "c"}])
    with pytest.raises(RegistryLost, match="references that are none"):
        Registry(stand_in.url).schema(3)
    for n in range(200):
        has(f"s{n}", f"s{n + 1}")
    stand_in.has(4, "top", references=refers("s0"))
    with pytest.raises(RegistryLost, match="more than 100"):
        Registry(stand_in.url).schema(4)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (500, b"{}", "saw 500"),
        (200, b"<html>", "saw 200"),
        (200, b"[]", "saw 200"),
        (200, b"{}", "without a schema"),
        (200, b"[" * 100_000, "saw 200"),
        (200, b'{"schema": "' + b"x" * (5 << 20), "saw 200"),
        (404, b'{"error_code": 404}', "is the path in input.registry_url right?"),
        (404, b"nginx", "is the path in input.registry_url right?"),
        (401, b"", "set input.registry_username"),
        (403, b"", "set input.registry_username"),
        (301, b"", "moved to http://other.example"),
    ],
)
def test_any_other_answer_is_none(stand_in: StandIn, status: int, body: bytes, said: str) -> None:
    stand_in.answers["/schemas/ids/1"] = (status, body)
    stand_in.location = "http://other.example" if status == 301 else None
    with pytest.raises(RegistryLost, match="expected a schema registry at http") as caught:
        Registry(stand_in.url).schema(1)
    assert said in str(caught.value)


def test_a_registry_that_is_away_is_told_apart_from_one_that_has_nothing() -> None:
    gone = StandIn()
    gone.close()
    with pytest.raises(RegistryLost, match="ConnectionRefusedError"):
        Registry(gone.url).ping()


def test_a_password_is_read_with_each_request(stand_in: StandIn, tmp_path: Path) -> None:
    file = tmp_path / "password"
    registry = Registry(stand_in.url, username="ü", password=Secret(file=file))
    with pytest.raises(RegistryLost, match="expected a secret in"):
        registry.ping()
    for password in ("old", "new"):
        file.write_text(f"{password}\n")
        registry.ping()
        assert stand_in.credentials is not None
        coded = stand_in.credentials.removeprefix("Basic ")
        assert base64.b64decode(coded).decode() == f"ü:{password}"
    Registry(stand_in.url).ping()
    assert stand_in.credentials is None


def test_a_certificate_must_be_vouched_for(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    stand_in = StandIn(authority.issue("registry"))
    Registry(stand_in.url, cafile=authority.file).ping()
    with pytest.raises(RegistryLost, match="CERTIFICATE_VERIFY_FAILED"):
        Registry(stand_in.url, cafile=other.file).ping()
    with pytest.raises(RegistryLost, match=r"missing\.pem"):
        Registry(stand_in.url, cafile=tmp_path / "missing.pem").ping()
    stand_in.close()


def test_settings_name_the_registry(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret")
    (tmp_path / "ca.pem").write_text("")
    given = Input(
        registry_url="https://registry:8081/api",
        registry_username="detector",
        registry_password_file=tmp_path / "password",
        registry_cafile=tmp_path / "ca.pem",
    )
    assert registry_of(given).url == "https://registry:8081/api"


@pytest.mark.parametrize(
    "wrong",
    [
        *[
            {"registry_url": url}
            for url in (
                "registry:8081",
                "ftp://r",
                "http://u:p@r",
                "http://r?x=1",
                "http://r:99999",
            )
        ],
        {"registry_url": "http://r", "registry_username": "u"},
        {"registry_url": "http://r", "registry_password_file": "FILE"},
        {"registry_username": "u", "registry_password_file": "FILE"},
        {"registry_url": "http://r", "registry_cafile": "FILE"},
    ],
)
def test_half_a_registry_is_refused(wrong: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    given = {k: str(tmp_path / "file") if v == "FILE" else v for k, v in wrong.items()}
    with pytest.raises(ValidationError):
        Input.model_validate(given)
