"""The bento: what it carries, what it leaves behind, and that it is not ready without a sound bundle."""

import os
import subprocess
import sys

import httpx
import pytest

from medassets.commands.server import environment, free_port, serve_command, stop_process
from medassets.serving.access import KeyRing
from medassets.serving.bento import build_bento
from medassets.serving.bundle import BundleError
from medassets.settings import Settings
from medassets_tests.serving.conftest import fake_bundle
from medassets_tests.waiting import LONGEST, listens, until

pytestmark = pytest.mark.integration

TRAINING = (
    "dagster",
    "mlflow",
    "torch",
    "sklearn",
    "xgboost",
    "pandas",
    "polars",
    "deltalake",
    "shap",
    "sdv",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def built(home):
    bundle = fake_bundle(home / "bundles", parts={"cards": lambda d: (d / "x.json").write_text("{}")})
    return bundle, build_bento(bundle.directory, home / "bentoml")


def test_it_carries_the_bundle_and_serving_code_only(built):
    bundle, bento = built
    assert bento.tag.startswith(f"diagnosis:{bundle.version}-") and bento.size < 5_000_000
    source = bento.path / "src"
    assert (source / "bundle" / "manifest.json").is_file() and (source / "service.py").is_file()
    packages = {path.name for path in (source / "medassets").iterdir()}
    assert "serving" in packages
    assert not packages & {"learners", "orchestration", "monitoring", "commands", "cli.py", "definitions.py"}


def test_the_same_bundle_and_code_are_not_built_again(built, home):
    bundle, bento = built
    before = (bento.path / "bento.yaml").stat().st_mtime_ns
    assert build_bento(bundle.directory, home / "bentoml") == bento
    assert (bento.path / "bento.yaml").stat().st_mtime_ns == before


def test_the_service_imports_no_training_library(built):
    _, bento = built
    code = (
        "import sys, service; print('medassets.serving.http' in sys.modules)\n"
        f"import medassets.serving.worker; print([m for m in {TRAINING!r} if m in sys.modules])"
    )
    source = str(bento.path / "src")
    environment = {**os.environ, "PYTHONPATH": source}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=source, env=environment, capture_output=True, text=True, check=True
    )
    # The process that supervises imports nothing of the interface either.
    assert result.stdout.split() == ["False", "[]"]


def test_requirements_name_no_training_library(built):
    text = (built[1].path / "env" / "python" / "requirements.txt").read_text()
    assert "bentoml==" in text
    assert not [name for name in ("torch", "mlflow", "dagster", "scikit-learn", "xgboost") if name in text]


def test_a_damaged_bundle_builds_nothing(home):
    bundle = fake_bundle(home / "other")
    (bundle.directory / "rare" / "x.json").write_text("?")
    with pytest.raises(BundleError, match=r"rare/x\.json"):
        build_bento(bundle.directory, home / "bentoml")


def test_it_is_up_but_not_ready_without_a_model(built, home):
    _, bento = built
    port = free_port()
    settings = Settings(home=home)
    process = subprocess.Popen(
        serve_command(str(bento.path), "127.0.0.1", port), env=dict(environment(settings)),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        until(lambda: process.poll() is not None or listens(port))
        assert httpx.get(f"{address}/livez", timeout=LONGEST).status_code == 200
        assert httpx.get(f"{address}/readyz").status_code == 503
        question = {"url": f"{address}/diagnose", "json": {"observed": ["HP:0001250"]}}
        assert httpx.post(**question).status_code == 401
        with KeyRing(settings.api_keys).lent("test", "service") as key:
            refused = httpx.post(**question, headers={"Authorization": f"Bearer {key}"})
        assert refused.status_code == 503 and "neither a rare nor a common model" in refused.json()["detail"]
        assert httpx.get(f"{address}/openapi.json").json()["info"]["title"] == "medassets diagnosis"
    finally:
        stop_process(process)
