"""Errors the loop acts on. A class exists only where the answer differs.

DetectorError
├── Refused          the daemon must not start: settings or files are wrong (exit code 2)
│   ├── SettingsRejected
│   └── ArtifactRejected
├── ConnectionLost   the broker does not answer: back off, commit nothing, try again
│   └── RegistryLost the schema registry does not: likewise, and the broker is not to blame
├── MembershipLost   the group has given our partitions to others: say nothing more (exit code 1)
│   └── Displaced    another process has our name in it: end, even if nothing was to be said
├── OutputRefused    the broker will never take a message: stop, commit nothing (exit code 1)
└── DeadLetterLimit  too much of the input is bad: stop before all of it is set aside (exit code 3)

A bad record is not an error here: it is data (`records.BadRecord`) and travels with its poll.
Every message says what was expected, what was seen and what to do.
"""


class DetectorError(Exception):
    """What every error of ours is."""


class Refused(DetectorError):
    """The daemon must not start with what it was given."""


class SettingsRejected(Refused):
    """A setting is missing, unknown or out of bounds."""


class ArtifactRejected(Refused):
    """A model file is not one that this daemon can run and trust."""


class ConnectionLost(DetectorError):
    """The broker cannot be reached now; nothing was lost, try again later."""


class RegistryLost(ConnectionLost):
    """The schema registry cannot be reached now, or does not let us; the records wait."""


class MembershipLost(DetectorError):
    """The group took us for dead, or another took our place; nothing of this was kept or said."""


class Displaced(MembershipLost):
    """Another process has our static name; the group does not know us any more."""


class OutputRefused(DetectorError):
    """A message is one that the broker never takes; sending it again would not help."""


class DeadLetterLimit(DetectorError):
    """So many records in a row, or in a minute, were bad that a person should look."""
