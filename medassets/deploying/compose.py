"""The stack as a compose file: profiles, health, limits, a read-only root, nobody as root.

What belongs here: how a container engine is told. What does not: what the processes are (``stack``).
Specification: https://github.com/compose-spec/compose-spec/blob/main/spec.md
The committed ``deployment/compose/`` is the output of ``python -m medassets.deploying.compose FOLDER``; a
test holds the two equal.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from medassets import __version__
from medassets.deploying.configuration import TARGETS, configuration
from medassets.deploying.stack import (
    OWN_UID,
    PROCESSES,
    STACK_PROFILES,
    Process,
    StackProfile,
    filled,
    processes,
    shared_environment,
    words,
)

HOME = "/var/lib/medassets"
CONFIG = "/etc/medassets"
#: The profile picks its folder of configuration; one variable, so that the two cannot differ.
FOLDER = "./${COMPOSE_PROFILES:-small}"
#: Of 1,024 that a container has by default.
BACKGROUND_SHARES = 256
HEADER = (
    "# Generated from medassets/deploying/stack.py (`python -m medassets.deploying.compose FOLDER`):\n"
    "# change the table, not this file. `medassets up` starts the same processes without containers.\n"
)
PYTHON_GET = "import sys,urllib.request as u; u.urlopen(sys.argv[1], timeout=4)"
PYTHON_CONNECT = "import sys,socket; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 4)"


def compose() -> dict[str, Any]:
    """The compose file; ``COMPOSE_PROFILES`` names the profile, and so the folder of its configuration."""
    names = sorted(
        {name for profile in STACK_PROFILES for name in configuration(profile, container_words(profile))}
    )
    used = [process for process in PROCESSES if process.container_data]
    return {
        "name": "medassets",
        "services": {process.name: _service(process) for process in PROCESSES},
        "networks": {"inside": {"internal": True}, "outside": {}},
        "volumes": {"home": {}} | {process.name: {} for process in used},
        "configs": {_slug(name): {"file": f"{FOLDER}/{name}"} for name in names},
        "secrets": {"s3_identities": {"file": "./secrets/s3.json"}},
    }


def container_words(profile: StackProfile) -> dict[str, str]:
    """Values of the words among containers."""
    members = processes(profile)
    return words(
        profile,
        {process.name: process.name for process in members},
        {process.name: process.port for process in members if process.port is not None},
        bind="0.0.0.0",
        home=HOME,
        config=CONFIG,
        sockets="/var/run/postgresql",
        password="${MEDASSETS_POSTGRES_PASSWORD}",
        **{f"{p.name.replace('-', '_')}_data": p.container_data or HOME for p in members},
    )


def files() -> dict[str, str]:
    """Every generated file of ``deployment/compose``, by path."""
    found = {"compose.yaml": HEADER + yaml.safe_dump(compose(), sort_keys=False, width=110)}
    for profile in STACK_PROFILES:
        at = container_words(profile)
        found |= {f"{profile}/{name}": text for name, text in configuration(profile, at).items()}
        shared = {name: filled(value, at) for name, value in shared_environment(profile).items()}
        found[f"{profile}/stack.env"] = "".join(f"{name}={value}\n" for name, value in shared.items())
    return found


def _service(process: Process) -> dict[str, Any]:
    at = {
        **container_words("full"), "port": str(process.port), "data": process.container_data or HOME,
    }  # fmt: skip
    command = [filled(word, at) for word in process.command]
    service: dict[str, Any] = {
        "image": f"medassets-{process.image}:{__version__}" if process.is_own else process.image,
        "profiles": sorted(process.profiles),
        "entrypoint": command[:1] if process.container_entrypoint else None,
        "command": command[1:] if process.container_entrypoint else command,
        "user": f"{process.uid}:{process.uid}",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "init": True,
        "restart": "unless-stopped",
        "stop_grace_period": "30s",
        "tmpfs": [f"{folder}:size=256m,mode=1777" for folder in ("/tmp", *process.container_tmpfs)],
        "environment": {name: filled(value, at) for name, value in process.environment.items()}
        | dict(process.container_environment),
        "networks": ["inside"],
        "healthcheck": {
            "test": ["CMD", *(_health(process))],
            "interval": "15s",
            "timeout": "10s",
            "retries": 4,
            "start_period": f"{process.start_seconds}s",
        },
        "deploy": {
            "resources": {"limits": {"cpus": str(process.cpus), "memory": f"{process.memory_mb}M"}},
        },
        "cpu_shares": BACKGROUND_SHARES if process.background else None,
        "logging": {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}},
        # A store that the profile does not have is not waited for.
        "depends_on": {
            name: {"condition": "service_healthy", "restart": True, "required": False}
            for name in process.needs
        },
    }
    if process.is_own:
        service["build"] = {
            "context": "../..", "dockerfile": "deployment/docker/Dockerfile", "target": process.image,
        }  # fmt: skip
        service["environment"] |= {"HOME": "/tmp", "MEDASSETS_HOME": HOME, "DAGSTER_HOME": f"{HOME}/dagster"}
        service["env_file"] = [f"{FOLDER}/stack.env"]
    if process.health.startswith("http:"):  # what people look at; stores stay inside
        service["networks"] = ["inside", "outside"]
        service["ports"] = [f"127.0.0.1:{process.port}:{process.port}"]
    return {name: value for name, value in (service | _mounts(process, command)).items() if value}


def _mounts(process: Process, command: list[str]) -> dict[str, list[Any]]:
    names = configuration("full", container_words("full"))
    configs = [
        {"source": _slug(name), "target": f"{CONFIG}/{name}"}
        for name in names
        if f"{CONFIG}/{name}" in " ".join(command)
    ]
    volumes, secrets = [f"{process.name}:{process.container_data}"], []
    if process.is_own:
        volumes = [f"home:{HOME}"]
        if process.image == "training":
            configs.append({"source": "dagster-yaml", "target": f"{HOME}/dagster/dagster.yaml"})
    elif process.name == "prometheus":
        volumes.append(f"../prometheus:{CONFIG}/prometheus:ro")
        configs.append({"source": _slug(TARGETS), "target": f"{CONFIG}/{TARGETS}"})
    elif process.name == "grafana":
        volumes.append(f"../grafana:{CONFIG}/grafana:ro")
    elif process.name == "s3":
        secrets = ["s3_identities"]
    return {"volumes": volumes, "configs": configs, "secrets": secrets}


def _health(process: Process) -> tuple[str, ...]:
    if process.container_health:
        return process.container_health
    kind, _, what = process.health.partition(":")
    if kind == "http":
        return ("python", "-c", PYTHON_GET, f"http://127.0.0.1:{process.port}{what}")
    if kind == "tcp":
        return ("python", "-c", PYTHON_CONNECT, str(process.port))
    return tuple(what.split())


def _slug(name: str) -> str:
    return name.replace(".", "-").replace("/", "-")


def main(folder: Path) -> None:
    """Write the files."""
    for name, text in files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(
            f"usage: python -m medassets.deploying.compose FOLDER  (user {OWN_UID} owns it in containers)"
        )
    main(Path(sys.argv[1]))
