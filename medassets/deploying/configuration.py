"""Configuration files that processes of the stack read: written alike for containers and for one machine.

What belongs here: files that name addresses or folders of an installation. What does not: rules and
dashboards of the monitors, which name none and lie in ``deployment/prometheus`` and ``deployment/grafana``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from medassets.deploying.stack import STACK_PROFILES, StackProfile

#: Processes that Prometheus asks; their names are what ``deployment/prometheus`` tells them apart by.
MEASURED = ("api", "exporter", "stream-kafka", "stream-mqtt")
#: Where the file of their addresses lies below the configuration folder.
TARGETS = "targets/medassets.json"


def configuration(profile: StackProfile, at: Mapping[str, str]) -> dict[str, str]:
    """Text of each file, by its path below the configuration folder.

    Args:
        profile: the stack's profile.
        at: values of the words of ``stack.words``, with ``home``, ``bind`` and ``mosquitto_data``.
    """
    files = {
        "workspace.yaml": _yaml(
            {
                "load_from": [
                    {
                        "grpc_server": {
                            "host": at["code_server_host"],
                            "port": int(at["code_server_port"]),
                            "location_name": "medassets",
                        }
                    }
                ]
            }
        ),
        "dagster.yaml": _yaml(instance(profile, Path(at["home"]) / "dagster")),
    }
    if profile == "full":
        files["mosquitto.conf"] = (
            f"listener {at['mosquitto_port']} {at['bind']}\n"
            "allow_anonymous true\n"
            "persistence true\n"
            f"persistence_location {at['mosquitto_data']}/\n"
            # A reader that is away must find every message when it comes back.
            "max_queued_messages 0\n"
        )
        targets = [{"targets": [at[name.replace("-", "_")]], "labels": {"job": name}} for name in MEASURED]
        files[TARGETS] = json.dumps(targets, indent=1) + "\n"
    return files


def instance(profile: StackProfile, folder: Path) -> dict[str, Any]:
    """The Dagster instance of a profile: files at a clinic, PostgreSQL at a larger site."""
    from medassets.orchestration.instance import instance_config

    return instance_config(folder, postgres=profile == "full")


def completed(present: Mapping[str, Any], profile: StackProfile, folder: Path) -> dict[str, Any]:
    """A site's own ``dagster.yaml`` with what it does not say; nothing that it says is changed.

    Where runs are kept follows the profile, unless the site named a place that is in neither of the two.
    """
    wanted = instance(profile, folder)
    own = dict(present)
    if own.get("storage") in [instance(name, folder)["storage"] for name in STACK_PROFILES]:
        del own["storage"]
    return {**wanted, **own}


def _yaml(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(content), sort_keys=False)
