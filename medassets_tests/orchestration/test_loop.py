"""The loop, closed: a FHIR file and a confirmed case travel by sensors alone into the served bundle.

The same by hand, with ``make run`` done once: ``make dev``, then drop a bundle into ``var/inbox/fhir`` and
send a confirmation to ``/v1/feedback``; the runs appear in the UI with their reasons, and the next answer
names both.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import dagster as dg
import httpx
import pytest

from medassets.features.cases import CaseSet
from medassets.learners.rare.listwise import ListwiseConfig
from medassets.learners.rare.ranker import RankerConfig, RareRanker
from medassets.orchestration.build import MODULES, resources_for
from medassets.serving.answering import open_store
from medassets.serving.bundle import Bundle, latest_bundle, read_manifest, write_bundle
from medassets.serving.http import create_app
from medassets.serving.manifest import DataEntry, ModelEntry
from medassets.serving.signing import open_signer
from medassets.serving.swap import DeskKeeper
from medassets_tests.fixtures_ranker import made_cases, made_knowledge, made_ontology, typical_findings
from medassets_tests.ingest.fixtures_fhir import bundle, condition, consent, patient
from medassets_tests.orchestration.test_ehr import Site
from medassets_tests.waiting import serving, until

HPO, OMIM = "http://human-phenotype-ontology.org", "https://omim.org"
#: Diseases that the first bundle knows from annotations only.
CONFIRMED, RECORDED = "OMIM:900014", "OMIM:900013"
SENSORS = ("fhir_inbox_files", "new_feedback", "retraining", "new_champion")


def small_ranker() -> tuple[RareRanker, CaseSet]:
    """A ranker that is learned in seconds, and the cases that it knows."""
    ontology = made_ontology()
    cases = made_cases(ontology)
    config = RankerConfig(
        "quick", ("clean",), 2, 1, ListwiseConfig(hidden=8, epochs=3, batch=8, negatives=10)
    )
    return RareRanker(config).fit(made_knowledge(ontology, cases), cases), cases


def first_bundle(site: Site) -> Bundle:
    """A small ranker's bundle, as the graph makes it."""
    ranker, cases = small_ranker()
    return write_bundle(
        site.settings.bundles_dir,
        parts={"rare": ranker.export_bundle},
        settings_origin="folder",
        profile="quick",
        models=[
            ModelEntry(
                name="rare_ranker", registry_version="1", dagster_run_id="first",
                trained_on=["clinical/rare_cases"], training_origin=["published_case"],
            )
        ],
        data=[DataEntry(asset="clinical/rare_cases", delta_version=0, rows=len(cases))],
        sources=[],
        sign=open_signer(site.settings).sign,
    )  # fmt: skip


class LoopSite(Site):
    """An installation whose sensors are evaluated in turn, as the daemon does it."""

    def __init__(self, home) -> None:
        super().__init__(home, MODULES, retraining={"trial_labels": 3})
        self.cursors: dict[str, str | None] = {}
        self.started: set[tuple[str, str | None]] = set()
        self.runs: list[tuple[str, dict[str, str]]] = []
        self.skips: dict[str, str] = {}

    def tick(self, names: tuple[str, ...] = SENSORS) -> int:
        """Evaluate each sensor once and run what it asks for; the number of runs."""
        before = len(self.runs)
        for sensor in (s for name in names for s in self.defs.sensors if s.name == name):
            with dg.build_sensor_context(
                instance=self.instance,
                cursor=self.cursors.get(sensor.name),
                resources=resources_for(self.settings),
                definitions=self.defs,
            ) as context:
                asked = sensor.evaluate_tick(context)
            self.cursors[sensor.name] = asked.cursor
            self.skips[sensor.name] = asked.skip_message or ""
            for request in asked.run_requests or []:
                if (sensor.name, request.run_key) in self.started:
                    continue  # the daemon starts one run for a run key
                self.started.add((sensor.name, request.run_key))
                name = request.job_name or sensor.job_name
                done = self.defs.resolve_job_def(name).execute_in_process(
                    partition_key=request.partition_key, tags=dict(request.tags), instance=self.instance
                )
                assert done.success
                self.runs.append((name, dict(request.tags)))
        return len(self.runs) - before

    def settle(self, names: tuple[str, ...] = SENSORS) -> None:
        """Tick until nothing is asked for any more."""
        for _ in range(8):
            if not self.tick(names):
                return
        pytest.fail(f"the sensors do not come to rest: {self.runs}")


