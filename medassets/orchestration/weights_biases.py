"""Weights & Biases beside MLflow: each newly registered model as a run of a project, by setting.

What belongs here: showing parameters, figures and data versions there. What does not: keeping models, which
the MLflow registry does; nothing in the graph reads from here.

Online, ``dagster_wandb`` logs in with ``WANDB_API_KEY`` (and ``WANDB_BASE_URL`` for a server of one's own).
Offline, runs lie under ``<home>/wandb`` until somebody sends them with ``wandb sync``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import dagster as dg

from medassets.settings import Settings


@dataclass(frozen=True)
class WandbMirror:
    """Shows registered models in a Weights & Biases project.

    Attributes:
        project: name of the project.
        mode: online or offline.
        directory: where offline runs are kept.
    """

    project: str
    directory: Path
    mode: Literal["online", "offline"] = "offline"

    def show(
        self,
        name: str,
        version: str,
        described: Mapping[str, Any],
        inputs: Mapping[str, str],
        tags: Mapping[str, str],
    ) -> Path:
        """Show one model version.

        Args:
            name: registered name.
            version: version in the registry.
            described: the model's metadata; ``params`` and ``metrics`` are shown.
            inputs: data version of each input, by asset key.
            tags: further facts, such as Dagster's and MLflow's runs.

        Returns:
            Folder of the run.

        Raises:
            RuntimeError: online without ``WANDB_API_KEY``.
        """
        import wandb

        self._log_in()
        self.directory.mkdir(parents=True, exist_ok=True)
        run = wandb.init(
            project=self.project,
            name=f"{name}-{version}",
            group=name,
            mode=self.mode,
            dir=str(self.directory),
            config={"params": dict(described.get("params", {})), "inputs": dict(inputs), **tags},
            reinit="create_new",
            settings=wandb.Settings(console="off", silent=True, disable_git=True, x_disable_stats=True),
        )
        try:
            run.log(dict(described.get("metrics", {})))
            folder = Path(run.dir).parent
        finally:
            run.finish()
        return folder

    def _log_in(self) -> None:
        if self.mode == "offline":
            return
        if not os.environ.get("WANDB_API_KEY"):
            raise RuntimeError("MEDASSETS_WANDB_MODE=online needs WANDB_API_KEY, or set it to offline")
        from dagster_wandb import wandb_resource

        host = os.environ.get("WANDB_BASE_URL")
        config = {"api_key": {"env": "WANDB_API_KEY"}, **({"host": host} if host else {})}
        wandb_resource(dg.build_init_resource_context(config=config))


def mirror_of(config: Mapping[str, str]) -> WandbMirror:
    """Read a mirror's configuration back: project, directory and mode."""
    mode: Any = config["mode"]
    return WandbMirror(config["project"], Path(config["directory"]), mode)


def mirror_config(settings: Settings) -> dict[str, str]:
    """Give the mirror that the settings name as plain configuration; empty where they name none."""
    if settings.wandb_project is None:
        return {}
    directory = str(settings.home / "wandb")
    return {"project": settings.wandb_project, "directory": directory, "mode": settings.wandb_mode}
