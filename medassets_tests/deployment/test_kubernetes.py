"""The cluster's manifests, rendered and valid; the jobs that the launcher makes of ``dagster.yaml``."""

import shutil
import subprocess
from functools import cache
from pathlib import Path
from unittest import mock

import dagster as dg
import kubernetes_validate
import pytest
import yaml
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.instance.ref import InstanceRef
from dagster._core.origin import DEFAULT_DAGSTER_ENTRY_POINT, JobPythonOrigin, RepositoryPythonOrigin
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import UserDefinedDagsterK8sConfig, construct_dagster_k8s_job

from medassets.deploying.stack import PROCESSES
from medassets.orchestration.build import build_definitions
from medassets.orchestration.compute import GPU_POOL, SIZES, compute_of, pod_of, pods_of
from medassets.serving.measures import Measures
from medassets.settings import Settings

KUBERNETES = Path(__file__).resolve().parents[2] / "deployment" / "kubernetes"
OVERLAYS = ("local", "eks", "gke", "aks")
IMAGE = "registry.example/medassets-training:1"

needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


@cache
def rendered(overlay: str) -> list[dict]:
    done = subprocess.run(
        ["kubectl", "kustomize", str(KUBERNETES / "overlays" / overlay)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return list(yaml.safe_load_all(done.stdout))


def named(overlay: str, kind: str, name: str) -> dict:
    return next(o for o in rendered(overlay) if (o["kind"], o["metadata"]["name"]) == (kind, name))


def pods(overlay: str) -> dict[str, dict]:
    """Pod of each workload, by its name."""
    found = {}
    for thing in rendered(overlay):
        spec = thing.get("spec", {})
        template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
        if template:
            found[thing["metadata"]["name"]] = template
    return found


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_is_what_kubernetes_knows(overlay):
    for thing in rendered(overlay):
        if "external-secrets" not in thing["apiVersion"]:
            kubernetes_validate.validate(thing, "1.34", strict=True)


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_container_is_locked_limited_and_watched(overlay):
    for name, template in pods(overlay).items():
        assert template["spec"]["securityContext"]["runAsNonRoot"] is True, name
        for container in template["spec"]["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
            assert {"requests", "limits"} <= set(container["resources"]), name
            if template["spec"].get("restartPolicy") != "Never":
                assert "livenessProbe" in container and "readinessProbe" in container, name


@needs_kubectl
def test_limits_are_those_of_the_table_of_processes():
    table = {process.name: process for process in PROCESSES}
    for pod, process in (("api", "api"), ("page", "page"), ("webserver", "webserver"), ("daemon", "daemon"),
                         ("code-location", "code-server")):  # fmt: skip
        container = pods("eks")[pod]["spec"]["containers"][0]
        assert container["resources"]["limits"]["memory"] == f"{table[process].memory_mb}Mi", pod
        if table[process].port:
            assert container["ports"][0]["containerPort"] == table[process].port


@needs_kubectl
def test_nothing_reaches_the_lake_but_runs():
    for name, template in pods("local").items():
        claims = [v["persistentVolumeClaim"]["claimName"] for v in template["spec"]["volumes"]
                  if "persistentVolumeClaim" in v]  # fmt: skip
        assert ("lake" in claims) == (name == "backup-lake"), name
    policy = named("local", "NetworkPolicy", "lake")["spec"]
    (rule,) = policy["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": {"medassets/role": "run"}}}]
    assert named("local", "NetworkPolicy", "nothing")["spec"]["podSelector"] == {}
    lake = pods("local")["lake"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= lake.items()


@needs_kubectl
def test_the_api_scales_on_its_own_figures_and_survives_a_node():
    scaler = named("eks", "HorizontalPodAutoscaler", "api")["spec"]
    assert scaler["metrics"][0]["pods"]["metric"]["name"].startswith("medassets_")
    assert scaler["minReplicas"] >= 2
    affinity = pods("eks")["api"]["spec"]["affinity"]["podAntiAffinity"]
    assert affinity["requiredDuringSchedulingIgnoredDuringExecution"]
    assert named("eks", "PodDisruptionBudget", "api")["spec"]["minAvailable"] == 1


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_secrets_come_from_outside_and_are_all_declared(overlay):
    assert not [o for o in rendered(overlay) if o["kind"] == "Secret"]
    declared = {d["secretKey"] for d in named(overlay, "ExternalSecret", "medassets")["spec"]["data"]}
    used = {
        entry["valueFrom"]["secretKeyRef"]["key"]
        for template in pods(overlay).values()
        for container in template["spec"]["containers"]
        for entry in container.get("env", [])
        if "secretKeyRef" in entry.get("valueFrom", {})
    }
    assert used <= declared


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_runs_use_the_image_of_their_code(overlay):
    container = pods(overlay)["code-location"]["spec"]["containers"][0]
    variables = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert variables["DAGSTER_CURRENT_IMAGE"] == container["image"]


@pytest.fixture
def launcher(tmp_path, monkeypatch):
    """The launcher of the committed ``dagster.yaml``; its client keeps what it is given."""
    shutil.copy(KUBERNETES / "base" / "dagster.yaml", tmp_path / "dagster.yaml")
    monkeypatch.setenv("MEDASSETS_DAGSTER_DATABASE", "postgresql://nobody@127.0.0.1:1/none")
    with mock.patch("kubernetes.config.load_incluster_config"):
        made = InstanceRef.from_dir(str(tmp_path)).run_launcher
    made._api_client = mock.Mock()
    with dg.DagsterInstance.ephemeral() as instance:
        made.register_instance(instance)
        yield made


def a_run(launcher) -> dg.DagsterRun:
    code = RepositoryPythonOrigin(
        "python", ModuleCodePointer("medassets.definitions", "defs"), IMAGE, DEFAULT_DAGSTER_ENTRY_POINT
    )
    run = dg.DagsterRun(
        "whole_graph", "0f2a3c4d-0000-4000-8000-000000000000",
        job_code_origin=JobPythonOrigin("whole_graph", code),
    )  # fmt: skip
    return launcher._instance.add_run(run)


def launched(launcher) -> dict:
    launcher._launch_k8s_job_with_args("dagster-run", ["dagster", "api", "execute_run"], a_run(launcher))
    return launcher._api_client.create_namespaced_job_with_retries.call_args.kwargs


def test_a_run_is_a_small_locked_job_with_the_lake(launcher):
    given = launched(launcher)
    pod = given["body"].spec.template
    container = pod.spec.containers[0]
    assert given["namespace"] == "medassets" and container.image == IMAGE
    assert pod.spec.service_account_name == "medassets-run"
    assert pod.metadata.labels["medassets/role"] == "run", "the network policy lets it to the lake"
    assert container.resources.requests == {"cpu": "250m", "memory": "512Mi"}
    assert container.security_context.read_only_root_filesystem is True
    mounts = {mount.name: mount.mount_path for mount in container.volume_mounts}
    assert mounts["lake"] == "/var/lib/medassets" and mounts["bundles"] == "/var/lib/medassets/bundles"
    variables = {variable.name: variable for variable in container.env}
    assert variables["MEDASSETS_DAGSTER_DATABASE"].value_from.secret_key_ref.name == "medassets"
    assert [s.config_map_ref.name for s in container.env_from if s.config_map_ref] == ["medassets-settings"]


@pytest.mark.parametrize("compute", SIZES)
def test_a_step_has_the_pod_of_its_class(launcher, compute):
    context = K8sContainerContext.create_for_run(a_run(launcher), launcher, include_run_tags=False)
    own = K8sContainerContext(run_k8s_config=UserDefinedDagsterK8sConfig.from_dict(pod_of(compute, True)))
    context = context.merge(own)
    job = construct_dagster_k8s_job(
        context.get_k8s_job_config(IMAGE, launcher), ["dagster"], "dagster-step",
        user_defined_k8s_config=context.run_k8s_config,
    )  # fmt: skip
    pod, container = job.spec.template.spec, job.spec.template.spec.containers[0]
    cpu, _, memory, most_memory = SIZES[compute]
    assert container.resources.requests == {"cpu": cpu, "memory": memory}
    assert container.resources.limits["memory"] == most_memory
    assert container.image == IMAGE and {m.name for m in container.volume_mounts} >= {"lake", "bundles"}
    assert ("nvidia.com/gpu" in container.resources.limits) == (compute == "gpu")
    assert bool(pod.node_selector and pod.node_selector.get(GPU_POOL)) == (compute == "gpu")


def test_training_is_large_ingestion_small_networks_on_the_gpu_pool():
    assert compute_of("sources/phenopackets", "sources") == "small"
    assert compute_of("models/rare_ranker", "models") == "large"
    assert compute_of("models/rare_siamese", "models") == "gpu"
    assert pod_of("gpu", gpu_pool=False) == pod_of("large", gpu_pool=False)


def test_every_step_of_the_graph_has_a_pod_and_every_asset_a_class(tmp_path):
    definitions = build_definitions(Settings(home=tmp_path, executor="k8s"))
    graph = definitions.resolve_asset_graph()
    assets = [node.assets_def for node in graph.asset_nodes if node.is_executable]
    expected = pods_of(assets, gpu_pool=False)
    given = definitions.executor.apply_config_mapping({"config": {}})
    assert given.success and given.value["config"]["per_step_k8s_config"].keys() == expected.keys()
    assert {spec.tags["compute"] for spec in definitions.resolve_all_asset_specs()} == {
        "small", "medium", "large", "gpu",
    }  # fmt: skip


def test_the_settings_of_the_cluster_are_settings():
    base = yaml.safe_load((KUBERNETES / "base" / "kustomization.yaml").read_text())
    (literals,) = [g["literals"] for g in base["configMapGenerator"] if g["name"] == "medassets-settings"]
    for literal in literals:
        name = literal.partition("=")[0]
        if name.startswith("MEDASSETS_"):
            assert name.removeprefix("MEDASSETS_").lower().split("__")[0] in Settings.model_fields


def test_the_charts_values_say_what_the_base_says():
    values = yaml.safe_load((KUBERNETES / "helm" / "dagster-values.yaml").read_text())
    base = yaml.safe_load((KUBERNETES / "base" / "dagster.yaml").read_text())
    launcher = values["runLauncher"]["config"]["k8sRunLauncher"]
    own = base["run_launcher"]["config"]
    assert launcher["resources"] == own["run_k8s_config"]["container_config"]["resources"]
    assert launcher["labels"] == own["labels"]
    coordinator = values["dagsterDaemon"]["runCoordinator"]["config"]["queuedRunCoordinator"]
    assert coordinator["maxConcurrentRuns"] == base["concurrency"]["runs"]["max_concurrent_runs"]


def test_the_figure_that_the_api_scales_on_is_made_of_one_that_it_has():
    values = yaml.safe_load((KUBERNETES / "helm" / "prometheus-adapter-values.yaml").read_text())
    (rule,) = values["rules"]["custom"]
    api = list(yaml.safe_load_all((KUBERNETES / "base" / "api.yaml").read_text()))
    (scaler,) = [thing for thing in api if thing["kind"] == "HorizontalPodAutoscaler"]
    assert rule["name"]["as"] == scaler["spec"]["metrics"][0]["pods"]["metric"]["name"]
    series = rule["seriesQuery"].split("{")[0]
    measures = Measures()
    measures.seen("/v1/diagnose", "200", 0.1)
    assert f"\n{series}{{" in measures.text().decode()
