"""Symptom forms in CSV and JSON: each row an answer, each wrong value named to its sender.

What belongs here: the format and its reading. What does not: the drop folder (``inbox``) and the table
(``cohorts.forms``). CSV as RFC 4180, UTF-8 or UTF-16 with or without a byte-order mark, any line ends, the
delimiter a comma, semicolon or tab. JSON: a list of forms, each with the form's columns and ``answers``, a
list of objects with the answer's columns.

======================= ======== ==================================================================
column                  required content
======================= ======== ==================================================================
form_id                 yes      the sender's number of the form, the same for all its answers
patient_id              yes      the sender's identifier; only a keyed pseudonym is kept
answered_at             yes      ISO 8601, for example 2026-02-03T09:30:00+01:00
age                     no       years, 0 to 130
sex                     no       M, F or unknown
code                    yes      HPO id (HP:0001250) or a base evidence of DDXPlus (E_91)
answer                  yes      yes, no or unknown
severity                no       0 none to 10 worst
======================= ======== ==================================================================
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from medassets.ingest.fhir_values import moment
from medassets.ingest.inbox import Delivery
from medassets.ingest.pseudonyms import Pseudonymizer
from medassets.ingest.quarantine import QuarantineRow

SOURCE = "symptom_form"
ENDINGS = (".csv", ".json")
FORM_COLUMNS = ("form_id", "patient_id", "answered_at", "age", "sex")
ANSWER_COLUMNS = ("code", "answer", "severity")
COLUMNS = (*FORM_COLUMNS, *ANSWER_COLUMNS)
REQUIRED = frozenset({"form_id", "patient_id", "answered_at", "code", "answer"})
ANSWERS, SEXES = ("yes", "no", "unknown"), ("M", "F", "unknown")
#: Values of these are identifiers and go back to nobody but by the row's number.
_PRIVATE = frozenset({"form_id", "patient_id"})
_SHOWN = 60
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
TEMPLATE_ROWS = (
    ("form-1", "12345", "2026-02-03T09:30:00+01:00", "34", "F", "HP:0001250", "yes", "6"),
    ("form-1", "12345", "2026-02-03T09:30:00+01:00", "34", "F", "E_91", "no", ""),
)

Resolve = Callable[[str], str | None]


class _WrongError(Exception):
    """A value that cannot be used: field, value, reason, what is allowed."""

    def __init__(self, field_: str, value: Any, reason: str, allowed: str) -> None:
        super().__init__(reason)
        self.field, self.reason, self.allowed = field_, reason, allowed
        self.value = None if value is None or field_ in _PRIVATE else str(value)[:_SHOWN]


@dataclass
class Forms:
    """What the forms of a day say, and what was set aside; ``files`` counts good and wrong by file."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    rejected: list[QuarantineRow] = field(default_factory=list)
    files: dict[str, tuple[int, int]] = field(default_factory=dict)


def template(kind: str) -> str:
    """Give an example in the documented format, ``csv`` or ``json``."""
    if kind == "csv":
        return "".join(",".join(row) + "\r\n" for row in (COLUMNS, *TEMPLATE_ROWS))
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in TEMPLATE_ROWS]
    form: dict[str, Any] = {name: rows[0][name] for name in FORM_COLUMNS}
    form["age"] = float(form["age"])
    form["answers"] = [{n: row[n] for n in ANSWER_COLUMNS if row[n]} for row in rows]
    return json.dumps([form], indent=1) + "\n"


def read_forms(
    deliveries: list[Delivery], resolve: Resolve, pseudonyms: Pseudonymizer, now: datetime
) -> Forms:
    """Read a day's forms in order; an answer that stands already, in whichever file, is a duplicate.

    Args:
        deliveries: the files.
        resolve: gives the current code of a code, None for an unknown one.
        pseudonyms: gives the pseudonyms.
        now: no form is answered later.
    """
    found = Forms()
    seen: dict[tuple[str, str], str] = {}
    for delivery in deliveries:
        good, before = 0, len(found.rejected)
        try:
            for number, raw in _records(delivery):
                try:
                    row = _row(raw, resolve, pseudonyms, now)
                    _refuse_repeated(row, seen, delivery.label, number)
                    found.rows.append(row | {"source_file": delivery.label, "source_row": number})
                    good += 1
                except _WrongError as error:
                    found.rejected.append(_rejected(delivery, number, error))
            if not good and len(found.rejected) == before:
                raise _WrongError("file", None, "holds no answer", "one row an answer")
        except _WrongError as error:
            found.rejected.append(_rejected(delivery, None, error))
        found.files[delivery.label] = (good, len(found.rejected) - before)
    return found


def _rejected(delivery: Delivery, number: int | None, error: _WrongError) -> QuarantineRow:
    return QuarantineRow(
        SOURCE, delivery.label, number, None, error.field, error.value, error.reason, error.allowed
    )


