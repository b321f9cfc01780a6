"""Bundles through an S3 server: whole and verified, or not there."""

import pytest

from medassets.serving.bundle import BundleError, latest_bundle, write_bundle
from medassets.serving.bundle_store import fetch_bundle, publish_bundle, published
from medassets.stores.objects import ObjectStore

pytestmark = pytest.mark.integration


def make(folder, text="x"):
    def part(directory):
        (directory / "deep").mkdir()
        (directory / "deep" / "a.json").write_text(text, encoding="utf-8")

    return write_bundle(
        folder, parts={"p": part}, settings_origin="bundled", profile="quick", models=[], data=[], sources=[]
    )


@pytest.fixture
def store(s3):
    return ObjectStore(f"{s3}/bundles")


def test_a_published_bundle_is_fetched_and_served(store, tmp_path):
    made = make(tmp_path / "here")
    assert publish_bundle(made, store)
    assert not publish_bundle(made, store)
    assert published(store) == [made.version]
    got = fetch_bundle(store, tmp_path / "there")
    assert got.version == made.version
    assert latest_bundle(tmp_path / "there").name == made.version
    assert (got.part("p") / "deep" / "a.json").read_text() == "x"
    assert fetch_bundle(store, tmp_path / "there").version == made.version


def test_a_changed_file_does_not_become_a_bundle(store, tmp_path):
    made = make(tmp_path / "here")
    publish_bundle(made, store)
    store.put_bytes(f"{made.version}/p/deep/a.json", b"y")
    with pytest.raises(BundleError, match=r"a\.json has SHA-256"):
        fetch_bundle(store, tmp_path / "there")
    assert list((tmp_path / "there").iterdir()) == []


def test_what_was_uploaded_in_part_is_not_offered(store, tmp_path):
    made = make(tmp_path / "here")
    store.put(f"{made.version}/p/deep/a.json", made.directory / "p" / "deep" / "a.json")
    assert published(store) == []
    with pytest.raises(BundleError, match="holds no bundle"):
        fetch_bundle(store, tmp_path / "there", made.version)


def test_an_older_version_can_be_asked_for(store, tmp_path):
    first = make(tmp_path / "here")
    publish_bundle(first, store)
    publish_bundle(make(tmp_path / "here", "z"), store)
    assert fetch_bundle(store, tmp_path / "there", first.version).version == first.version
