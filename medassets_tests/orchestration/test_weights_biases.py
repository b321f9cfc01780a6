"""Weights & Biases by setting: an offline run holds what MLflow was told; online needs a key."""

import dagster as dg
import pytest

from medassets.orchestration.io_managers import ModelIOManager
from medassets.orchestration.weights_biases import WandbMirror, mirror_config
from medassets.settings import Settings
from medassets_tests.orchestration.toys import ToyModel
from medassets_tests.waiting import until


@dg.asset(key=["models", "shown"], io_manager_key="model_io_manager")
def shown():
    return ToyModel(0.75)


def test_a_registered_model_is_kept_as_an_offline_run_once(instance, tracking, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    config = mirror_config(Settings(home=tmp_path, wandb_project="medassets-test", _env_file=None))
    resources = {"model_io_manager": ModelIOManager(tracking=tracking, wandb=config)}
    for _ in range(2):  # the same content is registered, and shown, once
        assert dg.materialize([shown], resources=resources, instance=instance).success
    [folder] = (tmp_path / "wandb" / "wandb").glob("offline-run-*")
    [record] = folder.glob("run-*.wandb")
    # W&B's own process writes the file, and may do so after the run has ended.
    until(lambda: b"dagster_run" in record.read_bytes())
    content = record.read_bytes()
    for said in (b"medassets-test", b"shown-1", b"top1", b"depth", b"dagster_run"):
        assert said in content, said


def test_without_a_project_there_is_no_mirror(tmp_path):
    assert mirror_config(Settings(home=tmp_path, _env_file=None)) == {}


def test_online_without_a_key_says_what_to_set(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    mirror = WandbMirror("p", tmp_path, "online")
    with pytest.raises(RuntimeError, match="needs WANDB_API_KEY"):
        mirror.show("m", "1", {}, {}, {})
