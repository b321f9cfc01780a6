"""What a step may ask of a cluster: one map from layers and assets to a class, and from a class to a pod.

What belongs here: classes of work and their pods. What does not: how many run at a time, which the cluster
decides. At home all of this is without effect: steps share the one machine.

Field names are those of Kubernetes' own API objects, as ``dagster-k8s`` takes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import dagster as dg

Compute = Literal["small", "medium", "large", "gpu"]

#: Tag of every asset, by which an operator finds and filters them.
COMPUTE_TAG = "compute"
#: Class of a layer's assets: reading files is small, training is large.
LAYER_COMPUTE: Mapping[str, Compute] = {
    "sources": "small",
    "clinical": "medium",
    "features": "medium",
    "synthetic": "large",
    "models": "large",
    "evaluation": "medium",
    "serving": "small",
}
#: Networks: they learn on processors too, and faster where the cluster has a GPU pool.
GPU_ASSETS = frozenset(
    {
        "features/term_embeddings",
        "models/common_network",
        "models/rare_maml",
        "models/rare_prototypes",
        "models/rare_siamese",
        "models/rare_transfer",
    }
)
#: Requested and most processors, requested and most memory.
SIZES: Mapping[Compute, tuple[str, str, str, str]] = {
    "small": ("250m", "1", "512Mi", "1Gi"),
    "medium": ("1", "2", "2Gi", "4Gi"),
    "large": ("2", "4", "4Gi", "8Gi"),
    "gpu": ("2", "4", "8Gi", "16Gi"),
}
#: Label and taint of the nodes of the GPU pool.
GPU_POOL = "medassets/gpu"


def compute_of(key: str, layer: str) -> Compute:
    """Class of an asset."""
    return "gpu" if key in GPU_ASSETS else LAYER_COMPUTE.get(layer, "medium")


def pod_of(compute: Compute, gpu_pool: bool) -> dict[str, Any]:
    """Pod of a step of a class, as a value of the tag ``dagster-k8s/config``.

    Args:
        compute: the class.
        gpu_pool: whether the cluster has GPU nodes; without them such steps are ``large``.
    """
    if compute == "gpu" and not gpu_pool:
        compute = "large"
    cpu, most_cpu, memory, most_memory = SIZES[compute]
    resources = {
        "requests": {"cpu": cpu, "memory": memory},
        "limits": {"cpu": most_cpu, "memory": most_memory},
    }
    if compute != "gpu":
        return {"container_config": {"resources": resources}}
    resources["limits"]["nvidia.com/gpu"] = "1"
    toleration = {"key": GPU_POOL, "operator": "Exists", "effect": "NoSchedule"}
    return {
        "container_config": {"resources": resources},
        "pod_spec_config": {"node_selector": {GPU_POOL: "true"}, "tolerations": [toleration]},
    }


def pods_of(assets: Iterable[dg.AssetsDefinition], gpu_pool: bool) -> dict[str, Any]:
    """Pod of each step, by the name of its op; what one op makes together gets the largest class of them."""
    order: list[Compute] = ["small", "medium", "large", "gpu"]
    found: dict[str, Any] = {}
    for asset in assets:
        if asset.is_executable:
            classes = [compute_of(key.to_user_string(), key.path[0]) for key in asset.keys]
            found[asset.op.name] = pod_of(max(classes, key=order.index), gpu_pool)
    return found
