"""The connection to a broker: MQTT 3.1.1 or 5 by paho-mqtt, with a session that outlives it.

The broker keeps what comes while we are away (QoS 1, a session of our own name). A message is acknowledged when `Link.done`
says so, not when it arrives. A lost connection is taken up again, at first after a second, then less and less often.
"""

from __future__ import annotations

import queue
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from puji.errors import Invalid

try:
    from paho.mqtt import client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties
except ImportError as error:
    raise Invalid("streams.extra") from error

VERSIONS = {"3.1.1": mqtt.MQTTv311, "5": mqtt.MQTTv5}
QOS = 1
SESSION = 7 * 86_400
"""Seconds for which a broker of MQTT 5 keeps our session; with 3.1.1 that is the broker's own setting."""
SHORTEST, LONGEST = 1, 60
"""Seconds between two attempts to connect."""
WAITING = 10_000
"""Messages that may wait to be worked on; then the broker waits."""


@dataclass(frozen=True)
class Address:
    """Where the broker is, and who we are to it.

    ``name``: of our session (client id): the same after a restart, and nobody else's. ``ca``: file of the authority that signed
    the broker's certificate, None: those that the system trusts; it counts only with ``tls``.
    """

    host: str = "127.0.0.1"
    port: int = 1883
    name: str = "puji-stream"
    user: str | None = None
    password: str | None = None
    tls: bool = False
    ca: Path | None = None
    version: str = "3.1.1"


class Received(NamedTuple):
    """A message that came in. ``connection``: the how-manieth; ``mid``: what the broker calls it; ``qos``: as it was sent
    to us."""

    topic: str
    payload: bytes
    mid: int
    connection: int
    qos: int = QOS


class Acknowledged(NamedTuple):
    """The broker has what `Link.send` gave it."""

    mid: int


class Connected(NamedTuple):
    """The connection stands (again)."""

    connection: int


class Lost(NamedTuple):
    """The connection is gone, or there was none; ``fatal``: no sense in trying again."""

    why: str
    fatal: Invalid | None = None


Event = Received | Acknowledged | Connected | Lost


class Link:
    """A client that puts what happens into `events`, and does nothing by itself but connect again."""

    def __init__(self, address: Address, topics: list[str]) -> None:
        if address.version not in VERSIONS:
            raise ValueError(f"MQTT {address.version}: choose one of {', '.join(VERSIONS)}")
        self.address, self.topics = address, topics
        self.events: queue.Queue[Event] = queue.Queue(WAITING)
        self.connection = 0
        self.connected = threading.Event()
        self._closing = False
        five = address.version == "5"
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=address.name,
            # Version 5 says it when it connects.
            clean_session=None if five else False,
            protocol=VERSIONS[address.version],
            manual_ack=True,
        )
        client = self._client
        client.reconnect_delay_set(SHORTEST, LONGEST)
        client.max_inflight_messages_set(500)
        client.connect_timeout = 5.0
        if address.user is not None:
            client.username_pw_set(address.user, address.password)
        if address.tls:
            client.tls_set_context(_context(address.ca))
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_connect_fail = self._on_connect_fail
        client.on_message, client.on_publish = self._on_message, self._on_publish

    def open(self) -> None:
        """Connect, now or as soon as the broker is there. Raises Invalid if its certificate is not trusted."""
        options: dict[str, Any] = {"keepalive": 30}
        if self.address.version == "5":
            make: Any = Properties  # without annotations
            properties = make(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = SESSION
            options |= {"clean_start": False, "properties": properties}
        try:
            self._client.connect(self.address.host, self.address.port, **options)
        except ssl.SSLError as error:
            why = getattr(error, "verify_message", "") or error.reason or str(error)
            raise Invalid("streams.tls", source=self._where(), why=why) from error
        except (OSError, ValueError) as error:
            self._put(Lost(str(error)))
            self._client.connect_async(self.address.host, self.address.port, **options)
        self._client.loop_start()

    def send(self, topic: str, payload: bytes) -> int | None:
        """Publish at QoS 1; what the message is called until `Acknowledged`, None if there is no connection."""
        if not self.connected.is_set():
            return None
        told = self._client.publish(topic, payload, qos=QOS)
        return told.mid if told.rc in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN) else None

    def done(self, message: Received) -> None:
        """Tell the broker that ``message`` is taken care of; one of a connection that is gone will come again."""
        if message.qos and message.connection == self.connection:
            self._client.ack(message.mid, message.qos)

    def close(self) -> None:
        """Say goodbye; the session stays with the broker."""
        self._closing = True
        self._client.disconnect()
        # Whoever waits to put something into a full queue must be let go.
        stopper = threading.Thread(target=self._client.loop_stop, daemon=True)
        stopper.start()
        while stopper.is_alive():
            while not self.events.empty():
                self.events.get_nowait()
            stopper.join(0.05)
        # Its loop may have ended before it had closed the connection.
        if (left := self._client.socket()) is not None:
            left.close()

    def _where(self) -> str:
        return f"{self.address.host}:{self.address.port}"

    def _put(self, event: Event) -> None:
        if not self._closing:
            self.events.put(event)

    def _on_connect(self, client: Any, _: Any, flags: Any, code: Any, properties: Any) -> None:
        if code.is_failure:
            refused = str(code)
            fatal = None
            if refused in ("Not authorized", "Bad user name or password", "Banned", "Bad authentication method"):
                fatal = Invalid("streams.broker_refused", source=self._where(), why=refused)
            self._put(Lost(refused, fatal))
            return
        self.connection += 1
        for topic in self.topics:
            client.subscribe(topic, qos=QOS)
        self.connected.set()
        self._put(Connected(self.connection))

    def _on_disconnect(self, client: Any, _: Any, flags: Any, code: Any, properties: Any) -> None:
        self.connected.clear()
        self._put(Lost(str(code)))

    def _on_connect_fail(self, client: Any, _: Any) -> None:
        self._put(Lost(self._where()))

    def _on_message(self, client: Any, _: Any, message: Any) -> None:
        self._put(Received(message.topic, bytes(message.payload), message.mid, self.connection, message.qos))

    def _on_publish(self, client: Any, _: Any, mid: int, code: Any, properties: Any) -> None:
        self._put(Acknowledged(mid))


def _context(ca: Path | None) -> ssl.SSLContext:
    """Certificates are checked, names too; there is no way to switch that off."""
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except (OSError, ssl.SSLError) as error:
        raise Invalid("streams.ca", source=str(ca)) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


__all__ = ["VERSIONS", "Acknowledged", "Address", "Connected", "Event", "Link", "Lost", "Received"]
