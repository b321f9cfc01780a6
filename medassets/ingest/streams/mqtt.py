"""MQTT as a source: a durable session with the broker, and a spool that gives messages numbers.

What belongs here: the client, its session and acknowledgements. What does not: the spool (``spool``) and what
becomes of the messages (``pipeline``). MQTT 5 with quality of service 1: the broker keeps a message until it
is acknowledged, and it is acknowledged when the spool has it on the disk. While the spool is full nothing is
acknowledged, so the broker sends no more than ``mqtt_in_flight`` messages ahead and keeps the rest. (For
Mosquitto that takes ``persistence true`` and ``max_queued_messages 0``; it drops beyond 1,000 by default.)
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from medassets.ingest.streams.events import Message
from medassets.ingest.streams.runner import StreamError
from medassets.ingest.streams.spool import Spool

if TYPE_CHECKING:
    from medassets.ingest.streams.pipeline import Pipeline
    from medassets.settings_sections import StreamSettings

#: How long the broker keeps the session of a client that is away.
SESSION_SECONDS = 30 * 86_400
KEEPALIVE = 60
_TIMEOUT = 15.0
#: Seconds that one look at the socket waits.
_LOOK = 0.02
#: Messages that one look at the spool gives.
_CHUNK = 2000


class MqttSource:
    """Messages of one topic filter.

    Raises:
        StreamError: the broker cannot be reached, or refuses.
    """

    def __init__(self, settings: StreamSettings, pipeline: Pipeline, spool: Spool) -> None:
        self._settings, self._pipeline, self._spool = settings, pipeline, spool
        self._next, self._refused, self._subscribed = 0, "", False
        #: Came in, and not on the disk yet: payload, microsecond, and the id to acknowledge.
        self._pending: list[tuple[bytes, int, int]] = []
        self._client = self._connect()

    def read(self, most: int, seconds: float) -> list[Message]:
        """Take in what the broker sends, then give up to ``most`` spooled messages.

        Raises:
            StreamError: the broker refuses.
        """
        deadline = time.monotonic() + seconds
        while True:
            self._look(_LOOK)
            found = self._spool.after(self._next, min(most, _CHUNK))
            if found or time.monotonic() >= deadline:
                break
        if found:
            self._next = found[-1].offset + 1
        return found

    def restart(self) -> None:
        """Begin anew from where the table stands."""
        self._next = self._pipeline.resume([self._spool.name])[self._spool.name]
        self._spool.release(self._next)

    def committed(self, ends: Mapping[str, int]) -> None:
        """Let go of what is in the lake."""
        self._spool.release(ends[self._spool.name])

    def caught_up(self) -> bool:
        """Say whether the broker knows us and nothing waits here; MQTT does not tell what waits there."""
        return self._subscribed and not self._pending and not self._spool.after(self._next, 1)

    def hold(self, seconds: float) -> None:
        """Keep the connection, and go on spooling while there is room."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._look(min(0.5, seconds))

    def close(self) -> None:
        """Disconnect; the broker keeps the session."""
        self._client.disconnect()
        self._client.loop(_LOOK)
        self._spool.close()

    def _connect(self) -> Any:
        from paho.mqtt import client as mqtt
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        asked = self._settings
        client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, asked.mqtt_client, protocol=mqtt.MQTTv5, manual_ack=True
        )
        if asked.mqtt_user:
            client.username_pw_set(asked.mqtt_user, asked.mqtt_password)
        if asked.mqtt_tls:
            client.tls_set()
        client.on_connect, client.on_message = self._connected, self._came
        client.on_subscribe = self._known
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = SESSION_SECONDS
        properties.ReceiveMaximum = asked.mqtt_in_flight
        try:
            client.connect(
                asked.mqtt_host, asked.mqtt_port, KEEPALIVE, clean_start=False, properties=properties
            )
        except OSError as error:
            place = f"{asked.mqtt_host}:{asked.mqtt_port}"
            raise StreamError(f"the MQTT broker {place} cannot be reached: {error}") from error
        return client

    def _connected(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._refused = str(reason)
        else:
            client.subscribe(self._settings.mqtt_topic, qos=1)

    def _known(self, client: Any, data: Any, number: int, reasons: Any, properties: Any) -> None:
        if refused := [str(reason) for reason in reasons if reason.is_failure]:
            self._refused = refused[0]
        self._subscribed = True

    def _came(self, client: Any, data: Any, message: Any) -> None:
        self._pending.append((message.payload, time.time_ns() // 1000, message.mid if message.qos else 0))

    def _look(self, seconds: float) -> None:
        """Read what the socket holds; put it on the disk; acknowledge it."""
        from paho.mqtt.enums import MQTTErrorCode

        result = self._client.loop(seconds)
        while result == MQTTErrorCode.MQTT_ERR_SUCCESS and self._more():
            result = self._client.loop(0)
        if self._refused:
            raise StreamError(f"the MQTT broker refuses: {self._refused}")
        self._keep()
        if result != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._reconnect()

    def _more(self) -> bool:
        """Say whether a further message may lie in the socket and there is room for it."""
        import select

        socket = self._client.socket()
        if socket is None or len(self._pending) >= self._settings.mqtt_in_flight:
            return False
        return bool(getattr(socket, "pending", lambda: 0)() or select.select([socket], [], [], 0)[0])

    def _keep(self) -> None:
        if not self._pending or self._spool.waiting() >= self._settings.spool_messages:
            return
        self._spool.put([(payload, received) for payload, received, _ in self._pending])
        for _, _, number in self._pending:
            if number:
                self._client.ack(number, 1)
        self._pending.clear()

    def _reconnect(self) -> None:
        """Connect again; what was not acknowledged comes again, and the spool knows it."""
        self._pending.clear()
        deadline = time.monotonic() + _TIMEOUT
        while True:
            try:
                self._client.reconnect()
            except OSError as error:
                if time.monotonic() > deadline:
                    raise StreamError(f"the MQTT broker is gone: {error}") from error
                time.sleep(0.5)
            else:
                return
