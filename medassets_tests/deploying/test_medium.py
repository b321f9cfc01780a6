"""A medium is whole or says what is wrong; its script installs from it alone."""

import subprocess

import pytest

from medassets.deploying.medium import SOURCE, MediumError, verify_medium, write_medium
from medassets.settings import Settings
from medassets_tests.serving.conftest import fake_bundle


def one_wheel(checkout, folder, extras):
    (folder / "x-1-py3-none-any.whl").write_text("wheel")


@pytest.fixture
def medium(tmp_path):
    settings = Settings(home=tmp_path / "home")
    bundle = fake_bundle(settings.bundles_dir)
    return write_medium(settings, tmp_path / "medium", wheels=one_wheel), bundle


def test_it_has_wheels_source_bundle_and_the_keys_that_it_is_trusted_by(medium):
    made, bundle = medium
    assert made.wheels == 1 and made.bundle == bundle.version
    assert all((made.folder / "source" / name).exists() for name in SOURCE)
    home = made.folder / "home"
    assert (home / "bundles" / "latest").read_text().strip() == bundle.version
    assert (home / "bundles" / bundle.version / "manifest.json").is_file()
    assert [p.name for p in (home / "secrets").iterdir()] == ["bundle-keys"], "no private key leaves"
    assert verify_medium(made.folder) > len(SOURCE)


def test_changed_and_missing_files_are_all_named(medium):
    folder = medium[0].folder
    (folder / "wheels" / "x-1-py3-none-any.whl").write_text("other")
    (folder / "source" / "LICENSE").unlink()
    with pytest.raises(MediumError) as caught:
        verify_medium(folder)
    assert "x-1-py3-none-any.whl was changed" in str(caught.value)
    assert "source/LICENSE is missing" in str(caught.value)


def test_the_script_refuses_a_changed_medium_before_it_installs(medium, tmp_path):
    folder = medium[0].folder
    subprocess.run(["sh", "-n", str(folder / "install.sh")], check=True)
    (folder / "wheels" / "x-1-py3-none-any.whl").write_text("other")
    done = subprocess.run(
        ["sh", str(folder / "install.sh"), str(tmp_path / "target")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0 and "x-1-py3-none-any.whl" in done.stdout + done.stderr
    assert not (tmp_path / "target").exists()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "photo.jpg").write_text("")
    with pytest.raises(MediumError, match="not empty"):
        write_medium(Settings(home=tmp_path / "home"), tmp_path, wheels=one_wheel)


def test_without_a_bundle_it_has_none(tmp_path):
    made = write_medium(Settings(home=tmp_path / "home"), tmp_path / "medium", wheels=one_wheel)
    assert made.bundle is None and not (made.folder / "home").exists()


def test_what_is_no_medium_is_said(tmp_path):
    with pytest.raises(MediumError, match="is no medium"):
        verify_medium(tmp_path)
