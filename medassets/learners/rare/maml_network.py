"""The network that MAML adapts: a residual layer over encoded patients, and a head with one row a disease.

What belongs here: its start, its forward pass and its accuracy, as functions over tensors. What does not:
inner and outer steps (``maml``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch

#: Factor that turns a cosine into a logit.
SCALE = 10.0
_HIDDEN = 96

Tensors = dict[str, "torch.Tensor"]


class Adapted(NamedTuple):
    """A network after its inner steps: body and head (n_classes, dimension)."""

    body: Tensors
    head: torch.Tensor


def new_body(dimension: int) -> Tensors:
    """Return the residual network before training: it starts as the identity."""
    import torch

    return {
        "in": torch.randn(dimension, _HIDDEN) / dimension**0.5,
        "bias": torch.zeros(_HIDDEN),
        "out": torch.zeros(_HIDDEN, dimension),
    }


def embed(body: Tensors, patients: Any) -> Any:
    """Return unit rows: patients plus what the hidden layer adds."""
    import torch

    moved = patients + torch.relu(patients @ body["in"] + body["bias"]) @ body["out"]
    return moved / moved.norm(dim=-1, keepdim=True).clamp_min(1e-6)


def start(body: Tensors, support: Any, classes: Any, n_classes: int) -> Adapted:
    """Return the network before its inner steps: the head is the mean of each class, length 1."""
    import torch

    embedded = embed(body, support)
    member = torch.nn.functional.one_hot(classes, n_classes).to(embedded.dtype)
    means = member.T @ embedded
    return Adapted(body, means / means.norm(dim=-1, keepdim=True).clamp_min(1e-6))


def accuracy(state: Adapted, query: Any, truth: Any) -> Any:
    """Return the share of queries that the network names rightly."""
    return ((embed(state.body, query) @ state.head.T).argmax(dim=-1) == truth).float().mean()
