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
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import create_execution_plan
from dagster._core.executor.init import InitExecutorContext
from dagster._core.executor.step_delegating import StepHandlerContext
from dagster._core.instance.ref import InstanceRef
from dagster._core.origin import DEFAULT_DAGSTER_ENTRY_POINT, JobPythonOrigin, RepositoryPythonOrigin
from dagster._grpc.types import ExecuteStepArgs

from medassets.deploying.stack import PROCESSES
from medassets.orchestration.build import build_definitions
from medassets.orchestration.compute import GPU_POOL, SIZES, compute_of, pod_of, pods_of
from medassets.serving.measures import Measures
from medassets.settings import Settings

KUBERNETES = Path(__file__).resolve().parents[2] / "deployment" / "kubernetes"
OVERLAYS = ("local", "eks", "eks-istio", "gke", "aks")
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
        if not thing["apiVersion"].startswith(("external-secrets.io", "networking.istio", "security.istio")):
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
def test_each_weight_of_the_mesh_has_pods_behind_it():
    """A subset of the service's pods, made by one Deployment each, with the image of the champion."""
    (service, rule, routes) = (
        named("eks-istio", kind, "api")["spec"] for kind in ("Service", "DestinationRule", "VirtualService")
    )
    deployments = [o for o in rendered("eks-istio") if o["kind"] == "Deployment"]
    made_by = {}
    for subset in rule["subsets"]:
        wanted = (service["selector"] | subset["labels"]).items()
        made_by[subset["name"]] = [
            o for o in deployments if wanted <= o["spec"]["template"]["metadata"]["labels"].items()
        ]
    weights = {route["destination"]["subset"]: route["weight"] for route in routes["http"][-1]["route"]}
    assert weights.keys() == made_by.keys() and sum(weights.values()) == 100
    (champion,), (challenger,) = made_by["champion"], made_by["challenger"]
    selectors = [o["spec"]["selector"]["matchLabels"] for o in (champion, challenger)]
    assert selectors[0] != selectors[1], "neither Deployment counts the other's pods"
    first, second = (o["spec"]["template"]["spec"]["containers"][0] for o in (champion, challenger))
    assert first["image"] == second["image"] and ".dkr.ecr." in first["image"]
    (source,) = [s["configMapRef"]["name"] for s in second["envFrom"] if s not in first["envFrom"]]
    assert named("eks-istio", "ConfigMap", source)["data"]["MEDASSETS_CHALLENGER__SHARE"] == "1"


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


def a_run(launcher, tags=None) -> dg.DagsterRun:
    code = RepositoryPythonOrigin(
        "python", ModuleCodePointer("medassets.definitions", "defs"), IMAGE, DEFAULT_DAGSTER_ENTRY_POINT
    )
    run = dg.DagsterRun(
        "whole_graph", "0f2a3c4d-0000-4000-8000-000000000000",
        job_code_origin=JobPythonOrigin("whole_graph", code), tags=tags,
    )  # fmt: skip
    return launcher._instance.add_run(run)


def launched(launcher, run: dg.DagsterRun) -> dict:
    launcher._launch_k8s_job_with_args("dagster-run", ["dagster", "api", "execute_run"], run)
    return launcher._api_client.create_namespaced_job_with_retries.call_args.kwargs


def test_a_run_is_a_small_locked_job_with_the_lake(launcher):
    given = launched(launcher, a_run(launcher))
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


@pytest.fixture(scope="module")
def definitions(tmp_path_factory) -> dg.Definitions:
    home = tmp_path_factory.mktemp("home")
    return build_definitions(Settings(home=home, executor="k8s", gpu_pool=True))


