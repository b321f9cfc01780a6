"""OpenLineage events of a run: what a lineage catalogue outside (Marquez, DataHub) shows of this graph.

What belongs here: walking a finished run's log, and sending. What does not: the form of an event, which
``dagster_openlineage`` and the specification (https://openlineage.io/spec/2-0-2) decide. Its own sensor and
storage wrapper know the assets of an event but not what they were made from; here the inputs are named, and
each dataset with its content's version.

``MEDASSETS_OPENLINEAGE_URL`` is an http(s) address or a ``file://`` path. A catalogue that cannot be reached
costs a warning, never a run.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph

from medassets.settings import Settings

logger = logging.getLogger("medassets")

#: Namespace of this graph's jobs and datasets.
NAMESPACE = "medassets"
#: Seconds that one event may take, and events that may fail before the rest is given up.
TIMEOUT, PATIENCE = 2.0, 3
#: Tag of runs that ``medassets run`` makes: it sends their events itself.
LAUNCHED_BY = "medassets/launched_by"


@dataclass
class Sender:
    """Sends events to one place and counts what arrived.

    Attributes:
        url: where to.
        sent, lost: events so far.
        reason: why the first one was lost.
    """

    url: str
    sent: int = 0
    lost: int = 0
    reason: str = ""
    _client: Any = field(default=None, repr=False)

    def emit(self, event: Any) -> None:
        """Send one event, or count it as lost."""
        if self.lost >= PATIENCE:
            self.lost += 1
            return
        try:
            self._connected().emit(event)
            self.sent += 1
        except (OSError, RuntimeError) as error:  # requests' errors are OSErrors
            self.lost += 1
            self.reason = self.reason or str(error)

    def _connected(self) -> Any:
        if self._client is None:
            from openlineage.client import OpenLineageClient

            self._client = OpenLineageClient(transport=transport(self.url))
        return self._client


def transport(url: str) -> Any:
    """Give the client's transport for an address.

    Raises:
        ValueError: neither http(s) nor file.
    """
    place = urlparse(url)
    if place.scheme == "file":
        from openlineage.client.transport.file import FileConfig, FileTransport

        return FileTransport(FileConfig(log_file_path=url2pathname(place.path), append=True))
    if place.scheme in ("http", "https"):
        from openlineage.client.transport.http import HttpConfig, HttpTransport

        return HttpTransport(HttpConfig.from_dict({"url": url, "timeout": TIMEOUT, "retry": {"total": 0}}))
    raise ValueError(f"MEDASSETS_OPENLINEAGE_URL={url}: http://, https:// or file:// is expected")


def send_run(url: str, graph: AssetGraph, instance: dg.DagsterInstance, run_id: str) -> Sender:
    """Send the events of one run: its start and end, each asset with its inputs, each check.

    Args:
        url: where to.
        graph: names the inputs of each asset.
        instance: holds the run's log.
        run_id: Dagster's run, finished.

    Returns:
        How many events arrived. What did not is logged as one warning.

    Raises:
        ValueError: the address is of no known kind.
    """
    transport(url)
    sender = Sender(url)
    adapter = _adapter(sender)
    waiting: set[dg.AssetKey] = set()
    for entry in instance.all_logs(run_id):
        event = entry.dagster_event
        if event is not None:
            _send(adapter, graph, event, entry, waiting)
    if sender.lost:
        logger.warning(
            "OpenLineage: %d of %d events of run %s did not reach %s: %s",
            sender.lost,
            sender.lost + sender.sent,
            run_id,
            url,
            sender.reason,
        )
    return sender


def _send(
    adapter: Any,
    graph: AssetGraph,
    event: dg.DagsterEvent,
    entry: dg.EventLogEntry,
    waiting: set[dg.AssetKey],
) -> None:
    """Send what one entry of the log says; ``waiting`` holds the assets that the run has still to make."""
    kind, data, run_id, at = event.event_type, event.event_specific_data, entry.run_id, entry.timestamp
    ends: dict[dg.DagsterEventType, Any] = {
        dg.DagsterEventType.RUN_SUCCESS: adapter.complete_pipeline,
        dg.DagsterEventType.RUN_FAILURE: adapter.fail_pipeline,
        dg.DagsterEventType.RUN_CANCELED: adapter.cancel_pipeline,
    }
    if kind == dg.DagsterEventType.RUN_START:
        adapter.start_pipeline(entry.job_name or "", run_id, at)
    elif kind == dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED:
        planned: Any = data
        waiting.add(planned.asset_key)
    elif kind == dg.DagsterEventType.ASSET_MATERIALIZATION:
        made = event.step_materialization_data.materialization
        waiting.discard(made.asset_key)
        above = sorted(graph.get(made.asset_key).parent_keys) if graph.has(made.asset_key) else []
        adapter.asset_materialization(
            made.asset_key,
            run_id,
            at,
            metadata=made.metadata,
            upstream_asset_keys=above,
            partition_key=made.partition,
        )
    elif kind == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        judged: Any = data
        adapter.asset_check_evaluation(judged.asset_key, [judged], run_id, at)
    elif kind in ends:
        for key in sorted(waiting):
            reason = "the run ended before it was made"
            adapter.asset_failed_to_materialize(key, run_id, at, error_message=reason)
        ends[kind](entry.job_name or "", run_id, at)


def _adapter(sender: Sender) -> Any:
    """Give the package's adapter, which names each output's data version as well."""
    from dagster_openlineage.adapter import OpenLineageAdapter
    from openlineage.client.facet_v2 import dataset_version_dataset

    # The adapter makes a client of its own before it takes the sender, and warns that it leads nowhere.
    logging.getLogger("openlineage.client.client").setLevel(logging.ERROR)

    class Adapter(OpenLineageAdapter):
        def _build_asset_output_facets(self, metadata: Any, namespace: str) -> dict[str, Any]:
            facets: dict[str, Any] = super()._build_asset_output_facets(metadata, namespace)
            if metadata and "content_hash" in metadata:
                version = str(metadata["content_hash"].value)
                facets["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(version)
            return facets

    return Adapter(namespace=NAMESPACE, emitter=sender)


def sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """Give the sensors that send what the daemon's runs did; none where no address is set."""
    url = settings.openlineage_url
    if url is None:
        return []

    def send(context: dg.RunStatusSensorContext) -> dg.SkipReason | None:
        if LAUNCHED_BY in context.dagster_run.tags:
            return dg.SkipReason("medassets run sent the events of this run itself")
        assert context.repository_def is not None
        send_run(url, context.repository_def.asset_graph, context.instance, context.dagster_run.run_id)
        return None

    return [
        dg.run_status_sensor(
            run_status=status,
            name=f"openlineage_{status.value.lower()}",
            description=f"Sends the events of each run that ended as {status.value} to {url}.",
            default_status=dg.DefaultSensorStatus.RUNNING,
        )(send)
        for status in (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE)
    ]
