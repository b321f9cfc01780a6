"""Kafka as a source: partitions as logs, read from where the Delta table stands.

What belongs here: the consumer, its assignment, and the dead-letter topic. What does not: what becomes of the
messages (``pipeline``). Offsets that Kafka keeps for a group are written too, for the broker's lag figures
only; nothing is read back from them. Without a group one process reads all partitions; with one, the
partitions are shared out, and the table refuses a process that lost a partition without noticing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from medassets.ingest.streams.events import Message
from medassets.ingest.streams.runner import Moved, StreamError

if TYPE_CHECKING:
    from medassets.ingest.streams.pipeline import Pipeline, Rejected
    from medassets.settings_sections import StreamSettings

#: Messages that one call to librdkafka hands over.
_CHUNK = 2000
#: librdkafka reads ahead this much and then waits: back-pressure reaches the broker.
_AHEAD = {
    "queued.max.messages.kbytes": 65_536,
    "queued.min.messages": 20_000,
    # It asks again a second after it had read enough; by then we have waited.
    "fetch.queue.backoff.ms": 20,
}
_TIMEOUT = 15.0
#: Copies of a topic that is made: as many as the broker makes by itself.
_BROKERS_CHOICE = -1
LOG = logging.getLogger(__name__)


def dead_topic(settings: StreamSettings) -> str:
    """Name of the topic for messages that are no event."""
    return settings.kafka_dead_topic or f"{settings.kafka_topic}.dead"


def make_topics(settings: StreamSettings, partitions: int) -> None:
    """Make the topics of events and of dead letters where the broker lacks them.

    Raises:
        StreamError: the broker cannot be reached, or refuses.
    """
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": settings.kafka_servers, **settings.kafka_options}, logger=LOG)
    wanted = {settings.kafka_topic: partitions, dead_topic(settings): 1}
    topics = [NewTopic(name, count, _BROKERS_CHOICE) for name, count in wanted.items()]
    for name, made in admin.create_topics(topics, request_timeout=_TIMEOUT).items():
        try:
            made.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise StreamError(f"topic {name} cannot be made: {error.args[0].str()}") from error


class KafkaSource:
    """Messages of one topic.

    Raises:
        StreamError: the broker cannot be reached, or has no such topic.
    """

    def __init__(self, settings: StreamSettings, pipeline: Pipeline) -> None:
        from confluent_kafka import Consumer

        self._topic, self._group = settings.kafka_topic, settings.kafka_group
        self._pipeline, self._moved = pipeline, False
        if settings.kafka_partitions is not None:
            make_topics(settings, settings.kafka_partitions)
        self._dead = DeadLetters(settings)
        pipeline.dead_letter = self._dead.send
        self._consumer = Consumer(
            {
                "bootstrap.servers": settings.kafka_servers,
                "group.id": settings.kafka_group or "medassets",
                "enable.auto.commit": False,
                "reconnect.backoff.ms": 500,
                # A committed offset that the broker has dropped is a loss to be told, not to be skipped over.
                "auto.offset.reset": "error",
                "partition.assignment.strategy": "range",
                **_AHEAD,
                **settings.kafka_options,
            },
            logger=LOG,
        )
        if self._group:
            self._consumer.subscribe([self._topic], on_assign=self._on_change, on_revoke=self._on_change)

    def read(self, most: int, seconds: float) -> list[Message]:
        """Give up to ``most`` messages, waiting up to ``seconds`` for the first.

        Raises:
            Moved: the group shared the partitions out anew.
            StreamError: the broker no longer holds what comes next, or refuses.
        """
        found = self._consumer.consume(min(most, _CHUNK), seconds)
        if self._moved:
            self._moved = False
            raise Moved
        return [self._message(message) for message in found if self._usable(message)]

    def restart(self) -> None:
        """Assign the partitions at the table's offsets."""
        from confluent_kafka import OFFSET_BEGINNING, TopicPartition

        partitions = self._consumer.assignment() if self._group else self._all_partitions()
        if not partitions:
            return  # the group has not shared the partitions out yet
        logs = {self._log(p.partition): p.partition for p in partitions}
        offsets = self._pipeline.resume(list(logs))
        self._consumer.assign(
            [
                TopicPartition(self._topic, number, offsets[log] or OFFSET_BEGINNING)
                for log, number in logs.items()
            ]
        )

    def committed(self, ends: Mapping[str, int]) -> None:
        """Tell the broker, for its lag figures."""
        from confluent_kafka import TopicPartition

        if self._group:
            offsets = [
                TopicPartition(self._topic, int(log.rpartition("/")[2]), end) for log, end in ends.items()
            ]
            self._consumer.commit(offsets=offsets, asynchronous=True)

    def caught_up(self) -> bool:
        """Say whether the table has what the partitions hold now."""
        from confluent_kafka import KafkaException

        held = self._consumer.assignment()
        try:
            ends = {p.partition: self._consumer.get_watermark_offsets(p, timeout=_TIMEOUT)[1] for p in held}
        except KafkaException as error:
            LOG.warning("the ends of the partitions are not known: %s", error.args[0].str())
            return False
        at = {number: self._pipeline.position(self._log(number)) for number in ends}
        return bool(ends) and all(end <= at[number] for number, end in ends.items())

    def hold(self, seconds: float) -> None:
        """Pause the partitions and stay a member of the group."""
        held = self._consumer.assignment()
        self._consumer.pause(held)
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and not self._moved:
            self._consumer.poll(left)
        self._consumer.resume(self._consumer.assignment())

    def close(self) -> None:
        """Leave the group."""
        self._dead.close()
        self._consumer.close()

    def _log(self, partition: int) -> str:
        return f"kafka/{self._topic}/{partition}"

    def _all_partitions(self) -> list[Any]:
        from confluent_kafka import KafkaException, TopicPartition

        try:
            topic = self._consumer.list_topics(self._topic, timeout=_TIMEOUT).topics[self._topic]
        except KafkaException as error:
            raise StreamError(f"Kafka cannot be reached: {error.args[0].str()}") from error
        if topic.error is not None:
            raise StreamError(f"topic {self._topic}: {topic.error.str()}")
        return [TopicPartition(self._topic, number) for number in sorted(topic.partitions)]

    def _on_change(self, consumer: Any, partitions: list[Any]) -> None:
        """Note that the partitions are others; ``restart`` assigns them at the table's offsets."""
        self._moved = True

    def _usable(self, message: Any) -> bool:
        from confluent_kafka import KafkaError

        error = message.error()
        if error is None:
            return True
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise StreamError(
                f"{self._topic}, partition {message.partition()}: the broker no longer holds the next "
                f"message ({error.str()}). What its retention dropped is lost"
            )
        if error.fatal() or not error.retriable():
            raise StreamError(f"{self._topic}: {error.str()}")
        return False

    def _message(self, message: Any) -> Message:
        kind, milliseconds = message.timestamp()
        received = milliseconds * 1000 if kind else time.time_ns() // 1000
        return Message(self._log(message.partition()), message.offset(), message.value() or b"", received)


