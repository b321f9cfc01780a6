"""The learned set encoder: how patients and annotated diseases become comparable vectors.

What belongs here: the parameters of the encoder, its forward pass in torch, the optimiser's settings, and
freezing it into numpy (``features.phenotype_encoder``, where the forward pass is described). What does not:
which loss trains it (``prototypical``, ``siamese``).

Deep sets (Zaheer et al. 2017) with attention by a learned query (Ilse et al. 2018): a term's weight is its
information content times a learned factor, and that factor is a free number plus a small network over the
term's embedding, so terms that no training case shows get a sensible weight too. Excluded terms are
subtracted. Annotated profiles share the terms' vectors but weigh the terms anew, since annotations and
patients speak of terms differently. Functions over a dictionary of tensors rather than a module:
``torch.func`` works on them directly, and importing this file does not import torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from medassets.features.phenotype_encoder import N_DEMOGRAPHIC, PhenotypeEncoder
from medassets.features.rare import RareKnowledge
from medassets.knowledge.ontology import Ontology, information_content
from medassets.learners.rare.config import FewShotConfig

if TYPE_CHECKING:
    import torch

Parameters = dict[str, "torch.Tensor"]

_EXCLUDED_START = -1.5  # an excluded term starts at a fifth of the weight of an observed one
_TEMPERATURE_START = 2.7  # log of the factor that turns a cosine into a logit, about 15
_GATE_UNITS = 16
_FEATURE_AXES = 64  # term embeddings are reduced to their main axes: a step then costs a third
#: Step size of Adam for each kind of parameter: vectors move little, else they learn the published diseases
#: by heart.
_RATES = {
    "vectors": 2e-4,
    "demographic": 1e-3,
    "projection": 2e-4,
    "log_observed": 1e-2,
    "log_excluded": 1e-2,
    "log_annotation": 1e-2,
    "gate_in": 3e-3,
    "gate_bias": 3e-3,
    "gate_out": 3e-3,
}
_OTHER_RATE = 2e-2


@dataclass(frozen=True, eq=False)
class EncoderContext:
    """What the encoder needs beside its parameters.

    Attributes:
        ontology: whose terms the tokens mean.
        information: float32 tensor (n_terms,), information content in nats.
        features: float32 tensor (n_terms, n), embedding of each term from structure and text, or None.
    """

    ontology: Ontology
    information: torch.Tensor
    features: torch.Tensor | None


def start(
    knowledge: RareKnowledge, patients: sp.csr_matrix, config: FewShotConfig, features: np.ndarray | None
) -> tuple[Parameters, EncoderContext]:
    """Return the parameters before training: the cosine of information-weighted profiles, in few dimensions.

    Args:
        knowledge: candidates and their annotations.
        patients: (n_cases, n_terms) implied terms of the training cases.
        config: dimension and seed.
        features: (n_terms, n) term embeddings for the gate and the projection; neither is made when None.
    """
    import torch
    from sklearn.utils.extmath import randomized_svd

    torch.manual_seed(config.seed)
    profiles = knowledge.profiles()
    information = information_content(knowledge.raw_profiles(), knowledge.ontology).astype(np.float32)
    weigh = sp.diags(information)
    # Patients count double: their variation is what has to be told apart, annotations cover the other
    # diseases.
    rows = sp.vstack([_unit_rows(patients @ weigh), 0.5 * _unit_rows(profiles @ weigh)]).tocsr()
    size = min(config.dimension, min(rows.shape) - 1)
    _, _, axes = randomized_svd(rows, size, n_iter=2, random_state=config.seed)
    n_terms = len(knowledge.ontology)
    parameters: dict[str, Any] = {
        "vectors": torch.tensor(axes.T.copy(), dtype=torch.float32),
        "demographic": torch.zeros(N_DEMOGRAPHIC, size),
        "log_observed": torch.zeros(n_terms),
        "log_excluded": torch.full((n_terms,), _EXCLUDED_START),
        "log_annotation": torch.zeros(n_terms),
        "temperature": torch.tensor(_TEMPERATURE_START),
    }
    if features is not None:
        features = main_axes(features, config.seed)
        parameters |= {
            "projection": torch.zeros(features.shape[1], size),
            "gate_in": torch.randn(features.shape[1], _GATE_UNITS) / features.shape[1] ** 0.5,
            "gate_bias": torch.zeros(_GATE_UNITS),
            "gate_out": torch.zeros(_GATE_UNITS, 2),
        }
    context = EncoderContext(
        knowledge.ontology,
        torch.tensor(information),
        None if features is None else torch.tensor(features, dtype=torch.float32),
    )
    return parameters, context


def main_axes(features: np.ndarray, seed: int) -> np.ndarray:
    """Return float32 (n_terms, at most 64): term embeddings in their main axes, mean length 1."""
    from sklearn.utils.extmath import randomized_svd

    if features.shape[1] > _FEATURE_AXES:
        left, values, _ = randomized_svd(features, _FEATURE_AXES, n_iter=3, random_state=seed)
        features = left * values
    lengths = np.linalg.norm(features, axis=1)
    return (features / max(float(lengths[lengths > 0].mean()), 1e-9)).astype(np.float32)


def token_weights(parameters: Parameters, context: EncoderContext) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the vector of each patient token and of each annotated term.

    Returns:
        (2 * n_terms + N_DEMOGRAPHIC, dimension) and (n_terms, dimension).
    """
    import torch

    vectors = parameters["vectors"]
    observed, excluded = parameters["log_observed"], parameters["log_excluded"]
    if context.features is not None:
        vectors = vectors + context.features @ parameters["projection"]
        hidden = torch.relu(context.features @ parameters["gate_in"] + parameters["gate_bias"])
        gate = hidden @ parameters["gate_out"]
        observed, excluded = observed + gate[:, 0], excluded + gate[:, 1]
    weigh = context.information
    tokens = torch.cat(
        [
            (weigh * observed.exp())[:, None] * vectors,
            -(weigh * excluded.exp())[:, None] * vectors,
            parameters["demographic"],
        ]
    )
    annotated = (weigh * (observed.detach() + parameters["log_annotation"]).exp())[:, None]
    return tokens, annotated * vectors.detach()


