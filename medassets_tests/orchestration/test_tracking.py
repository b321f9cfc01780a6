"""MLflow runs end with the asset, whatever happened, and models come back as what they were."""

import dagster as dg
import pytest

from medassets.orchestration.tracking import model_class
from medassets_tests.orchestration.toys import ToyModel


def _statuses(tracking) -> set[str]:
    client = tracking.client()
    experiment = client.get_experiment_by_name(tracking.experiment)
    return {run.info.status for run in client.search_runs([experiment.experiment_id])}


class BrokenModel(ToyModel):
    """Fails while it is logged, when its MLflow run is open."""

    @property
    def metadata(self):
        if self.saved:
            raise RuntimeError("no description")
        return {}

    saved = False

    def save(self, directory):
        super().save(directory)
        self.saved = True


def test_a_failing_asset_leaves_no_run_open(resources, instance, tracking):
    @dg.asset(key=["models", "broken_model"], io_manager_key="model_io_manager")
    def broken_model():
        return BrokenModel(0.1)

    result = dg.materialize([broken_model], resources=resources, instance=instance, raise_on_error=False)
    assert not result.success
    import mlflow

    assert mlflow.active_run() is None
    assert "RUNNING" not in _statuses(tracking)
    client = tracking.client()
    experiment = client.get_experiment_by_name(tracking.experiment).experiment_id
    runs = client.search_runs([experiment], f"tags.dagster_run_id = '{result.run_id}'")
    assert [run.info.status for run in runs] == ["FAILED"]


def test_models_of_one_dagster_run_share_one_parent(resources, instance, tracking):
    def model(name):
        @dg.asset(key=["models", name], io_manager_key="model_io_manager")
        def made():
            return ToyModel(len(name) / 100)

        return made

    result = dg.materialize([model("alpha"), model("beta")], resources=resources, instance=instance)
    client = tracking.client()
    experiment = client.get_experiment_by_name(tracking.experiment).experiment_id
    (parent,) = client.search_runs([experiment], f"tags.dagster_run_id = '{result.run_id}'")
    children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert {run.info.run_name for run in children} == {"models/alpha", "models/beta"}
    assert {run.info.status for run in [parent, *children]} == {"FINISHED"}


def test_mlflow_itself_can_load_a_model(resources, instance, tracking):
    @dg.asset(key=["models", "portable"], io_manager_key="model_io_manager")
    def portable():
        return ToyModel(0.25)

    dg.materialize([portable], resources=resources, instance=instance)
    tracking.client()
    import mlflow

    loaded = mlflow.pyfunc.load_model("models:/portable@candidate")
    assert loaded.predict([1.0, 2.0]) == [0.25, 0.5]


def test_only_classes_of_this_package_are_loaded():
    assert model_class("medassets_tests.orchestration.toys:ToyModel") is ToyModel
    with pytest.raises(ValueError, match="no class of medassets"):
        model_class("os:system")