def _records(delivery: Delivery) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield number and fields of each answer of a file.

    Raises:
        _WrongError: the file as a whole is none of the two formats.
    """
    content = delivery.path.read_bytes()
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        reason = f"not {encoding.removesuffix('-sig')}: byte {error.start + 1} cannot be read"
        raise _WrongError("file", None, reason, "text in UTF-8") from None
    if delivery.path.suffix.lower() == ".json":
        yield from _json_records(text)
    else:
        yield from _csv_records(text)


def _csv_records(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        _check_header(header)
        for number, values in enumerate(reader, start=1):
            if not any(value.strip() for value in values):
                continue
            if len(values) != len(header):
                yield number, {"": f"{len(values)} fields, the header has {len(header)}"}
            else:
                yield number, dict(zip(header, values, strict=True))
    except csv.Error as error:
        raise _WrongError("file", None, f"line {reader.line_num}: {error}", "CSV (RFC 4180)") from None


def _check_header(header: list[str]) -> None:
    allowed = ", ".join(COLUMNS)
    if unknown := [name for name in header if name not in COLUMNS]:
        raise _WrongError("header", unknown[0], "no column of the format", allowed)
    if missing := [name for name in COLUMNS if name in REQUIRED and name not in header]:
        raise _WrongError("header", missing[0], "the column is missing", allowed)
    if len(set(header)) < len(header):
        raise _WrongError("header", None, "a column stands twice", allowed)


def _json_records(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        forms = json.loads(text)
        # Half of a surrogate pair is valid JSON, but no text.
        json.dumps(forms, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        where = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        reason = f"not JSON{where}: {type(error).__name__}"
        raise _WrongError("file", None, reason, "a list of forms") from None
    if isinstance(forms, dict):
        forms = [forms]
    if not isinstance(forms, list):
        raise _WrongError("file", None, "is no list of forms", "a list of forms")
    number = 0
    for form in forms:
        answers = form.get("answers") if isinstance(form, dict) else None
        if not isinstance(answers, list) or not answers:
            number += 1
            yield number, {"": "the form has no list of answers"}
            continue
        common = {name: value for name, value in form.items() if name != "answers"}
        for answer in answers:
            number += 1
            yield number, {**common, **answer} if isinstance(answer, dict) else {"": "is no object"}


def _row(
    raw: Mapping[str, Any], resolve: Resolve, pseudonyms: Pseudonymizer, now: datetime
) -> dict[str, Any]:
    """Read one answer.

    Raises:
        _WrongError: the first value that cannot be used.
    """
    if "" in raw:
        raise _WrongError("row", None, str(raw[""]), f"the columns {', '.join(COLUMNS)}")
    if unknown := sorted(name for name in raw if name not in COLUMNS):
        raise _WrongError(unknown[0], None, "no column of the format", ", ".join(COLUMNS))
    values = {name: "" if raw.get(name) is None else str(raw[name]).strip() for name in COLUMNS}
    for name in COLUMNS:
        if name in REQUIRED and not values[name]:
            raise _WrongError(name, None, "is empty", "a value")
    answered = moment(values["answered_at"])
    if answered is None or len(values["answered_at"]) < len("2026-01-01"):
        raise _WrongError("answered_at", values["answered_at"], "is no time", "ISO 8601 date or time")
    if answered > now:
        raise _WrongError("answered_at", values["answered_at"], "lies in the future", "a time until now")
    code = resolve(values["code"])
    if code is None:
        raise _WrongError("code", values["code"], "is not known", "an HPO id or a DDXPlus evidence")
    severity = _number("severity", values["severity"], 0, 10)
    if severity is not None and severity != int(severity):
        raise _WrongError("severity", values["severity"], "is no whole number", "0 to 10")
    return {
        "form_id": pseudonyms.pseudonym(f"Form/{values['form_id']}"),
        "patient_id": pseudonyms.pseudonym(values["patient_id"]),
        "answered_at": answered.astimezone(UTC),
        "age": _number("age", values["age"], 0, 130),
        "sex": _one_of("sex", values["sex"] or "unknown", SEXES),
        "code": code,
        "answer": _one_of("answer", values["answer"], ANSWERS),
        "severity": None if severity is None else int(severity),
    }


def _number(name: str, value: str, low: float, high: float) -> float | None:
    if not value:
        return None
    try:
        number = float(value.replace(",", "."))
    except ValueError:
        number = math.nan
    if not low <= number <= high:
        raise _WrongError(name, value, "is no number in the range", f"{low:g} to {high:g}")
    return number


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    found = next((word for word in allowed if word.lower() == value.lower()), None)
    if found is None:
        raise _WrongError(name, value, "is not known", ", ".join(allowed))
    return found


def _refuse_repeated(
    row: Mapping[str, Any], seen: dict[tuple[str, str], str], label: str, number: int
) -> None:
    key = (row["form_id"], row["code"])
    if key in seen:
        raise _WrongError("code", row["code"], f"the form's answer stands already: {seen[key]}", "one answer")
    seen[key] = f"{label}, row {number}"
