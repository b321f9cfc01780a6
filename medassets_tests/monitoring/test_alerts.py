"""Rules and dashboards as code: checked by Prometheus's own tool, fired by faults of a running service."""

import json
import re
import subprocess
import time
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client import CollectorRegistry, Gauge, start_http_server

from medassets.commands.server import free_port
from medassets.serving.answering import Desk
from medassets.serving.bundle import BundleError
from medassets.serving.http import create_app
from medassets_tests.servers import program
from medassets_tests.waiting import serving, until

DEPLOYMENT = Path(__file__).parents[2] / "deployment"
PROMETHEUS, GRAFANA = DEPLOYMENT / "prometheus", DEPLOYMENT / "grafana"
#: Figures that the service and the exporter have.
METRIC = re.compile(r"\b(medassets_[a-z_]+|medassets:[a-z_:0-9]+)\b")


def rules() -> list[dict]:
    groups = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.mark.servers
def test_rules_are_sound_and_fire_in_their_own_tests():
    promtool = program("promtool", "prometheus")
    for command in (
        ["check", "rules", "rules.yml"],
        ["check", "config", "prometheus.yml"],
        ["check", "config", "prometheus.local.yml"],
        ["test", "rules", "rules_test.yml"],
    ):
        done = subprocess.run([promtool, *command], cwd=PROMETHEUS, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_says_what_to_do_and_is_tested():
    alerts = [rule for rule in rules() if "alert" in rule]
    tested = (PROMETHEUS / "rules_test.yml").read_text()
    for alert in alerts:
        assert {"summary", "action"} <= set(alert["annotations"]), alert["alert"]
        assert alert["labels"]["severity"] in ("page", "ticket") and alert["for"]
        assert alert["alert"] in tested


def test_dashboards_are_provisioned_and_ask_only_for_what_there_is():
    from medassets.serving.measures import Measures

    provider = yaml.safe_load((GRAFANA / "provisioning/dashboards/medassets.yaml").read_text())
    assert provider["providers"][0]["options"]["path"].endswith("/grafana/dashboards")
    source = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yaml").read_text())
    uids = {entry["uid"] for entry in source["datasources"]}
    served = set(re.findall(r"# TYPE (\w+)", Measures().text().decode()))
    code = Path(__file__).parents[2] / "medassets/orchestration/exporter.py"
    exported = set(re.findall(r'"(medassets_[a-z_]+)"', code.read_text()))
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    known = {f"{name}{end}" for name in served for end in ("", "_bucket", "_count")} | exported | recorded
    asked = "\n".join(rule["expr"] for rule in rules())
    titles = set()
    for path in sorted((GRAFANA / "dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        titles.add(board["uid"])
        ids = [panel["id"] for panel in board["panels"]]
        assert len(ids) == len(set(ids))
        for panel in board["panels"]:
            assert panel["datasource"]["uid"] in uids
            asked += "\n" + "\n".join(target["expr"] for target in panel["targets"])
    assert titles == {"medassets-service", "medassets-graph"}
    assert set(METRIC.findall(asked)) <= known


class Faulty:
    """A service whose bundle can be taken away, and whose answers can be slowed or made abstentions."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.gone = desk, False

    def __call__(self) -> Desk:
        if self.gone:
            raise BundleError("taken away")
        return self.desk


def quick(text: str, **addresses: str) -> str:
    """The same configuration on other addresses, judged every second instead of over minutes."""
    text = re.sub(r"(scrape|evaluation)_interval: \S+", r"\1_interval: 1s", text)
    text = re.sub(r"scrape_timeout: \S+", "scrape_timeout: 1s", text)
    for name, address in addresses.items():
        text = text.replace(f"127.0.0.1:{name.removeprefix('port')}", address)
    text = re.sub(r"for: \d+m", "for: 0s", text)
    return re.sub(r"\[(5m|1h)\]", "[6s]", text)


@pytest.mark.servers
def test_the_rules_fire_on_faults_of_the_running_service(desk, prometheus):
    service = Faulty(desk)
    registry = CollectorRegistry()
    drifted = Gauge("medassets_drifted_features", "as the exporter gives it", ["part"], registry=registry)
    drifted.labels("common").set(0)
    graph_port = free_port()
    exporter, _ = start_http_server(graph_port, addr="127.0.0.1", registry=registry)
    with (
        serving(create_app(service)) as (address, server),
        httpx.Client(base_url=address) as client,
    ):
        configuration = (PROMETHEUS / "prometheus.local.yml").read_text()
        monitor = prometheus(
            {
                "prometheus.yml": quick(
                    configuration,
                    port3000=address.removeprefix("http://"),
                    port3090=f"127.0.0.1:{graph_port}",
                ),
                "rules.yml": quick((PROMETHEUS / "rules.yml").read_text()),
            }
        )
        case = {"observed": ["HP:0001250"]}

        def firing() -> set[str]:
            client.post("/v1/diagnose", json=case)
            found = httpx.get(f"{monitor.url}/api/v1/alerts").json()["data"]["alerts"]
            return {alert["labels"]["alertname"] for alert in found if alert["state"] == "firing"}

        up = 'up{job=~"medassets.*"} == 1'
        until(lambda: len(asked(monitor.url, up)) == 2)
        until(lambda: not firing() and asked(monitor.url, "medassets:requests:rate > 0"))
        assert asked(monitor.url, "medassets_bundle_info == 1")
        drifted.labels("common").set(5)
        until(lambda: "Drift" in firing())
        drifted.labels("common").set(0)
        desk.diagnoser.rare.__class__ = abstaining(desk.diagnoser.rare.__class__)
        until(lambda: {"ManyAbstentions", "SlowAnswers"} <= firing())
        service.gone = True
        until(lambda: "FailingAnswers" in firing())
        exporter.shutdown()
        exporter.server_close()
        server.should_exit = True
        until(lambda: {"ServiceDown", "GraphNotExported"} <= alerts(monitor.url))


def abstaining(kind: type) -> type:
    """A model that takes its time and knows nothing."""

    class Slow(kind):  # type: ignore[misc, valid-type]
        def answer(self, *arguments):
            time.sleep(0.7)
            return super().answer(*arguments) | {"abstain": True, "confidence": "none", "reason": "unknown"}

    return Slow


def asked(address: str, query: str) -> list:
    return httpx.get(f"{address}/api/v1/query", params={"query": query}).json()["data"]["result"]


def alerts(address: str) -> set[str]:
    return {row["metric"]["alertname"] for row in asked(address, 'ALERTS{alertstate="firing"}')}
