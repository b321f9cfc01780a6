"""MLflow behind the graph: one tracked run a model, one registered model an asset, nothing left running.

What belongs here: how a trained model, its figures and the data versions it saw reach the tracking store and
the registry, and how a version comes back. What does not: which value an asset has (``io_managers``).
``dagster_mlflow.MlFlow`` ties the MLflow run to the Dagster run; its own hook needs every op of a job to
carry it, so ``tracked_run`` ends what it started itself, with ``FAILED`` where the body raised. MLflow takes
seconds to import and is imported where it is used.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol, runtime_checkable

import dagster as dg
from dagster import DagsterLogManager, DagsterRun

from medassets.orchestration.content import folder_hash
from medassets.settings import Settings, switch_telemetry_off

#: Alias of the newest version of a model, which downstream assets read unless they name another.
NEWEST = "candidate"
#: Tag of a model's run with the Dagster run's id; dagster-mlflow finds the enclosing run by
#: ``dagster_run_id``.
RUN_TAG = "medassets.dagster_run"
#: MLflow's limit on the length of a parameter's value.
PARAMETER_LENGTH = 6000


@runtime_checkable
class SavedModel(Protocol):
    """What the graph asks of a model: files in a folder, and a description of itself."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Give ``params`` (what it was trained with) and ``metrics`` (what it reached), among others."""

    def save(self, directory: Path) -> None:
        """Write the model's files; the same model writes the same bytes."""


@dataclass(frozen=True)
class ModelVersion:
    """One version of a registered model and where it came from."""

    name: str
    version: str
    run_id: str
    content_hash: str
    registered: bool


