"""What the settings say of each route, and the routes they make."""

from collections.abc import Callable

from detector.errors import SettingsRejected
from detector.renewal import Shadow
from detector.routes import Route, Routes, names_streams_outside
from detector.scorer import Scorer
from detector.settings import Settings
from detector.telling import Judge
from detector.topic_names import inputs_of

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
    judge = Judge.model_validate({**settings.judge.model_dump(), **route.judge})
    return settings.model_copy(update={"model": route.model, "judge": judge, "shadow": shadow})


def routes_of(settings: Settings, make: Callable[[str], Scorer]) -> Routes:
    """Return the routes.

    Args:
        settings: Of the daemon.
        make: Makes the scorer of a route, by its name.

    Raises:
        SettingsRejected: If streams are to be told apart by what only the decoded value tells, or
            a channel is mapped that no model has.
    """
    told, last = settings.output.alerts_topic, make(LAST)
    routes = [
        Route(
            (make(one.name),) if one.model else (),
            one.alerts_topic or told,
            one.name,
            one.topic,
            one.streams,
            one.share,
        )
        for one in settings.routes
    ]
    routes.append(Route((last,), told))
    _check_channels(settings, routes)
    layout = last.form.layout
    apart = [route.name for route in routes if not route.all_of_topic]
    if apart and not names_streams_outside(layout):
        msg = (
            f"routes {', '.join(apart)}: expected records to name their stream in the key or a "
            "header, saw input settings that find it in the value; let producers set the key, "
            "or tell routes apart by `topic`"
        )
        raise SettingsRejected(msg)
    return Routes(routes, layout, topics=inputs_of(settings).several)


def takers_of(settings: Settings) -> Routes:
    """Return the routes without their models, to ask which takes what."""
    named = [Route((), "", one.name, one.topic, one.streams, one.share) for one in settings.routes]
    return Routes([*named, Route((), "")])


def _check_channels(settings: Settings, routes: list[Route]) -> None:
    known = {c.name for one in routes for s in one.scorers for c in s.manifest.channels}
    strangers = sorted(settings.input.channels.keys() - known)
    if strangers:
        msg = (
            f"expected channels of a model ({', '.join(sorted(known))}) in [input.channels], saw "
            f"{', '.join(strangers)}; `detector sniff` proposes a mapping"
        )
        raise SettingsRejected(msg)