def encode(rows: sp.csr_matrix, weights: torch.Tensor) -> torch.Tensor:
    """Return the encoded rows, length 1: (n, n_tokens) times (n_tokens, dimension)."""
    import torch

    summed = torch.nn.functional.embedding_bag(
        torch.from_numpy(rows.indices.astype(np.int64)),
        weights,
        torch.from_numpy(rows.indptr[:-1].astype(np.int64)),
        mode="sum",
        per_sample_weights=torch.from_numpy(rows.data.astype(np.float32)),
    )
    return unit(summed)


def unit(vectors: torch.Tensor) -> torch.Tensor:
    """Return rows of length 1, as ``phenotype_encoder.unit_rows`` does."""
    return vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-6)


def hide(rows: sp.csr_matrix, share: float, rng: np.random.Generator) -> sp.csr_matrix:
    """Return a copy that misses each token with the given probability: a patient examined less closely."""
    kept = rng.random(rows.nnz) >= share
    return sp.csr_matrix((rows.data * kept, rows.indices, rows.indptr), shape=rows.shape)


def optimiser(parameters: Parameters) -> torch.optim.Optimizer:
    """Return Adam over the parameters, each kind with its own step size."""
    import torch

    groups = []
    for name, tensor in parameters.items():
        tensor.requires_grad_(True)
        groups.append({"params": [tensor], "lr": _RATES.get(name, _OTHER_RATE)})
    return torch.optim.Adam(groups)


def freeze(parameters: Parameters, context: EncoderContext) -> PhenotypeEncoder:
    """Return the encoder as numpy arrays, for scoring and serving."""
    import torch

    with torch.no_grad():
        tokens, annotated = token_weights(parameters, context)
    return PhenotypeEncoder(
        context.ontology, tokens.numpy().copy(), annotated.numpy().copy(), context.information.numpy().copy()
    )


def _unit_rows(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """Return the sparse rows scaled to length 1."""
    norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return sp.diags(1 / np.maximum(norms, 1e-6)) @ matrix
