"""What the settings say of each route, and the routes they make."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from detector.errors import SettingsRejected
from detector.mapping import Input, headers_of, layout_of
from detector.protection import Table
from detector.renewal import Shadow
from detector.routes import Route, Routes
from detector.scorer import Scorer
from detector.settings import Settings
from detector.topic_names import inputs_of

AnyTable = TypeVar("AnyTable", bound=Table)

LAST = ""  # the route of all that no other takes; its model is the settings' own


def names_of(settings: Settings) -> list[str]:
    """Return the names of the routes that have a model, in the order in which they are asked."""
    return [*(route.name for route in settings.routes if route.model), LAST]


def settings_for(settings: Settings, name: str) -> Settings:
    """Return the settings as they are for one route that has a model.

    Raises:
        SettingsRejected: If there is none of this name.
    """
    shadow = settings.shadow if settings.shadow.route == name else Shadow()
    if name == LAST:
        return settings.model_copy(update={"shadow": shadow})
    route = next((one for one in settings.routes if one.name == name and one.model), None)
    if route is None:
        known = ", ".join(filter(None, names_of(settings))) or "none"
        msg = f"expected a route with a model ({known}), saw {name!r}"
        raise SettingsRejected(msg)
    own = {"input": input_for(settings, name), "judge": _with(settings.judge, route.judge)}
    return settings.model_copy(update={"model": route.model, "shadow": shadow, **own})


def input_for(settings: Settings, name: str) -> Input:
    """Return how a route's records are read."""
    differs = (one.input for one in settings.routes if one.name == name)
    return _with(settings.input, next(differs, {}))


def headers_for(settings: Settings) -> tuple[str, ...]:
    """Return the headers that any route asks for."""
    names = [LAST, *(route.name for route in settings.routes)]
    asked = (header for name in names for header in headers_of(input_for(settings, name)))
    return tuple(dict.fromkeys(asked))


def _with(table: AnyTable, differs: dict[str, Any]) -> AnyTable:
    """Return a table with what differs."""
    if not differs:
        return table
    return type(table).model_validate({**table.model_dump(exclude_unset=True), **differs})


def routes_of(settings: Settings, make: Callable[[str], Scorer]) -> Routes:
    """Return the routes.

    Args:
        settings: Of the daemon.
        make: Makes the scorer of a route, by its name.

    Raises:
        SettingsRejected: If streams are to be told apart by what only the decoded value tells, or
            a channel is mapped that no model has.
    """
    told = settings.output.alerts_topic
    routes = [
        Route(
            (make(one.name),) if one.model else (),
            one.alerts_topic or told,
            one.name,
            one.topic,
            one.streams,
            one.share,
            layout_of(input_for(settings, one.name).model_copy(update={"channels": {}}), ()),
        )
        for one in settings.routes
    ]
    routes.append(Route((make(LAST),), told))
    _check_channels(settings, routes)
    inside = [route.name for route in routes if not (route.all_of_topic or route.sees_streams)]
    if inside:
        msg = (
            f"routes {', '.join(inside)}: expected records to name their stream in the key or a "
            "header, saw input settings that find it in the value; let producers set the key, "
            "or tell routes apart by `topic`"
        )
        raise SettingsRejected(msg)
    return Routes(routes, topics=inputs_of(settings).several)


def takers_of(settings: Settings) -> Routes:
    """Return the routes without their models, to ask which takes what."""
    named = [Route((), "", one.name, one.topic, one.streams, one.share) for one in settings.routes]
    return Routes([*named, Route((), "")])


def _check_channels(settings: Settings, routes: list[Route]) -> None:
    own = {one.name: _channels([one]) for one in routes}
    known = _channels(routes)
    strangers = sorted(settings.input.channels.keys() - known)
    for route in settings.routes:
        channels: dict[str, Any] = route.input.get("channels", {})
        strangers += sorted(channels.keys() - own[route.name]) if route.model else []
    if strangers:
        msg = (
            f"expected channels of a model ({', '.join(sorted(known))}) in [input.channels], saw "
            f"{', '.join(strangers)}; `detector sniff` proposes a mapping"
        )
        raise SettingsRejected(msg)


def _channels(routes: Sequence[Route]) -> set[str]:
    """Return the names of the channels that models of routes have."""
    return {c.name for one in routes for s in one.scorers for c in s.manifest.channels}
