"""The settings of one route: which streams go to which model, and what is told of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError

from detector.mapping import Input
from detector.protection import Table
from detector.telling import Judge


def _part_of(table: type[Table]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return what checks that some settings are a table's own."""

    def check(given: dict[str, Any]) -> dict[str, Any]:
        try:
            table.model_validate(given)
        except ValidationError as error:
            fault = error.errors()[0]
            name = ".".join(map(str, fault["loc"]))
            msg = f"expected settings of {table.__name__.lower()}, saw {name}: {fault['msg']}"
            raise ValueError(msg) from error
        return given

    return check


def _no_registry(given: dict[str, Any]) -> dict[str, Any]:
    shared = sorted(name for name in given if name.startswith("registry_"))
    if shared:
        msg = f"expected the one schema registry in [input], saw {', '.join(shared)} in a route"
        raise ValueError(msg)
    return given


class RouteSettings(Table):
    """The first route that fits takes a stream; `model` judges those that none takes."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", description="For people, and the kept state."
    )
    topic: str = Field("*", min_length=1, description="Pattern of topics, in the shell's way.")
    streams: str = Field("*", min_length=1, description="Pattern of stream ids, likewise.")
    share: float = Field(
        1.0, gt=0, le=1, description="Of these streams, by a hash of the id: for a canary."
    )
    model: Path | None = Field(
        None, description="The ONNX file; without one its records are counted, and no more."
    )
    alerts_topic: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,249}$",
        description="Topic for its alerts; None: that of `output`.",
    )
    input: Annotated[
        dict[str, Any], AfterValidator(_no_registry), AfterValidator(_part_of(Input))
    ] = Field({}, description="What differs from `input`, where producers write otherwise.")
    judge: Annotated[dict[str, Any], AfterValidator(_part_of(Judge))] = Field(
        {}, description="What differs from `judge`."
    )