class MlflowTracking(dg.ConfigurableResource):
    """The tracking store and registry of one installation.

    Attributes:
        tracking_uri: MLflow's store, by default a SQLite file under the installation's home.
        artifacts: folder (or URI) of artifacts.
        experiment: name of the experiment that holds the graph's runs.
    """

    tracking_uri: str
    artifacts: str
    experiment: str = "medassets"

    @classmethod
    def from_settings(cls, settings: Settings) -> MlflowTracking:
        """Point at the store that the settings name."""
        return cls(tracking_uri=settings.mlflow_uri, artifacts=str(settings.mlflow_artifacts))

    def started(self) -> bool:
        """Say whether the store may hold a model; asking a store that was never made would make it."""
        path = self.tracking_uri.removeprefix("sqlite:///")
        return path == self.tracking_uri or Path(path).exists()

    def client(self) -> Any:
        """Give an ``MlflowClient`` of the store, made if it is not there yet."""
        switch_telemetry_off()
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
        import mlflow

        if self.tracking_uri.startswith("sqlite:///"):
            Path(self.tracking_uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        mlflow.set_tracking_uri(self.tracking_uri)
        mlflow.set_registry_uri(self.tracking_uri)
        client = mlflow.MlflowClient()
        if client.get_experiment_by_name(self.experiment) is None:
            location = self.artifacts if "://" in self.artifacts else Path(self.artifacts).absolute().as_uri()
            client.create_experiment(self.experiment, artifact_location=location)
        return client

    @contextmanager
    def tracked_run(self, run: DagsterRun, log: DagsterLogManager, name: str) -> Iterator[Any]:
        """Open a run for one asset, nested in the MLflow run of the Dagster run; both are ended on the way
        out.

        Args:
            run: the Dagster run, whose id becomes a tag.
            log: where dagster-mlflow reports what it starts.
            name: name of the nested run: the asset key.

        Yields:
            The nested ``mlflow.ActiveRun``.
        """
        self.client()
        import mlflow

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the integration is marked beta at import and at each use
            from dagster_mlflow.resources import MlFlow

        context = SimpleNamespace(
            log=log,
            dagster_run=run,
            run_id=run.run_id,
            resource_config={"experiment_name": self.experiment, "mlflow_tracking_uri": self.tracking_uri},
        )
        status = "FAILED"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                MlFlow(context)
            with mlflow.start_run(
                run_name=name, nested=True, tags={"asset": name, RUN_TAG: run.run_id}
            ) as active:
                yield active
            mlflow.set_tag("dagster_job", run.job_name)
            status = "FINISHED"
        finally:
            while mlflow.active_run() is not None:
                mlflow.end_run(status)

    def keep(
        self,
        model: SavedModel,
        directory: Path,
        name: str,
        *,
        run: DagsterRun,
        log: DagsterLogManager,
        asset: str,
        inputs: Mapping[str, str],
    ) -> ModelVersion:
        """Track and register a saved model, unless the newest version has the same content already.

        Args:
            model: what was trained; its ``metadata`` gives parameters and metrics.
            directory: where it was saved.
            name: name in the registry.
            run: the Dagster run that trained it.
            log: where dagster-mlflow reports.
            asset: the asset key, which names the tracked run.
            inputs: data version of each input, by asset key.

        Returns:
            The version that holds this content; its alias is ``candidate``.
        """
        newest = self.newest(name)
        if newest is not None and newest.content_hash == folder_hash(directory):
            return newest
        with self.tracked_run(run, log, asset):
            return self.register(model, directory, name, inputs, {RUN_TAG: run.run_id, "asset": asset})

    def register(
        self,
        model: SavedModel,
        directory: Path,
        name: str,
        inputs: Mapping[str, str],
        tags: Mapping[str, str],
    ) -> ModelVersion:
        """Log a saved model into the active run, register it and move the alias ``candidate`` to it."""
        import mlflow

        client, content = mlflow.MlflowClient(), folder_hash(directory)
        class_path = f"{type(model).__module__}:{type(model).__qualname__}"
        described = dict(model.metadata)
        mlflow.log_params(_as_parameters(described.get("params", {})))
        mlflow.log_metrics(_as_metrics(described.get("metrics", {})))
        mlflow.set_tags({**{f"input/{key}": value for key, value in inputs.items()}, **tags})
        logged = mlflow.pyfunc.log_model(
            name="model",
            loader_module="medassets.orchestration.pyfunc",
            data_path=str(directory),
            pip_requirements=[],
            metadata={"class": class_path, "content_hash": content},
        )
        version = mlflow.register_model(
            logged.model_uri, name, tags={**tags, "content_hash": content, "class": class_path}
        )
        client.set_registered_model_alias(name, NEWEST, version.version)
        active = mlflow.active_run()
        return ModelVersion(name, str(version.version), active.info.run_id if active else "", content, True)

    def newest(self, name: str, alias: str = NEWEST) -> ModelVersion | None:
        """Give the version that carries an alias, or None where there is none."""
        client = self.client()
        from mlflow.exceptions import MlflowException

        try:
            found = client.get_model_version_by_alias(name, alias)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise
        return ModelVersion(name, str(found.version), found.run_id or "", found.tags["content_hash"], False)

    def load(self, name: str, version: str | None = None, alias: str = NEWEST) -> Any:
        """Load a registered model as the object that was saved.

        Raises:
            LookupError: the registry has no such version or alias.
        """
        client = self.client()
        import mlflow
        from mlflow.exceptions import MlflowException

        try:
            found = (
                client.get_model_version(name, version)
                if version
                else client.get_model_version_by_alias(name, alias)
            )
        except MlflowException as error:
            raise LookupError(
                f"no model {name} with {version or 'alias ' + alias}: train it first"
            ) from error
        folder = mlflow.artifacts.download_artifacts(artifact_uri=f"models:/{name}/{found.version}")
        model_file = mlflow.models.Model.load(folder)
        data = Path(folder) / model_file.flavors["python_function"]["data"]
        return model_class(found.tags["class"]).load(data)


def model_class(path: str) -> Any:
    """Resolve ``module:Class`` of this package, and nothing else.

    Raises:
        ValueError: the class lies outside medassets.
    """
    module, _, name = path.partition(":")
    if module.split(".")[0] not in ("medassets", "medassets_tests"):
        raise ValueError(f"the registry names {path}, which is no class of medassets")
    value: Any = import_module(module)
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _as_parameters(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(_as_parameters(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = str(value)[:PARAMETER_LENGTH]
    return flat


def _as_metrics(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    flat: dict[str, float] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(_as_metrics(value, f"{prefix}{key}."))
        elif isinstance(value, int | float):
            flat[f"{prefix}{key}"] = float(value)
    return flat
