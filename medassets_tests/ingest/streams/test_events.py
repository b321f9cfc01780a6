"""A message becomes a row, or a reason that names field and what is allowed, and never a patient."""

import json
from datetime import date, timedelta

import pytest

from medassets.ingest.streams.events import (
    EVENT_SCHEMA,
    EventError,
    Rules,
    event_table,
    read_event,
    set_aside,
)
from medassets_tests.ingest.streams.samples import NOW, event, message

NAMES = EVENT_SCHEMA.names


def read(payload, rules=None):
    return dict(zip(NAMES, read_event(message(3, payload), rules or Rules()), strict=True))


def test_a_good_event_becomes_a_row():
    table = event_table([read_event(message(3, event(1, code="HP:0001250", value=None)), Rules())])
    row = table.to_pylist()[0]
    assert table.schema.equals(EVENT_SCHEMA)
    assert row["event_day"] == date(2026, 3, 2)
    assert row["event_time"] == NOW - timedelta(minutes=1)
    assert (row["log"], row["log_offset"], row["late"], row["value"]) == ("kafka/t/0", 3, False, None)


def test_no_row_at_all_is_an_empty_table():
    assert event_table([]).num_rows == 0


def test_an_event_of_yesterday_is_late_and_keeps_its_day():
    row = read(event(1, event_time="2026-03-02T00:30:00+01:00"))
    assert row["late"]
    assert event_table([read_event(message(0, event(1, event_time="2026-03-02T00:30:00+01:00")), Rules())])[
        "event_day"
    ].to_pylist() == [date(2026, 3, 1)]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"event_id": ""}, "event_id"),
        ({"event_id": "x" * 129}, "event_id"),
        ({"event_id": None}, "event_id"),
        ({"code": "HP:12"}, "code"),
        ({"code": 7}, "code"),
        ({"state": "maybe"}, "state"),
        ({"state": []}, "state"),
        ({"origin": "published_case"}, "origin"),
        ({"origin": None}, "origin"),
        ({"value": "high"}, "value"),
        ({"value": True}, "value"),
        ({"value": 10**400}, "value"),
        ({"event_time": "yesterday"}, "event_time"),
        ({"event_time": "2026-03-02T10:00:00"}, "event_time"),
        ({"event_time": "2026-03-02T12:06:00Z"}, "event_time"),
        ({"event_time": "2025-01-02T12:06:00Z"}, "event_time"),
        ({"event_time": 5}, "event_time"),
        ({"site": None}, "site"),
        ({"site": "\ud800"}, "site"),
        ({"site": "north|south"}, "site"),
        ({"site": "north..."}, "site"),
        ({"site": "n" * 65}, "site"),
        ({"patient": "Maria Rossi"}, "patient"),
    ],
)
def test_the_wrong_field_is_named(changes, field):
    with pytest.raises(EventError) as caught:
        read(event(1, **changes))
    assert caught.value.field == field
    assert caught.value.allowed


@pytest.mark.parametrize("payload", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, b'"x"', b"NaN"])
def test_what_is_no_json_object_is_told(payload):
    with pytest.raises(EventError) as caught:
        read(payload)
    assert caught.value.field == "message"


def test_nan_is_no_value():
    with pytest.raises(EventError, match="value"):
        read(json.dumps(event(1, value=float("nan"))).encode())


def test_an_identifier_is_neither_stored_nor_repeated():
    bad = message(9, event(1, patient="Maria Rossi 1971"))
    with pytest.raises(EventError) as caught:
        read_event(bad, Rules())
    row = set_aside(bad, caught.value, "kafka")
    assert "Maria" not in str(row.as_dict())
    assert (row.source_file, row.row) == ("kafka/t/0", 9)


def test_with_a_key_an_identifier_becomes_a_pseudonym():
    row = read(event(1, patient="Maria Rossi 1971"), Rules(pseudonym=lambda text: "ps_" + "a" * 32))
    assert row["patient"] == "ps_" + "a" * 32
