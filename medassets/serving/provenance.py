"""The way back: prediction, bento, bundle, models, runs, table versions, source files and their sums.

What belongs here: building that chain and writing it as a tree or as W3C PROV-JSON (submission of 24 April
2013). What does not: how a bundle or a store is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from medassets.serving.manifest import DataEntry, Manifest, ModelEntry, SourceEntry
from medassets.serving.store import Record

PREFIXES = {"medassets": "urn:medassets:", "prov": "http://www.w3.org/ns/prov#"}
Kind = Literal["prediction", "bento", "bundle", "model", "run", "data", "source"]


@dataclass
class Node:
    """One step of the chain, and what it came from."""

    kind: Kind
    name: str
    facts: dict[str, Any]
    parents: list[Node] = field(default_factory=list)

    @property
    def id(self) -> str:
        """Qualified name in the PROV document."""
        return f"medassets:{self.kind}/{self.name}"

    def to_dict(self) -> dict[str, Any]:
        """The chain from here on, as nested JSON."""
        return {
            "kind": self.kind,
            "name": self.name,
            **self.facts,
            "derived_from": [parent.to_dict() for parent in self.parents],
        }


def lineage(record: Record, manifest: Manifest) -> Node:
    """The chain of one prediction.

    Args:
        record: the prediction, as kept.
        manifest: of the bundle that answered it.

    Raises:
        ValueError: the manifest is another bundle's.
    """
    if record.bundle != manifest.version:
        raise ValueError(
            f"prediction {record.prediction_id} is of bundle {record.bundle}, not {manifest.version}"
        )
    data = _Data(manifest)
    models = [_model(model, data) for model in manifest.models]
    bundle_facts = {
        "version": manifest.version,
        "created": manifest.created.isoformat(),
        "profile": manifest.profile,
        "settings_origin": manifest.settings_origin,
        "files": len(manifest.files),
    }
    bundle = Node("bundle", manifest.version, bundle_facts, models or data.all())
    bento = Node("bento", record.bento, {}, [bundle])
    return Node("prediction", record.prediction_id, {"at": record.at}, [bento])


class _Data:
    """Nodes of tables and sources, each made once, tables derived from tables included."""

    def __init__(self, manifest: Manifest) -> None:
        self._entries = {entry.asset: entry for entry in manifest.data}
        self._sources = {entry.name: entry for entry in manifest.sources}
        self._nodes: dict[str, Node] = {}

    def node(self, asset: str) -> Node:
        if asset not in self._nodes:
            if asset in self._sources:
                self._nodes[asset] = _source(self._sources[asset])
            else:
                entry = self._entries.get(asset, DataEntry(asset=asset))
                node = self._nodes[asset] = Node("data", asset, _facts(entry, {"asset", "derived_from"}))
                node.parents = [self.node(parent) for parent in entry.derived_from]
        return self._nodes[asset]

    def all(self) -> list[Node]:
        return [self.node(asset) for asset in self._entries]


def _model(model: ModelEntry, data: _Data) -> Node:
    version = model.registry_version or "unregistered"
    facts = _facts(model, {"name", "registry_version", "mlflow_run_id", "dagster_run_id", "trained_on"})
    trained_on = [data.node(asset) for asset in model.trained_on]
    both = (("mlflow_run_id", model.mlflow_run_id), ("dagster_run_id", model.dagster_run_id))
    runs = {name: value for name, value in both if value}
    if runs:
        trained_on = [Node("run", next(iter(runs.values())), runs, trained_on)]
    return Node("model", f"{model.name}@{version}", facts, trained_on)


def _source(source: SourceEntry) -> Node:
    return Node("source", source.name, _facts(source, {"name"}))


def _facts(entry: ModelEntry | DataEntry | SourceEntry, without: set[str]) -> dict[str, Any]:
    dumped = entry.model_dump(mode="json", exclude=without, exclude_none=True)
    return {name: value for name, value in dumped.items() if value not in ([], {})}


def tree(node: Node) -> str:
    """The chain as indented text; what stands twice is written out once."""
    return "\n".join(_lines(node, "", set()))


def _lines(node: Node, indent: str, seen: set[str]) -> Iterator[str]:
    facts = ", ".join(f"{name}={_short(value)}" for name, value in node.facts.items())
    repeated = node.id in seen and bool(node.parents)
    yield (
        f"{indent}{node.kind} {node.name}"
        + (f"  ({facts})" if facts else "")
        + ("  (see above)" if repeated else "")
    )
    seen.add(node.id)
    if not repeated:
        for parent in node.parents:
            yield from _lines(parent, indent + "  ", seen)


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}:{_short(item)}" for name, item in value.items() if item is not None)
    if isinstance(value, list):
        return "+".join(map(_short, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def prov_json(node: Node) -> dict[str, Any]:
    """The chain as a PROV-JSON document.

    Predictions, bentos, bundles, models, tables and sources are entities; training runs and the answering are
    activities; the software is an agent.
    """
    agent, answering = "medassets:software", f"medassets:answering/{node.name}"
    document: dict[str, Any] = {
        "prefix": PREFIXES,
        "entity": {},
        "activity": {answering: {"prov:startTime": node.facts["at"], "prov:endTime": node.facts["at"]}},
        "agent": {agent: {"prov:type": {"$": "prov:SoftwareAgent", "type": "prov:QUALIFIED_NAME"}}},
        "wasGeneratedBy": {},
        "used": {},
        "wasDerivedFrom": {},
        "wasAssociatedWith": {"_:a0": {"prov:activity": answering, "prov:agent": agent}},
    }
    _relate(document, "wasGeneratedBy", {"prov:entity": node.id, "prov:activity": answering})
    _relate(document, "used", {"prov:activity": answering, "prov:entity": node.parents[0].id})
    for step in _unique(node):
        attributes = {f"medassets:{name}": _literal(value) for name, value in step.facts.items()}
        if step.kind == "run":
            document["activity"][step.id] = attributes
            relation = {"prov:activity": step.id, "prov:agent": agent}
            _relate(document, "wasAssociatedWith", relation)
            for parent in step.parents:
                _relate(document, "used", {"prov:activity": step.id, "prov:entity": parent.id})
            continue
        document["entity"][step.id] = {"prov:label": f"{step.kind} {step.name}", **attributes}
        for parent in step.parents:
            if parent.kind == "run":
                _relate(document, "wasGeneratedBy", {"prov:entity": step.id, "prov:activity": parent.id})
            for entity in parent.parents if parent.kind == "run" else [parent]:
                relation = {"prov:generatedEntity": step.id, "prov:usedEntity": entity.id}
                _relate(document, "wasDerivedFrom", relation)
    return document


def _relate(document: dict[str, Any], relation: str, attributes: dict[str, str]) -> None:
    records = document[relation]
    records[f"_:{relation}{len(records)}"] = attributes


def _literal(value: Any) -> Any:
    if isinstance(value, str | int | float | bool):
        return value
    return _short(value)


def _unique(node: Node) -> list[Node]:
    found: dict[str, Node] = {}

    def walk(step: Node) -> None:
        if step.id not in found:
            found[step.id] = step
            for parent in step.parents:
                walk(parent)

    walk(node)
    return list(found.values())
