"""Symptom and device events as they come: from Kafka or MQTT, in micro-batches, to Delta, each exactly once.

What belongs here: the event, the logs it is read from, and the tables it goes to. What does not: what a day's
events mean for a patient (``cohorts``, ``features``).

A *log* is a numbered sequence of messages: a Kafka partition, or the spool that MQTT messages are put into.
How far a log has been read stands in the same Delta commit as the rows that were read, so that a crash
between the two cannot happen: https://github.com/delta-io/delta/blob/master/PROTOCOL.md
(transaction identifiers).
"""
