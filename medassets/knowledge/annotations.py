"""Disease annotations of the HPO project: which disease shows which term, how often, after which publication.

What belongs here: reading ``phenotype.hpoa`` into Arrow, with frequencies as numbers and bad rows set aside.
What does not: merging diseases that OMIM and Orphanet both hold (``crosswalk``) and turning rows into
profiles (``features``).

Format: https://obophenotype.github.io/human-phenotype-ontology/annotations/phenotype_hpoa/ (twelve columns,
tab separated, comment lines at the top). Frequency terms become the middle of the range that HPO defines for
them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from medassets.knowledge.ontology import Ontology
from medassets.knowledge.quarantine import QuarantineRow, SourceError, excerpt

SOURCE = "disease_annotations"
COLUMNS = (
    "database_id", "disease_name", "qualifier", "hpo_id", "reference", "evidence", "onset", "frequency",
    "sex", "modifier", "aspect", "biocuration",
)  # fmt: skip
#: Header of releases before 2023, column by column.
_OLD_COLUMNS = (
    "DatabaseID", "DiseaseName", "Qualifier", "HPO_ID", "Reference", "Evidence", "Onset", "Frequency", "Sex",
    "Modifier", "Aspect", "Biocuration",
)  # fmt: skip

#: Middle of the range of each HPO frequency term (Obligate 100 %, Very frequent 80-99 %, Frequent 30-79 %,
#: Occasional 5-29 %, Very rare 1-4 %, Excluded 0 %).
FREQUENCY_TERMS = {
    "HP:0040280": 1.0,
    "HP:0040281": 0.9,
    "HP:0040282": 0.55,
    "HP:0040283": 0.17,
    "HP:0040284": 0.025,
    "HP:0040285": 0.0,
}
#: Share of patients assumed where none is stated; the table leaves it null, users apply this.
UNSTATED_FREQUENCY = 0.75

_COUNTED = re.compile(r"^(\d+)\s*/\s*(\d+)$")
_PERCENT = re.compile(r"^(\d+(?:\.\d+)?)\s*%$")
_DISEASE = re.compile(r"^(OMIM|ORPHA|DECIPHER|MONDO):\d+$")
_SEXES = {"": None, "MALE": "M", "FEMALE": "F"}
_ASPECTS = frozenset("PICMH")
_FREQUENCY_FORMS = (
    "n/m with n <= m and m > 0, a percentage 0-100, an HPO frequency term HP:0040280-HP:0040285, or empty"
)

SCHEMA = pa.schema(
    [
        ("disease_id", pa.string()),
        ("name", pa.string()),
        ("hpo_id", pa.string()),
        ("source_hpo_id", pa.string()),
        ("qualifier", pa.string()),
        ("frequency", pa.float64()),
        ("n_patients", pa.int32()),
        ("references", pa.list_(pa.string())),
        ("evidence", pa.string()),
        ("onset", pa.string()),
        ("sex", pa.string()),
        ("modifier", pa.list_(pa.string())),
        ("aspect", pa.string()),
    ]
)


def parse_frequency(text: str) -> tuple[float | None, int | None]:
    """Return the share of patients (0 to 1) and, where it was counted, the number of patients.

    Raises:
        ValueError: the text is in none of the allowed forms.
    """
    if not text:
        return None, None
    if text in FREQUENCY_TERMS:
        return FREQUENCY_TERMS[text], None
    if match := _COUNTED.match(text):
        seen, patients = int(match[1]), int(match[2])
        if patients and seen <= patients:
            return seen / patients, patients
    elif (match := _PERCENT.match(text)) and float(match[1]) <= 100:
        return float(match[1]) / 100, None
    raise ValueError(f"not a frequency: {text!r}")


def read_annotations(path: Path | str, ontology: Ontology) -> tuple[pa.Table, list[QuarantineRow]]:
    """Read ``phenotype.hpoa``.

    Args:
        path: the file, UTF-8, with or without byte order mark, any line ends.
        ontology: resolves alternative and obsolete term ids.

    Returns:
        The table (see ``SCHEMA``; ``frequency`` is null where none is stated and 0 where the qualifier is
        NOT) and the rejected rows, each with its line and field. A row with one bad field is rejected whole.

    Raises:
        SourceError: the file cannot be read or its header lacks a column; the message names both.
    """
    path = Path(path)
    raw, lines, rejected = _read_columns(path)
    bad = _BadRows(path, raw, lines, rejected)

    frequencies = _Decoded(raw["frequency"], _frequency_or_none)
    bad.check("frequency", frequencies.valid, "not a frequency", _FREQUENCY_FORMS)
    terms = _Decoded(raw["hpo_id"], ontology.resolve)
    bad.check("hpo_id", terms.valid, "unknown or withdrawn HPO id", f"an id of HPO {ontology.version}")
    diseases = _Decoded(raw["database_id"], lambda text: text if _DISEASE.match(text) else None)
    bad.check(
        "database_id", diseases.valid, "not a disease id", "OMIM:, ORPHA:, DECIPHER: or MONDO: and digits"
    )
    qualifiers = _Decoded(raw["qualifier"], lambda text: (text or None,) if text in ("", "NOT") else None)
    bad.check("qualifier", qualifiers.valid, "unknown qualifier", "NOT or empty")
    sexes = _Decoded(raw["sex"], lambda text: (_SEXES[text.upper()],) if text.upper() in _SEXES else None)
    bad.check("sex", sexes.valid, "unknown sex", "MALE, FEMALE or empty")
    aspects = _Decoded(raw["aspect"], lambda text: text if text in _ASPECTS else None)
    bad.check("aspect", aspects.valid, "unknown aspect", "one of P, I, C, M, H")
    onsets = _Decoded(
        raw["onset"], lambda text: (ontology.resolve(text),) if not text or ontology.resolve(text) else None
    )
    bad.check("onset", onsets.valid, "unknown HPO id", f"an onset term of HPO {ontology.version}, or empty")

    is_not = pc.fill_null(pc.equal(qualifiers.column(0, pa.string()), "NOT"), False)
    frequency = pc.if_else(is_not, pa.scalar(0.0), frequencies.column(0, pa.float64()))
    table = pa.Table.from_arrays(
        [
            diseases.column(None, pa.string()),
            _empty_as_null(raw["disease_name"]),
            terms.column(None, pa.string()),
            raw["hpo_id"],
            qualifiers.column(0, pa.string()),
            frequency,
            frequencies.column(1, pa.int32()),
            _split(raw["reference"]),
            _empty_as_null(raw["evidence"]),
            onsets.column(0, pa.string()),
            sexes.column(0, pa.string()),
            _split(raw["modifier"]),
            aspects.column(None, pa.string()),
        ],
        schema=SCHEMA,
    )
    kept = table.filter(bad.good) if bad.any else table
    return kept.combine_chunks(), sorted(bad.rows, key=lambda row: (row.row or 0, row.field))


def annotations_version(path: Path | str) -> str:
    """Return the release named in the header of ``phenotype.hpoa``, or ``unknown``."""
    with open(path, encoding="utf-8-sig") as lines:
        for line in lines:
            if not line.startswith("#"):
                break
            if match := re.match(r"#\s*(?:version|date)\s*:\s*(\S+)", line):
                return match[1]
    return "unknown"


class _Decoded:
    """The distinct texts of a column, each parsed once."""

    def __init__(self, values: pa.ChunkedArray, parse: Callable[[str], Any]) -> None:
        encoded = values.combine_chunks().dictionary_encode()
        self._codes = encoded.indices
        self._parsed = [parse(text) for text in encoded.dictionary.to_pylist()]

    @property
    def valid(self) -> pa.BooleanArray:
        """True in each row whose text could be parsed."""
        return pa.array([value is not None for value in self._parsed], type=pa.bool_()).take(self._codes)

    def column(self, part: int | None, kind: pa.DataType) -> pa.Array:
        """The parsed values, or part ``part`` of each, one a row."""
        values = [v if v is None or part is None else v[part] for v in self._parsed]
        return pa.array(values, type=kind).take(self._codes)


class _BadRows:
    """Rows rejected so far, and which rows remain good."""

    def __init__(self, path: Path, raw: pa.Table, lines: pa.Array, rejected: list[QuarantineRow]) -> None:
        self._path, self._raw, self._lines = path, raw, lines
        self.rows = rejected
        self.good = pa.array([True] * raw.num_rows, type=pa.bool_())
        self.any = False

    def check(self, field: str, valid: pa.BooleanArray, reason: str, allowed: str) -> None:
        """Reject the rows in which ``field`` is not valid."""
        for i in pc.indices_nonzero(pc.invert(valid)).to_pylist():
            record = self._raw.slice(i, 1).to_pylist()[0]
            self.rows.append(
                QuarantineRow(
                    SOURCE, self._path.name, self._lines[i].as_py(), record["database_id"] or None, field,
                    record[field], reason, allowed, excerpt(record),
                )
            )  # fmt: skip
            self.any = True
        self.good = pc.and_(self.good, valid)


def _read_columns(path: Path) -> tuple[pa.Table, pa.Array, list[QuarantineRow]]:
    """Return the columns as text, the line of each row, and rows with a wrong number of columns."""
    try:
        content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error}") from error
    start, comments = 0, 0
    while content.startswith(b"#", start) and not content.startswith(b"#DatabaseID", start):
        end = content.find(b"\n", start)
        start, comments = (len(content), comments + 1) if end < 0 else (end + 1, comments + 1)
    end = content.find(b"\n", start)
    header = content[start : end if end >= 0 else None].decode("utf-8", "replace").strip("\r\n#").split("\t")
    if tuple(header) not in (COLUMNS, _OLD_COLUMNS):
        missing = [name for name in COLUMNS if name not in header]
        raise SourceError(
            f"{path}: line {comments + 1}: column {(missing or header)[0]!r} is missing or misplaced; "
            f"expected tab-separated {', '.join(COLUMNS)}"
        )
    first_line = comments + 2
    rejected: list[QuarantineRow] = []

    def set_aside(row: pacsv.InvalidRow) -> str:
        line = first_line + row.number - 1 if row.number is not None else None
        rejected.append(
            QuarantineRow(
                SOURCE, path.name, line, None, "row", str(row.actual_columns), "wrong number of columns",
                f"{row.expected_columns} tab-separated columns", excerpt(row.text),
            )
        )  # fmt: skip
        return "skip"

    body = content[end + 1 :] if end >= 0 else b""
    if not body.strip():
        empty = pa.array([], type=pa.string())
        return pa.table(dict.fromkeys(COLUMNS, empty)), pa.array([], type=pa.int64()), rejected
    try:
        raw = pacsv.read_csv(
            io.BytesIO(body),
            # Threads off: only then does the reader number the rows that it sets aside.
            read_options=pacsv.ReadOptions(column_names=list(COLUMNS), use_threads=False),
            parse_options=pacsv.ParseOptions(
                delimiter="\t", quote_char=False, ignore_empty_lines=False, invalid_row_handler=set_aside
            ),
            convert_options=pacsv.ConvertOptions(column_types=dict.fromkeys(COLUMNS, pa.string())),
        )
    except pa.ArrowInvalid as error:
        raise SourceError(f"{path}: {error}") from error
    lines = pa.array(range(first_line, first_line + raw.num_rows + len(rejected)), type=pa.int64())
    if rejected:
        taken = pa.array([row.row for row in rejected], type=pa.int64())
        lines = lines.filter(pc.invert(pc.is_in(lines, taken)))
    # Blank lines are read, so that the lines are counted right, and then left out.
    written = pc.not_equal(pc.binary_join_element_wise(raw["database_id"], raw["hpo_id"], ""), "")
    if not pc.all(written).as_py():
        raw, lines = raw.filter(written), lines.filter(written)
    return raw, lines, rejected


def _frequency_or_none(text: str) -> tuple[float | None, int | None] | None:
    """Parse a frequency; None where the text is not one."""
    try:
        return parse_frequency(text)
    except ValueError:
        return None


def _empty_as_null(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the texts with empty ones as null."""
    return pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)


def _split(values: pa.ChunkedArray) -> pa.Array:
    """Split texts at semicolons, each distinct text once; an empty text gives an empty list."""
    decoded = _Decoded(values, lambda text: [part.strip() for part in text.split(";") if part.strip()])
    return decoded.column(None, pa.list_(pa.string()))
