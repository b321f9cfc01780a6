"""What training assets read, as the learners want it, and nothing of the test part.

What belongs here: turning the graph's tables into the learners' inputs, with the test publications left out
of cases and annotations alike. What does not: learning. A case of a test publication must not reach a model
in any way: here is the one place where that is decided.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from medassets.orchestration.inputs import (
    cohort,
    common_knowledge_of,
    crosswalk_of,
    in_part,
    ins,
    ontology_of,
)
from medassets.settings import Settings

if TYPE_CHECKING:
    from medassets.features.cases import CaseSet
    from medassets.features.rare import RareKnowledge
    from medassets.knowledge.common_conditions import CommonKnowledge
    from medassets.knowledge.ontology import Ontology
    from medassets.learners.common.config import CommonConfig
    from medassets.learners.common.training import TrainingData
    from medassets.learners.rare.config import FewShotConfig

#: Inputs of every asset that learns from rare cases.
RARE_INPUTS = ins(
    "clinical/rare_cases",
    "clinical/case_phenotypes",
    "synthetic/simulated_rare_cases",
    "synthetic/simulated_case_phenotypes",
    "features/rare_split",
    "clinical/disease_annotations",
    "sources/hpo_ontology",
    "sources/mondo_mappings",
)
#: Inputs of every asset that learns from patients with common conditions.
COMMON_INPUTS = ins(
    "clinical/common_patients",
    "synthetic/simulated_common_patients",
    "features/common_split",
    "sources/common_reference",
)
#: Settings that change what is learned.
LEARNING_SETTINGS = ("seed", "profile")


@dataclass(frozen=True)
class RareData:
    """Rare cases by part, and what is known of the diseases.

    Attributes:
        knowledge: annotations as published, over every annotated disease and every disease of a training
            case.
        train: cases that may be learned from.
        test: cases that may only be ranked.
        origin: origin of the cases.
        everything: knowledge over every annotated disease and every disease of the given cases.
    """

    knowledge: RareKnowledge
    train: CaseSet
    test: CaseSet
    origin: str
    everything: Callable[[CaseSet], RareKnowledge]

    @property
    def ontology(self) -> Ontology:
        """The ontology of terms and annotations."""
        return self.knowledge.ontology

    @property
    def test_publications(self) -> frozenset[str]:
        """Publications of the test cases."""
        return frozenset(pmid for pmids in self.test.pmids for pmid in pmids)

    @property
    def clean_knowledge(self) -> RareKnowledge:
        """Knowledge without the annotation rows that cite a test publication."""
        return self.knowledge.without_publications(set(self.test_publications))


def rare_data(inputs: Mapping[str, Any]) -> RareData:
    """Gather rare cases and knowledge from the inputs named in ``RARE_INPUTS``."""
    from medassets.features.cases import CaseSet
    from medassets.features.rare import RareKnowledge

    ontology, split = ontology_of(inputs["hpo_ontology"]), inputs["rare_split"]
    cases = cohort(inputs["rare_cases"], inputs["simulated_rare_cases"])
    findings = cohort(inputs["case_phenotypes"], inputs["simulated_case_phenotypes"])
    parts = {}
    for part in ("train", "test"):
        chosen = in_part(cases, split, "case_id", part)
        parts[part] = CaseSet.from_tables(chosen, findings, ontology)
    crosswalk, names = crosswalk_of(inputs["mondo_mappings"]), cases.select(["disease_id", "disease_label"])
    labels = {row["disease_id"]: row["disease_label"] for row in names.to_pylist() if row["disease_id"]}
    annotations = inputs["disease_annotations"]

    def known(of: CaseSet) -> RareKnowledge:
        return RareKnowledge.build(ontology, annotations, of, crosswalk=crosswalk, labels=labels)

    return RareData(known(parts["train"]), parts["train"], parts["test"], origin_of(cases), known)


@dataclass(frozen=True)
class CommonData:
    """Patients with common conditions by part.

    Attributes:
        training: rows as the learners want them; its test part is held apart.
        patients: the cohort's table.
        test: rows of the test part.
        origin: origin of the test rows.
    """

    training: TrainingData
    patients: pa.Table
    test: pa.Table
    knowledge: CommonKnowledge
    origin: str


def common_data(inputs: Mapping[str, Any], settings: Settings) -> CommonData:
    """Gather patients from the inputs named in ``COMMON_INPUTS``.

    Where the installation has records, simulated patients only ever join training.
    """
    from medassets.learners.common.training import prepare

    records, simulated = inputs["common_patients"], inputs["simulated_common_patients"]
    patients, split = cohort(records, simulated), inputs["common_split"]
    knowledge = common_knowledge_of(inputs["common_reference"])
    extra = simulated if records.num_rows else None
    training = prepare(patients, split, knowledge, common_config(settings), extra)
    test = in_part(patients, split, "patient_id", "test")
    return CommonData(training, patients, test, knowledge, origin_of(test))


def thinned(table: pa.Table, most: int) -> pa.Table:
    """At most so many rows, evenly spread: rows lie by condition, so the first ones would be of a few."""
    rows = table.num_rows
    return table if rows <= most else table.take([i * rows // most for i in range(most)])


def interview_data(inputs: Mapping[str, Any]) -> tuple[CommonKnowledge, pa.Table]:
    """Give the reference figures and the training part, which the interview is learned from."""
    patients = cohort(inputs["common_patients"], inputs["simulated_common_patients"])
    train = in_part(patients, inputs["common_split"], "patient_id", "train")
    return common_knowledge_of(inputs["common_reference"]), train


def common_config(settings: Settings) -> CommonConfig:
    """Give the learners' configuration for the installation's training budget."""
    from medassets.learners.common.config import CommonConfig

    make = CommonConfig.quick if settings.profile == "quick" else CommonConfig.full
    config = make(seed=settings.seed, threads=settings.threads)
    asked = {"engine": settings.study_engine, "trials": settings.study_trials or config.tuning.trials}
    return config.model_copy(update={"tuning": config.tuning.model_copy(update=asked)})


def few_shot_config(settings: Settings) -> FewShotConfig:
    """Give the few-shot learners' configuration for the installation's training budget."""
    from medassets.learners.rare.config import FewShotConfig

    make = FewShotConfig.quick if settings.profile == "quick" else FewShotConfig.full
    return make(seed=settings.seed, threads=settings.threads)


def origin_of(table: pa.Table) -> str:
    """Give the origins of a table's rows, joined by ``+``."""
    return "+".join(sorted(set(table.column("origin").to_pylist()))) or "none"


