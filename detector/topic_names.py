"""Which topics the settings mean."""

from detector.inputs import Inputs
from detector.settings import Settings


def state_topic(settings: Settings) -> str:
    """Return the topic that keeps state."""
    return settings.state.topic or f"{settings.kafka.group}-state"


def inputs_of(settings: Settings) -> Inputs:
    """Return which topics are read: none that the daemon writes, unless it is named."""
    output = settings.output
    told = [output.alerts_topic, output.dead_letters_topic, output.scores_topic]
    told += [route.alerts_topic for route in settings.routes]
    ours = [*told, settings.shadow.topic, state_topic(settings), control_topic(settings)]
    return Inputs(settings.kafka.topic, tuple(filter(None, ours)))


def alert_topics(settings: Settings) -> list[str]:
    """Return the topics that alerts go to, each once."""
    routed = [route.alerts_topic for route in settings.routes]
    return list(dict.fromkeys(filter(None, [settings.output.alerts_topic, *routed])))


def control_topic(settings: Settings) -> str:
    """Return the topic of what operators say of streams."""
    return settings.state.control_topic or f"{settings.kafka.group}-control"
