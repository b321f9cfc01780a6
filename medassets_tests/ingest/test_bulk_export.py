"""Bulk export against a real server on loopback: polling, faults, resume, errors, and who sees the token."""

import json

import pytest

from medassets.ingest.bulk_export import STATE, export
from medassets.ingest.fhir_pull import pull
from medassets.ingest.fhir_search import search
from medassets.ingest.retrying import RetryingClient, ServerError, retry_after
from medassets.settings import Settings
from medassets_tests.ingest.fhir_server import FhirServer, serving
from medassets_tests.ingest.fixtures_fhir import condition, encounter, patient

RESOURCES = [patient("p1"), patient("p2"), patient("p3"), condition(), encounter()]


@pytest.fixture
def server():
    with serving(FhirServer(list(RESOURCES))) as running:
        yield running


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def client(server, waits):
    with RetryingClient(server.base, "secret", sleep=waits.append, attempts=4) as made:
        yield made


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_export_waits_as_told_and_fetches_every_file(server, client, waits, tmp_path):
    server.token = "secret"
    done = export(client, tmp_path, ["Patient", "Condition"])
    assert [p.name for p in done.files] == [
        "Condition.000.ndjson", "Encounter.001.ndjson", "Patient.002.ndjson"
    ]  # fmt: skip
    assert read(done.files[2]) == server.of("Patient")
    assert waits == [3.0, 3.0] and done.polls == 3
    kick_off = server.seen[0]
    assert "_type=Patient%2CCondition" in kick_off[1] and kick_off[2]["Prefer"] == "respond-async"
    assert server.seen[-1][0] == "DELETE"
    assert not (tmp_path / STATE).exists()


def test_faults_are_waited_out(server, client, waits, tmp_path):
    server.pending = 0
    server.faults = [
        ("/fhir/Patient/$export", "429"),
        ("/fhir/status", "503"),
        ("/fhir/files/Patient", "drop"),
        ("/fhir/files/Condition", "503"),
    ]
    done = export(client, tmp_path, ["Patient"])
    assert read(done.files[2]) == server.of("Patient")
    assert waits == [7.0, 1.0, 1.0, 1.0]
    resumed = [headers.get("Range") for _, path, headers in server.seen if "files/Patient" in path]
    assert resumed[0] is None and resumed[1].startswith("bytes=")


def test_an_interrupted_export_goes_on(server, client, tmp_path):
    server.pending = 0
    server.faults = [("/fhir/files/Patient", "503")] * 4
    with pytest.raises(ServerError, match="did not answer in 4 attempts; last: status 503"):
        export(client, tmp_path, ["Patient"])
    assert "secret" not in (tmp_path / STATE).read_text()
    done = export(client, tmp_path, ["Patient"])
    assert len(done.files) == 3
    assert server.requests["/fhir/Patient/$export"] == 1 and server.requests["/fhir/files/Condition"] == 1


def test_an_expired_export_is_asked_for_again(server, client, tmp_path):
    (tmp_path / STATE).write_text(json.dumps({"status_url": f"{server.base}/status/0"}))
    server.faults = [("/fhir/status/0", "gone")]
    assert len(export(client, tmp_path, ["Patient"]).files) == 3
    assert server.requests["/fhir/Patient/$export"] == 1


def test_errors_of_the_server_are_reported(server, client, tmp_path):
    issue = {"severity": "error", "code": "processing", "diagnostics": "Ottoline"}
    server.errors = [{"resourceType": "OperationOutcome", "issue": [issue]}]
    (problem,) = export(client, tmp_path, ["Patient"]).problems
    assert problem.reason == "the server reports: error processing" and "Ottoline" not in str(problem)


def test_a_short_file_is_refused(server, client, tmp_path):
    server.announce = 9
    with pytest.raises(ServerError, match="9 resources announced, 1 came"):
        export(client, tmp_path, ["Patient"])


def test_the_token_goes_to_its_own_server_only(server, client, tmp_path):
    with serving(FhirServer(list(RESOURCES))) as other:
        client.fetch(f"{other.base}/files/Patient", tmp_path / "file")
        assert "Authorization" not in other.seen[0][2]
    client.request(f"{server.base}/Patient")
    assert server.seen[0][2]["Authorization"] == "Bearer secret"


def test_search_follows_pages_and_goes_on_where_it_ended(server, client, tmp_path):
    target = tmp_path / "Patient.ndjson"
    server.faults = [("/fhir/Patient", "429")]
    assert read(search(client, "Patient", [("_lastUpdated", "ge2026-01-01")], target)) == server.of("Patient")
    assert "_lastUpdated=ge2026-01-01" in server.seen[0][1]
    again = tmp_path / "again.ndjson"
    server.page = 1
    server.faults = [("/fhir/Encounter", "503")]
    calls = []

    def fails_on_the_second_page(seconds: float) -> None:
        calls.append(seconds)

    client.sleep = fails_on_the_second_page
    original, pages = client.request, []

    def interrupted(url, **more):
        pages.append(url)
        if len(pages) == 2:
            raise ServerError("broken off")
        return original(url, **more)

    client.request = interrupted
    with pytest.raises(ServerError, match="broken off"):
        search(client, "Patient", [], again)
    client.request = original
    before = len(server.seen)
    assert read(search(client, "Patient", [], again)) == server.of("Patient")
    assert len(server.seen) - before == 2  # the first page is not asked for again


def test_pages_in_a_circle_end(server, client, tmp_path):
    circle = {"resourceType": "Bundle", "link": [{"relation": "next", "url": f"{server.base}/Patient?a=1"}]}

    class Answer:
        def json(self):
            return circle

    client.request = lambda url, **more: Answer()
    with pytest.raises(ServerError, match="in a circle"):
        search(client, "Patient", [], tmp_path / "x")


@pytest.mark.parametrize("protocol", ["export", "search"])
def test_a_days_records_go_through_the_inbox(server, tmp_path, protocol):
    from datetime import date

    settings = Settings(
        home=tmp_path, fhir_url=server.base, fhir_token="secret", fhir_protocol=protocol, _env_file=None
    )
    pulled = pull(settings, date(2026, 3, 1), sleep=lambda seconds: None)
    assert {p.parent for p in pulled.files} == {tmp_path / "inbox" / "fhir" / "arrived" / "2026-03-01"}
    ids = {r["id"] for path in pulled.files for r in read(path)}
    assert {"p1", "p2", "p3", "d1", "e1"} <= ids


def test_retry_after_is_seconds_or_a_date():
    assert retry_after("12") == 12.0 and retry_after(None) is None and retry_after("soon") is None
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0


def test_the_rate_is_limited():
    slept, now = [], [0.0]

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    with (
        serving(FhirServer([patient()])) as running,
        RetryingClient(running.base, per_second=4, sleep=sleep, clock=lambda: now[0]) as limited,
    ):
        for _ in range(5):
            limited.request(f"{running.base}/Patient")
    assert slept == pytest.approx([0.25] * 4)