def step_job(launcher, definitions, op: str):
    """The job that the installation's executor, under the launcher of ``dagster.yaml``, makes of a step."""
    job, run = definitions.resolve_job_def("whole_graph"), a_run(launcher)
    instance = launcher._instance
    instance._run_launcher = launcher
    (step,) = [step for step in create_execution_plan(job).steps if step.op_name == op]
    config = job.executor_def.apply_config_mapping({"config": {}}).value["config"]
    with mock.patch("kubernetes.config.load_incluster_config"):
        made = job.executor_def.executor_creation_fn(
            InitExecutorContext(InMemoryJob(job), job.executor_def, config, instance)
        )
    handler = made._step_handler
    handler._api_client = mock.Mock()
    asked = ExecuteStepArgs(run.job_code_origin, run.run_id, [step.key], instance_ref=None)
    plan = mock.Mock(for_step=lambda step: mock.Mock(step=step))
    with mock.patch("dagster_k8s.executor.DagsterEvent.step_worker_starting"):
        list(handler.launch_step(StepHandlerContext(instance, plan, [step], asked, run)))
    return handler._api_client.create_namespaced_job_with_retries.call_args.kwargs["body"]


@pytest.mark.parametrize(
    ("key", "compute"),
    [
        ("sources/phenopackets", "small"),
        ("features/rare_split", "medium"),
        ("models/rare_ranker", "large"),
        ("models/rare_siamese", "gpu"),
    ],
)
def test_a_step_has_the_pod_of_the_class_in_its_assets_tag(launcher, definitions, key, compute):
    asset = definitions.resolve_asset_graph().get(dg.AssetKey(key.split("/")))
    assert asset.tags["compute"] == compute
    pod = step_job(launcher, definitions, asset.assets_def.op.name).spec.template.spec
    container = pod.containers[0]
    cpu, _, memory, most_memory = SIZES[compute]
    assert container.resources.requests == {"cpu": cpu, "memory": memory}
    assert container.resources.limits["memory"] == most_memory
    assert container.image == IMAGE and {m.name for m in container.volume_mounts} >= {"lake", "bundles"}
    assert ("nvidia.com/gpu" in container.resources.limits) == (compute == "gpu")
    assert bool(pod.node_selector and pod.node_selector.get(GPU_POOL)) == (compute == "gpu")


def test_a_check_has_the_pod_of_one_that_holds_a_table(launcher, definitions):
    pod = step_job(launcher, definitions, "clinical_rare_cases_checks").spec.template.spec
    assert pod.containers[0].resources.requests["memory"] == SIZES["medium"][2]


def test_an_assets_own_tag_decides_and_a_wrong_one_is_named():
    @dg.asset(key=["sources", "huge"], tags={"compute": "large"})
    def huge(): ...

    assert pods_of([huge], gpu_pool=False) == {"sources__huge": pod_of("large", gpu_pool=False)}
    wrong = huge.map_asset_specs(lambda spec: spec.replace_attributes(tags={"compute": "enormous"}))
    with pytest.raises(ValueError, match="sources/huge: compute=enormous: choose one of small, medium"):
        pods_of([wrong], gpu_pool=False)


def test_a_retraining_which_is_one_process_has_a_large_pod(launcher, definitions):
    run = a_run(launcher, tags=definitions.resolve_job_def("retrain_common").run_tags)
    container = launched(launcher, run)["body"].spec.template.spec.containers[0]
    assert container.resources.requests == {"cpu": SIZES["large"][0], "memory": SIZES["large"][2]}


def test_training_is_large_ingestion_small_networks_on_the_gpu_pool():
    assert compute_of("sources/phenopackets", "sources") == "small"
    assert compute_of("models/rare_ranker", "models") == "large"
    assert compute_of("models/rare_siamese", "models") == "gpu"
    assert pod_of("gpu", gpu_pool=False) == pod_of("large", gpu_pool=False)


def test_every_step_of_every_job_has_a_pod_and_every_asset_a_class(definitions):
    given = definitions.executor.apply_config_mapping({"config": {}})
    pods = given.value["config"]["per_step_k8s_config"]
    steps = {
        step.op_name
        for job in definitions.resolve_all_job_defs()
        for step in create_execution_plan(job).steps
    }
    assert steps and steps <= pods.keys()
    assert {spec.tags["compute"] for spec in definitions.resolve_all_asset_specs()} == set(SIZES)


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
