"""What the few-shot methods share: an encoder of patients, candidates, and their files on disk.

What belongs here: the base class of ``prototypical``, ``siamese`` and ``maml``. What does not: learning and
scoring, which are each method's own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Self

from medassets.features.phenotype_encoder import PhenotypeEncoder
from medassets.features.rare import RareKnowledge
from medassets.features.rare_arrays import load_array, save_array
from medassets.knowledge.ontology import Ontology
from medassets.learners.rare.config import FewShotConfig


class FewShotMethod:
    """A method that encodes patients and compares them.

    Attributes:
        name: what reports call it.
        file: stem of the JSON file with everything that is no array.
        arrays: names of the attributes (without the underscore) that are kept as ``.npy``.
        config: training budget.
        candidates: ids of the candidates, in the order of the score's columns.
        losses: training loss of each step.
    """

    name: str
    file: ClassVar[str]
    arrays: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: FewShotConfig | None = None) -> None:
        """Args: config: training budget; quick when None."""
        self.config = config or FewShotConfig.quick()
        self.candidates: list[str] = []
        self.losses: list[float] = []
        self._encoder: PhenotypeEncoder | None = None

    @property
    def encoder(self) -> PhenotypeEncoder:
        """The frozen encoder of patients.

        Raises:
            RuntimeError: not fitted.
        """
        if self._encoder is None:
            raise RuntimeError(f"{self.name} is not fitted: call fit or load first")
        return self._encoder

    def save(self, directory: Path) -> None:
        """Write encoder and arrays as ``.npy``, the rest as JSON."""
        self.encoder.save(directory)
        for name in self.arrays:
            save_array(directory, name, getattr(self, f"_{name}"))
        meta = {
            "config": self.config.metadata,
            "hpo_version": self.encoder.ontology.version,
            "candidates": self.candidates,
            "losses": self.losses,
            **self._state(),
        }
        (directory / f"{self.file}.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, directory: Path, ontology: Ontology) -> Self:
        """Read what ``save`` wrote.

        Raises:
            ValueError: it was fitted with another release of the ontology.
        """
        meta = json.loads((directory / f"{cls.file}.json").read_text(encoding="utf-8"))
        model = cls(FewShotConfig(**meta["config"]))
        model.candidates, model.losses = meta["candidates"], meta["losses"]
        model._encoder = PhenotypeEncoder.load(directory, ontology)
        for name in cls.arrays:
            setattr(model, f"_{name}", load_array(directory, name))
        model._restore(meta, directory)
        return model

    def export_bundle(self, directory: Path) -> None:
        """Write what serving reads, which is all that ``save`` writes."""
        self.save(directory)

    def _require_candidates(self, knowledge: RareKnowledge) -> None:
        """Refuse knowledge of other candidates.

        Raises:
            ValueError: the knowledge ranks other candidates than the model was fitted for.
        """
        if knowledge.candidates != self.candidates:
            raise ValueError("the knowledge ranks other candidates than the model was fitted for")

    def _state(self) -> dict[str, Any]:
        """Return what else the JSON file keeps."""
        return {}

    def _restore(self, meta: dict[str, Any], directory: Path) -> None:
        """Take over what ``_state`` gave, and files of the method's own."""