@contextmanager
def api(site: Site) -> Iterator[httpx.Client]:
    """The API over the installation's latest bundle, on a real port, following the pointer."""
    keeper = DeskKeeper(site.settings)
    assert keeper.open()
    keeper.follow()
    try:
        with (
            serving(create_app(keeper)) as (address, _),
            httpx.Client(base_url=address, timeout=60) as client,
        ):
            yield client
    finally:
        keeper.stop()
        keeper().store.close()


def ask(client: httpx.Client, disease: int, **more) -> dict:
    terms = typical_findings(disease)
    answer = client.post("/v1/diagnose", json={"observed": terms[:5], "age": 12, "sex": "F"} | more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def record_of(disease: str, number: int) -> bytes:
    """A patient of a hospital: a rare diagnosis and five coded findings."""
    findings = [
        condition(f"f{i}", code={"coding": [{"system": HPO, "code": term}]})
        for i, term in enumerate(typical_findings(number)[:5])
    ]
    coded = {"coding": [{"system": OMIM, "code": disease.removeprefix("OMIM:")}]}
    return bundle(patient(), consent(), condition("d0", code=coded), *findings)


@pytest.mark.integration
def test_a_dropped_record_and_a_confirmation_reach_the_served_bundle_by_sensors_alone(
    tmp_path_factory, monkeypatch
):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    site = LoopSite(tmp_path_factory.mktemp("loop") / "home")
    first = first_bundle(site)
    with api(site) as client:
        site.settle()
        assert not site.runs
        asked = ask(client, 14)
        known = {c["disease_id"]: c["n_known_cases"] for c in asked["rare"]["candidates"]}
        assert known[CONFIRMED] == 0
        told = {"prediction_id": asked["prediction_id"], "verdict": "confirmed", "diagnosis": CONFIRMED}
        assert client.post("/v1/feedback", json=told).status_code == 201
        site.drop("record.json", record_of(RECORDED, 13))
        site.settle()

        names = [name for name, _ in site.runs]
        assert {"fhir_inbox", "take_in_feedback", "gather_record_cases", "update_rare_memory"} <= set(names)
        reasons = [tags for name, tags in site.runs if name == "update_rare_memory"]
        assert all("confirmed cases" in tags["medassets/reason/rare-new_cases"] for tags in reasons)
        second = latest_bundle(site.settings.bundles_dir).name
        assert second != first.version, [
            row for row in site.rows("retraining/promotion") if not row["passed"]
        ]
        until(lambda: ask(client, 14)["versions"]["bundle"] == second)
        answer = ask(client, 14)
        known = {c["disease_id"]: c["n_known_cases"] for c in answer["rare"]["candidates"]}
        assert known[CONFIRMED] == 1
        # The lineage of the next answer names both: the prediction that was confirmed, and the record's file.
        said = client.get(f"/v1/lineage/{answer['prediction_id']}").text
        (file,) = {row["source_file"] for row in site.rows("clinical/ehr_conditions")}
        assert f"sources/feedback/{asked['prediction_id']}" in said
        assert f"sources/record/{file}" in said
        for key in ("clinical/confirmed_cases", "clinical/ehr_cases", "monitoring/clinician_feedback"):
            assert key in said, key
        assert "Quillfeather" not in said and "record.json" not in said
        model = next(m for m in read_manifest(latest_bundle(site.settings.bundles_dir)).models)
        assert model.registry_version.startswith("1+memory.") and "ehr" in model.training_origin
        # Nothing is new any more, so nothing is asked for.
        assert site.tick() == 0 and "nothing asks" in site.skips["retraining"]
        give_bad_verdicts(site, second)
        site.settle(("new_feedback", "new_champion"))
        (judged,) = site.rows("retraining/trial")
        assert not judged["passed"] and "accuracy" in judged["message"], judged
        back = latest_bundle(site.settings.bundles_dir).name
        assert back == judged["predecessor"] != second
        until(lambda: ask(client, 14)["versions"]["bundle"] == back)
        assert site.tick(("new_champion",)) == 0 and "no bundle is on trial" in site.skips["new_champion"]


def give_bad_verdicts(site: LoopSite, champion: str) -> None:
    """The predecessor's first candidates were right, the champion's are wrong."""
    predecessor = site.rows("retraining/promotion")[0]["champion"]
    store = open_store(site.settings)
    sample = next(record for record in store.records() if record.bundle == champion)
    first = sample.answer["rare"]["candidates"][0]["disease_id"]
    for number in range(12):
        for version, verdict in ((predecessor, "confirmed"), (champion, "rejected")):
            made = replace(sample, prediction_id=f"{version}-{number}", bundle=version)
            store.append(made)
            store.add_feedback(made.prediction_id, verdict, first)
    store.close()
