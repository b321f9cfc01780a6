"""Checks everything under ``deployment/`` with the tools at hand: what passed, what failed, what was not run.

    python deployment/validate.py

Tools are looked for beside this Python, on PATH, and in the folders that MEDASSETS_TOOLS names. Exit code 1
where a check failed; a tool that is not there is no failure, and is named.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
CHECKS = HERE / "checks"
OVERLAYS = ("local", "eks", "eks-istio", "gke", "aks")
#: Resources of operators, for which Kubernetes itself has no schema.
FOREIGN = ("external-secrets.io", "istio.io")


class MissingError(Exception):
    """A tool is not at hand."""


def tool(name: str) -> str:
    """Path of a tool.

    Raises:
        MissingError: it is nowhere.
    """
    folders = [str(Path(sys.executable).parent), os.environ.get("MEDASSETS_TOOLS", ""), os.environ["PATH"]]
    found = shutil.which(name, path=os.pathsep.join([*folders, "/usr/sbin"]))
    if found is None:
        raise MissingError(name)
    return found


def run(*command: str, **variables: str) -> str:
    """Run a tool; its output.

    Raises:
        ValueError: it found something; the message is its own.
    """
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=HERE, check=False, env=os.environ | variables
    )
    if done.returncode:
        raise ValueError((done.stdout + done.stderr).strip()[-3000:])
    return done.stdout


def dockerfile() -> str:
    """hadolint over the Dockerfile."""
    run(tool("hadolint"), "docker/Dockerfile")
    return "docker/Dockerfile"


def compose_schema() -> str:
    """The compose file against its specification: Docker's own check, or dclint's copy of the schema."""
    try:
        docker = tool("docker")
        run(docker, "compose", "version")
    except (MissingError, ValueError):
        run(tool("dclint"), "-c", str(CHECKS / "dclint.json"), "compose")
        return "compose/compose.yaml, by dclint"
    run(docker, "compose", "-f", "compose/compose.yaml", "config", "--quiet", COMPOSE_PROFILES="full")
    return "compose/compose.yaml, by docker compose config"


def compose_generated() -> str:
    """The committed compose files are what the table of processes gives."""
    from medassets.deploying.compose import files

    for name, text in files().items():
        if (HERE / "compose" / name).read_text(encoding="utf-8") != text:
            raise ValueError(f"compose/{name} is not what the table gives: run medassets.deploying.compose")
    return f"{len(files())} files"


def rendered(overlay: str) -> str:
    """A Kustomize overlay, rendered."""
    return run(tool("kubectl"), "kustomize", f"kubernetes/overlays/{overlay}")


def kubernetes_schemas() -> str:
    """Every rendered object against Kubernetes' own schemas."""
    import kubernetes_validate

    checked = 0
    for overlay in OVERLAYS:
        for found in yaml.safe_load_all(rendered(overlay)):
            if any(group in found["apiVersion"] for group in FOREIGN):
                continue
            try:
                kubernetes_validate.validate(found, "1.34", strict=True)
            except kubernetes_validate.ValidationError as error:
                raise ValueError(
                    f"{overlay}: {found['kind']} {found['metadata']['name']}: {error}"
                ) from error
            checked += 1
    return f"{checked} objects of {', '.join(OVERLAYS)}"


def checkov() -> str:
    """checkov over rendered overlays, Dockerfile and Terraform; what is not asked for stands in checks/."""
    program, config = tool("checkov"), str(CHECKS / "checkov.yaml")
    with tempfile.TemporaryDirectory() as folder:
        for overlay in OVERLAYS:
            (Path(folder) / f"{overlay}.yaml").write_text(rendered(overlay), encoding="utf-8")
        run(program, "--config-file", config, "-d", folder, "--framework", "kubernetes")
    run(program, "--config-file", config, "-d", "terraform", "--framework", "terraform")
    run(program, "--config-file", config, "-f", "docker/Dockerfile", "--framework", "dockerfile")
    return "kubernetes, terraform, docker"


def style() -> str:
    """yamllint over all YAML."""
    run(tool("yamllint"), "--strict", "-c", str(CHECKS / "yamllint.yaml"), ".")
    return "all YAML"


def terraform() -> str:
    """Format of the Terraform module; its providers cannot be had offline, so `validate` is left out."""
    run(tool("terraform"), "fmt", "-check", "-diff", "terraform", TF_CLI_CONFIG_FILE=os.devnull)
    return "terraform fmt (not: init, validate, plan)"


def haproxy() -> str:
    """HAProxy reads its configuration."""
    names = {
        "API_PORT": "3000",
        "API_A": "127.0.0.1:3001",
        "API_B": "127.0.0.1:3002",
        "STATS": "127.0.0.1:3009",
    }
    run(tool("haproxy"), "-c", "-f", "haproxy/haproxy.cfg", **names)
    return "haproxy/haproxy.cfg"


def prometheus() -> str:
    """promtool reads the configuration and the rules, and runs the rules' own tests."""
    program = tool("promtool")
    run(program, "check", "rules", "prometheus/rules.yml")
    run(program, "test", "rules", "prometheus/rules_test.yml")
    return "prometheus/rules.yml and its tests"


CHECKERS: tuple[Callable[[], str], ...] = (
    compose_generated,
    compose_schema,
    dockerfile,
    kubernetes_schemas,
    checkov,
    style,
    terraform,
    haproxy,
    prometheus,
)


def main() -> int:
    """Run every check."""
    failed = 0
    for check in CHECKERS:
        try:
            print(f"ok       {check.__name__}: {check()}", flush=True)
        except MissingError as error:
            print(f"not run  {check.__name__}: {error} is not here", flush=True)
        except ValueError as error:
            failed += 1
            print(f"FAILED   {check.__name__}:\n{error}", flush=True)
    print("not run  by nothing here: image builds, a cluster, Kong's and Istio's own checks, Lambda, a cloud")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
