"""What a step may ask of a cluster: one map from layers and assets to a class, and from a class to a pod.

What belongs here: classes of work and their pods. What does not: how many run at a time, which the cluster
decides. At home all of this is without effect: steps share the one machine.

The class is the asset's tag ``compute``: the layer's, unless the asset names its own. Dagster's executor of
Kubernetes jobs reads no tags of assets, only those of ops, so it is given the pod of each op by name; the
launcher reads ``dagster-k8s/config`` among the tags of a run. Field names are those of Kubernetes' own API
objects, as ``dagster-k8s`` takes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast

import dagster as dg

Compute = Literal["small", "medium", "large", "gpu"]

#: Tag of every asset with its class, by which an operator finds and filters them.
COMPUTE_TAG = "compute"
#: Tag of a run with the pod of its process (``dagster_k8s.job.USER_DEFINED_K8S_CONFIG_KEY``).
POD_TAG = "dagster-k8s/config"
#: Class of a layer's assets: reading files is small, training is large; of any other layer medium.
LAYER_COMPUTE: Mapping[str, Compute] = {
    "sources": "small",
    "clinical": "medium",
    "features": "medium",
    "synthetic": "large",
    "models": "large",
    "evaluation": "medium",
    "serving": "small",
    "retraining": "large",
}
#: Class of checks, which hold the table that they judge.
CHECKS_COMPUTE: Compute = "medium"
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


def run_tags(compute: Compute) -> dict[str, Any]:
    """Tags of a job whose steps share their run's process: the run's pod is of this class."""
    return {POD_TAG: pod_of(compute, gpu_pool=False)}


def pods_of(assets: Iterable[dg.AssetsDefinition], gpu_pool: bool) -> dict[str, Any]:
    """Pod of each step, by the name of its op; what one op makes together gets the largest class of them.

    Args:
        assets: assets with their tags, and asset checks.
        gpu_pool: whether the cluster has GPU nodes.

    Raises:
        ValueError: a tag names no class.
    """
    order = list(SIZES)
    found: dict[str, Any] = {}
    for asset in assets:
        if asset.is_executable:
            classes = [_class_of(spec) for spec in asset.specs] or [CHECKS_COMPUTE]
            found[asset.op.name] = pod_of(max(classes, key=order.index), gpu_pool)
    return found


def _class_of(spec: dg.AssetSpec) -> Compute:
    tag = spec.tags[COMPUTE_TAG]
    if tag not in SIZES:
        name = spec.key.to_user_string()
        raise ValueError(f"{name}: {COMPUTE_TAG}={tag}: choose one of {', '.join(SIZES)}")
    return cast(Compute, tag)