class DeadLetters:
    """The topic for messages that are no event: the payload as it came, the reason in headers.

    A message's key is its log and offset: after a crash the same message may be there twice, under one key.

    Raises:
        StreamError: a message was not taken by the broker; the batch is then not committed.
    """

    def __init__(self, settings: StreamSettings) -> None:
        self._topic = dead_topic(settings)
        self._options = {
            "bootstrap.servers": settings.kafka_servers,
            "enable.idempotence": True,
            **settings.kafka_options,
        }
        self._producer: Any = None
        self._failed: list[str] = []

    def send(self, rejected: Rejected) -> None:
        """Send, and wait until the broker has them."""
        from confluent_kafka import Producer

        if self._producer is None:
            self._producer = Producer(self._options, logger=LOG)
        for message, error in rejected:
            headers = {"field": error.field, "reason": error.reason, "allowed": error.allowed}
            self._producer.produce(
                self._topic,
                message.payload,
                key=f"{message.log}/{message.offset}",
                headers={name: value.encode() for name, value in headers.items()},
                on_delivery=self._delivered,
            )
        left = self._producer.flush(_TIMEOUT)
        if left or self._failed:
            reason = self._failed[0] if self._failed else f"{left} messages not taken in {_TIMEOUT:.0f} s"
            raise StreamError(f"dead-letter topic {self._topic}: {reason}")

    def close(self) -> None:
        """Nothing waits: ``send`` waited."""
        self._producer = None

    def _delivered(self, error: Any, message: Any) -> None:
        if error is not None:
            self._failed.append(error.str())
