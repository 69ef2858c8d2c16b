"""A webhook: an alert as a CloudEvent in structured mode, signed as Standard Webhooks says.

Structured, because then the signature, which is over the body, holds for all attributes, too.
"""

import base64
import binascii
import hashlib
import hmac

import msgspec

from detector.clock import Clock
from detector.records import Partition
from detector.relay.alert import Told, event_of
from detector.relay.endpoint import Answer, Endpoint
from detector.relay.outlet import Heard, Outlet
from detector.secret import Secret

TYPE = "application/cloudevents+json; charset=UTF-8"
PREFIX = "whsec_"
LEAST_BYTES, MOST_BYTES = 24, 64  # of a secret, by the standard

_encode = msgspec.json.Encoder().encode


def keys_of(text: str) -> list[bytes]:
    """Return the keys in a secret's file: one, or while it is changed the new one and the old.

    Raises:
        ValueError: If one is none; it is not shown.
    """
    keys = []
    for word in text.split():
        try:
            key = base64.b64decode(word.removeprefix(PREFIX), validate=True)
        except binascii.Error:
            key = b""
        if not word.startswith(PREFIX) or not LEAST_BYTES <= len(key) <= MOST_BYTES:
            msg = (
                f"expected {PREFIX} and {LEAST_BYTES} to {MOST_BYTES} bytes in base64, saw "
                'something else; echo "whsec_$(openssl rand -base64 32)" makes one'
            )
            raise ValueError(msg)
        keys.append(key)
    return keys


def signature(keys: list[bytes], event: str, stamp: str, body: bytes) -> str:
    """Return the header webhook-signature: one of version 1 for each key."""
    signed = f"{event}.{stamp}.".encode() + body
    macs = [hmac.new(key, signed, hashlib.sha256).digest() for key in keys]
    return " ".join(f"v1,{base64.b64encode(mac).decode()}" for mac in macs)


class Webhook(Outlet):
    """Hands each message on once it is there; keeps nothing."""

    replays = False

    def __init__(self, endpoint: Endpoint, secret: Secret, clock: Clock) -> None:
        """Sign with what `secret` holds at each attempt."""
        self._endpoint = endpoint
        self._secret = secret
        self._clock = clock

    def offer(self, heard: Heard, told: Told) -> Answer:
        """Send the message; see `Outlet.offer`."""
        now_s = self._clock.now_s()
        event = event_of(told, heard.value)
        body = _encode(event)
        # The standard wants no full stop in an id, and the time of the attempt.
        name, stamp = str(event["id"]).replace(".", "_"), str(int(now_s))
        try:
            keys = keys_of(self._secret.read())
        except (OSError, ValueError) as error:
            return Answer(0, str(error))
        headers = {
            "Content-Type": TYPE,
            "webhook-id": name,
            "webhook-timestamp": stamp,
            "webhook-signature": signature(keys, name, stamp, body),
        }
        return self._endpoint.post(body, headers, now_s)

    def learn(self, heard: Heard, told: Told) -> None:
        """Nothing is to be known of what was said before."""

    def keep(self) -> Answer | None:
        """Nothing is to be said again."""
        return None

    def begin(self, partition: Partition) -> None:
        """Nothing is held."""

    def drop(self, partition: Partition) -> None:
        """Nothing is held."""

    def holds(self) -> tuple[int, int]:
        """Return that nothing is held."""
        return 0, 0