class WithOntology:
    """A rare-disease model together with the ontology that its term indices mean, so that it can be loaded
    alone.

    Attributes:
        model: the model.
        ontology: its ontology.
    """

    def __init__(self, model: Any, ontology: Ontology) -> None:
        self.model = model
        self.ontology = ontology

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the model says of itself."""
        described: Mapping[str, Any] = self.model.metadata
        return described

    def save(self, directory: Path) -> None:
        """Write the model, the ontology and the model's class."""
        import pyarrow.parquet as pq

        (directory / "model").mkdir(parents=True, exist_ok=True)
        self.model.save(directory / "model")
        pq.write_table(self.ontology.to_table(), directory / "ontology.parquet")
        kind = f"{type(self.model).__module__}:{type(self.model).__qualname__}"
        described = {"class": kind, "hpo_version": self.ontology.version}
        (directory / "carried.json").write_text(json.dumps(described, sort_keys=True), encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> WithOntology:
        """Read what ``save`` wrote."""
        import pyarrow.parquet as pq

        from medassets.knowledge.ontology import Ontology
        from medassets.orchestration.tracking import model_class

        described = json.loads((directory / "carried.json").read_text(encoding="utf-8"))
        ontology = Ontology.from_table(
            pq.read_table(directory / "ontology.parquet"), described["hpo_version"]
        )
        return cls(model_class(described["class"]).load(directory / "model", ontology), ontology)

    def score(self, cases: CaseSet) -> Any:
        """Score cases; see the model."""
        return self.model.score(cases)
