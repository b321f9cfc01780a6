"""Model-agnostic meta-learning: a small network that a few gradient steps turn towards new diseases.

What belongs here: second- and first-order MAML over disease episodes, adaptation to one new disease, and
scoring. What does not: sampling (``episodes``) and the term vectors that patients are projected on
(``encoder``).

Finn, Abbeel and Levine, ICML 2017, with ``torch.func`` for the inner gradients and ``vmap`` over the episodes
of an outer step. The head starts at the class means of the support (Proto-MAML: Triantafillou et al., ICLR
2020), so the number of diseases is free: five in an episode, all known ones when scoring. First order
(``second_order=False``) takes the inner gradients as constants.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from medassets.cohorts.splits import publication_groups
from medassets.features.cases import CaseSet
from medassets.features.phenotype_encoder import NO_CASE
from medassets.features.rare import RareKnowledge
from medassets.features.rare_arrays import load_array, save_array
from medassets.learners.rare import encoder as nets
from medassets.learners.rare.config import FewShotConfig
from medassets.learners.rare.episodes import Episode, EpisodeError, EpisodeSampler
from medassets.learners.rare.maml_network import SCALE, Adapted, Tensors, accuracy, embed, new_body, start
from medassets.learners.rare.method import FewShotMethod

if TYPE_CHECKING:
    import torch

_OUTER_RATE = 2e-3
_BODIES = ("body", "scored_body")
_SCORE_STEPS_ON = 1500  # most known cases that one inner step reads when scoring


class MAML(FewShotMethod):
    """Ranks candidates with known cases by a network adapted to those cases.

    Attributes:
        name: ``maml`` or ``maml_first_order``.
        candidates: ids of the candidates, in the order of the score's columns.
        losses: outer loss of each meta-iteration (mean over its episodes).
        accuracy_by_step: query accuracy after 0, 1, 2, ... inner steps, mean over the last tenth of the
            iterations.
    """

    file = "maml"
    arrays = ("head", "head_candidates")

    def __init__(self, config: FewShotConfig | None = None, *, second_order: bool = True) -> None:
        """Args:
        config: training budget; quick when None.
        second_order: whether the outer gradient passes through the inner gradients.
        """
        super().__init__(config)
        self.second_order = second_order
        self.name = "maml" if second_order else "maml_first_order"
        self.accuracy_by_step: list[float] = []
        self._body: dict[str, np.ndarray] = {}
        self._scored_body: dict[str, np.ndarray] = {}
        self._head = np.empty((0, 0), np.float32)
        self._head_candidates = np.empty(0, np.int64)

    @property
    def metadata(self) -> dict[str, Any]:
        """What was run and what came of it, for the registry."""
        facts = {"second_order": self.second_order, "n_adapted_diseases": len(self._head_candidates)}
        curves = {"meta_loss": self.losses, "accuracy_by_step": self.accuracy_by_step}
        return {"params": self.config.metadata | facts, "curves": curves}

    def fit(self, knowledge: RareKnowledge, cases: CaseSet) -> Self:
        """Meta-train on episodes of ``cases``, then adapt to all known diseases at once.

        Raises:
            EpisodeError: too few diseases have cases of two publications.
        """
        import torch

        # Episodes are small: a second thread would only wait, at full load.
        torch.set_num_threads(1)
        torch.manual_seed(self.config.seed)
        labels = knowledge.labels(cases)
        parameters, context = nets.start(
            knowledge, cases.implied_matrix(knowledge.ontology), self.config, features=None
        )
        self._encoder = nets.freeze(parameters, context)
        self.candidates = list(knowledge.candidates)
        patients = torch.from_numpy(self.encoder.encode(cases))
        samplers = self._samplers(labels, publication_groups(cases.case_ids, cases.pmids))
        rng = np.random.default_rng(self.config.seed)
        body = new_body(patients.shape[1])
        optimiser = torch.optim.Adam(
            [tensor.requires_grad_(True) for tensor in body.values()], lr=_OUTER_RATE
        )
        correct: list[np.ndarray] = []
        self.losses = []
        for _ in range(self.config.meta_iterations):
            # Shots and queries change between iterations, not within one: vmap needs equal sizes.
            sampler = samplers[rng.integers(len(samplers))]
            n_query = int(rng.integers(self.config.min_query, self.config.max_query + 1))
            episodes = [sampler.sample(rng, self.config.way, n_query) for _ in range(self.config.meta_batch)]
            batch = [self._tensors(patients, episode, n_query, rng) for episode in episodes]
            loss, right = self._outer(body, *(torch.stack(part) for part in zip(*batch, strict=True)))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            self.losses.append(float(loss.detach()))
            correct.append(right.detach().numpy())
        tail = max(1, len(correct) // 10)
        self.accuracy_by_step = np.mean(correct[-tail:], axis=0).round(6).tolist()
        self._body = {key: tensor.detach().numpy().copy() for key, tensor in body.items()}
        return self.remember(knowledge, cases)

    def remember(self, knowledge: RareKnowledge, cases: CaseSet) -> Self:
        """Adapt to the given known cases without meta-training again: one class for each disease among them.

        Raises:
            ValueError: the knowledge ranks other candidates than the model was fitted for.
        """
        import torch

        self._require_candidates(knowledge)
        labels = knowledge.labels(cases)
        known = np.flatnonzero(labels >= 0)
        self._head_candidates, classes = np.unique(labels[known], return_inverse=True)
        read = np.random.default_rng(self.config.seed).permutation(len(known))[:_SCORE_STEPS_ON]
        patients = torch.from_numpy(self.encoder.encode(cases[known]))
        adapted = self._adapt(
            self._initial(),
            patients,
            torch.from_numpy(classes),
            len(self._head_candidates),
            read=torch.from_numpy(read),
        )
        self._scored_body = {key: tensor.detach().numpy() for key, tensor in adapted.body.items()}
        self._head = adapted.head.detach().numpy()
        return self

    def update_with_cases(self, knowledge: RareKnowledge, disease_id: str, cases: CaseSet) -> Self:
        """Learn one disease from 1 to 5 cases: only its row of the head moves, all else stays.

        The row starts at the mean of the cases and takes the configured inner steps against the other
        diseases' rows.

        Raises:
            KeyError: the disease is no candidate.
        """
        import torch

        column = knowledge.index[disease_id]
        body = {key: torch.from_numpy(value) for key, value in self._scored_body.items()}
        known = self._head_candidates != column
        others = torch.from_numpy(self._head[known])
        embedded = embed(body, torch.from_numpy(self.encoder.encode(cases)))

        def loss(row: torch.Tensor) -> torch.Tensor:
            logits = SCALE * embedded @ torch.cat([row[None], others]).T
            return torch.nn.functional.cross_entropy(logits, torch.zeros(len(embedded), dtype=torch.int64))

        row = embedded.mean(dim=0)
        for _ in range(self.config.inner_steps):
            row = row - self.config.inner_rate / SCALE * torch.func.grad(loss)(row)
        head = np.vstack([self._head[known], row.detach().numpy()[None]])
        columns = np.append(self._head_candidates[known], column)
        order = np.argsort(columns)
        self._head, self._head_candidates = head[order], columns[order]
        return self

    def score(self, cases: CaseSet) -> np.ndarray:
        """Return float32 (n_cases, n_candidates): cosine to the head of each disease, -1 without a case."""
        import torch

        body = {key: torch.from_numpy(value) for key, value in self._scored_body.items()}
        with torch.no_grad():
            embedded = embed(body, torch.from_numpy(self.encoder.encode(cases))).numpy()
        scores = np.full((len(cases), len(self.candidates)), NO_CASE, np.float32)
        scores[:, self._head_candidates] = embedded @ self._head.T
        return scores

    def episode_accuracy(self, encoded: np.ndarray, episode: Episode, steps: int) -> np.ndarray:
        """Return float64 (steps + 1,): accuracy on the query after 0, 1, ... inner steps on the support.

        Args:
            encoded: float32 (n_cases, dimension), the episode's cases as ``encoder`` encodes them.
            episode: support and query.
            steps: number of inner steps.
        """
        import torch

        patients = torch.from_numpy(encoded)
        support, classes = patients[episode.support], torch.from_numpy(episode.support_class)
        query, truth = patients[episode.query], torch.from_numpy(episode.query_class)
        state = start(self._initial(), support, classes, len(episode.candidates))
        shares = [float(accuracy(state, query, truth))]
        for _ in range(steps):
            state = self._step(state, support, classes)
            shares.append(float(accuracy(state, query, truth)))
        return np.array(shares)

    def save(self, directory: Path) -> None:
        """Write what every method keeps, and both bodies."""
        super().save(directory)
        for kind in _BODIES:
            for key, value in getattr(self, f"_{kind}").items():
                save_array(directory, f"{kind}.{key}", value)

    def _state(self) -> dict[str, Any]:
        return {
            "second_order": self.second_order,
            "accuracy_by_step": self.accuracy_by_step,
            "keys": sorted(self._body),
        }

    def _restore(self, meta: dict[str, Any], directory: Path) -> None:
        self.second_order, self.accuracy_by_step = meta["second_order"], meta["accuracy_by_step"]
        self.name = "maml" if self.second_order else "maml_first_order"
        for kind in _BODIES:
            setattr(self, f"_{kind}", {key: load_array(directory, f"{kind}.{key}") for key in meta["keys"]})

    def _initial(self) -> Tensors:
        import torch

        return {key: torch.from_numpy(value) for key, value in self._body.items()}

    def _samplers(self, labels: np.ndarray, groups: list[str]) -> list[EpisodeSampler]:
        """Return a sampler for each number of shots that enough diseases allow, at least the smallest one.

        Raises:
            EpisodeError: too few diseases allow even the smallest number.
        """
        shots = range(self.config.min_support, self.config.max_episode_support + 1)
        samplers = [EpisodeSampler(labels, groups, shots=n) for n in shots]
        usable = [sampler for sampler in samplers if len(sampler.diseases) >= self.config.way]
        if not usable:
            raise EpisodeError(
                f"{len(samplers[0].diseases)} diseases have {self.config.min_support} cases and another "
                f"publication; meta-training needs {self.config.way}"
            )
        return usable

    def _tensors(
        self, patients: Any, episode: Episode, each: int, rng: np.random.Generator
    ) -> tuple[Any, Any, Any, Any]:
        """Return support, its classes, query, its classes: ``each`` queries are drawn of every class."""
        import torch

        drawn = [rng.choice(np.flatnonzero(episode.query_class == c), each) for c in range(self.config.way)]
        query = np.concatenate(drawn)
        return (
            patients[episode.support],
            torch.from_numpy(episode.support_class),
            patients[episode.query[query]],
            torch.from_numpy(episode.query_class[query]),
        )

    def _outer(self, body: Tensors, support: Any, classes: Any, query: Any, truth: Any) -> tuple[Any, Any]:
        """Return the mean query loss after adaptation, and the mean accuracy after each inner step."""
        import torch

        def one(support: Any, classes: Any, query: Any, truth: Any) -> tuple[Any, Any]:
            state = start(body, support, classes, self.config.way)
            right, loss = [accuracy(state, query, truth)], None
            for _ in range(self.config.inner_steps):
                state = self._step(state, support, classes)
                right.append(accuracy(state, query, truth))
            logits = SCALE * embed(state.body, query) @ state.head.T
            loss = torch.nn.functional.cross_entropy(logits, truth)
            return loss, torch.stack(right)

        losses, right = torch.func.vmap(one)(support, classes, query, truth)
        return losses.mean(), right.mean(dim=0)

    def _adapt(
        self,
        body: Tensors,
        support: Any,
        classes: Any,
        n_classes: int,
        *,
        read: Any,
    ) -> Adapted:
        """Return the network after its inner steps on the rows ``read`` of the support."""
        state = start(body, support, classes, n_classes)
        for _ in range(self.config.inner_steps):
            state = self._step(state, support[read], classes[read])
        return state

    def _step(self, state: Adapted, support: Any, classes: Any) -> Adapted:
        """Return the network after one inner gradient step."""
        import torch

        def loss(state: Adapted) -> torch.Tensor:
            logits = SCALE * embed(state.body, support) @ state.head.T
            return torch.nn.functional.cross_entropy(logits, classes)

        slope = torch.func.grad(loss)(state)
        if not self.second_order:
            slope = Adapted({key: value.detach() for key, value in slope.body.items()}, slope.head.detach())
        rate = self.config.inner_rate / SCALE
        moved = {key: value - rate * slope.body[key] for key, value in state.body.items()}
        return Adapted(moved, state.head - rate * slope.head)
