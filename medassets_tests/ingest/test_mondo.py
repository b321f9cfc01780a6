from collections.abc import Callable
from pathlib import Path

import pytest

from medassets.ingest.mondo import read_mondo
from medassets.ingest.quarantine import IngestError
from medassets_tests.fixtures_rare import SSSOM, write_zip


def test_zip_and_folder_and_file_read_alike(tmp_path: Path) -> None:
    folder = tmp_path / "mondo"
    folder.mkdir()
    (folder / "a.sssom.tsv").write_text(SSSOM)
    (folder / "README.md").write_text("not a mapping")
    archive = write_zip(tmp_path / "mondo.zip", {"a.sssom.tsv": SSSOM.encode()})
    reads = [read_mondo(path) for path in (folder, archive, folder / "a.sssom.tsv")]
    assert all(read.mappings.equals(reads[0].mappings) for read in reads)
    assert reads[0].version == "2026-08-04"
    assert reads[0].crosswalk().canonical("ORPHA:91") == "OMIM:900001"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_bytes(b"PK\x03\x04 cut"), "the zip is corrupt"),
        (lambda path: write_zip(path, {"README.md": b"x"}), "holds no mapping table"),
    ],
)
def test_unusable_archives_are_named(tmp_path: Path, make: Callable[[Path], object], message: str) -> None:
    path = tmp_path / "mondo.zip"
    make(path)
    with pytest.raises(IngestError, match=rf"mondo\.zip: .*{message}|mondo\.zip: {message}"):
        read_mondo(path)


def test_release(shared_data: Path) -> None:
    read = read_mondo(shared_data / "mondo" / "mondo_exact_matches.zip")
    assert (read.version, read.rejected) == ("2026-08-04", [])
    crosswalk = read.crosswalk()
    assert len(crosswalk.conflicts) == 8
    assert crosswalk.equivalents("ORPHA:15") == ("OMIM:100800", "ORPHA:15", "MONDO:0007037")
