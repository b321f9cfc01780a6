"""Addresses, and files in an S3 server."""

import pytest

from medassets.stores.addresses import delta_options, is_remote, join
from medassets.stores.objects import ObjectError, ObjectStore


def test_addresses_are_joined_by_their_kind(tmp_path):
    assert join(tmp_path, "clinical/x") == str(tmp_path / "clinical" / "x")
    assert join("s3://b/lake/", "clinical/x") == "s3://b/lake/clinical/x"
    assert not is_remote(tmp_path) and delta_options(tmp_path) is None
    assert delta_options("s3://b") == {"aws_conditional_put": "etag"}


@pytest.mark.parametrize("url", ["http://b/x", "s3://", "/tmp", "s3://user@b", "s3://b?region=x"])
def test_what_is_no_s3_address_is_refused(url):
    with pytest.raises(ObjectError, match="s3://bucket/prefix"):
        ObjectStore(url)


@pytest.mark.integration
def test_files_go_and_come(s3, tmp_path):
    store = ObjectStore(f"{s3}/some/prefix")
    assert store.names() == []
    (tmp_path / "a").write_bytes(b"x" * 10_000_000)
    store.put("folder/a", tmp_path / "a")
    store.put_bytes("b", b"short")
    assert store.names() == ["b", "folder/a"]
    assert store.names("folder") == ["folder/a"]
    store.get("folder/a", tmp_path / "back" / "a")
    assert (tmp_path / "back" / "a").read_bytes() == (tmp_path / "a").read_bytes()
    assert store.get_bytes("b") == b"short"
    with pytest.raises(ObjectError, match="none"):
        store.get_bytes("none")
