"""Progress that a person can follow: one line an asset, with rows and seconds.

What belongs here: turning Dagster's events into lines and a spinner. What does not: running (``run``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import dagster as dg
from rich.console import Console
from rich.status import Status


@dataclass(frozen=True)
class AssetLine:
    """What happened to one asset."""

    key: str
    rows: int | None
    seconds: float
    reason: str = ""

    @property
    def layer(self) -> str:
        """Layer of the asset."""
        return self.key.split("/")[0]


@dataclass
class Progress:
    """Collects what a run did, and shows it while it happens."""

    console: Console
    total: int
    reasons: dict[str, str] = field(default_factory=dict)
    lines: list[AssetLine] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    _started: dict[str, float] = field(default_factory=dict)
    _status: Status | None = None

    @contextmanager
    def shown(self) -> Iterator[Progress]:
        """Show a spinner with the running step while the block runs."""
        if not self.console.is_terminal:
            yield self
            return
        with self.console.status("starting") as self._status:
            yield self
        self._status = None

    def see(self, event: dg.DagsterEvent) -> None:
        """Take one event of the run."""
        step = event.step_key or ""
        if event.event_type == dg.DagsterEventType.STEP_START:
            self._started[step] = time.monotonic()
            if self._status:
                self._status.update(
                    f"{step.replace('__', '/')} ({len(self.lines)} of {self.total} assets done)"
                )
        elif event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
            self._made(event, step)
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            self._checked(event)
        elif event.event_type == dg.DagsterEventType.STEP_FAILURE:
            self._failed(event, step)

    def _made(self, event: dg.DagsterEvent, step: str) -> None:
        materialization = event.step_materialization_data.materialization
        key = materialization.asset_key.to_user_string()
        rows = materialization.metadata.get("dagster/row_count")
        count = int(rows.value) if rows is not None and isinstance(rows.value, int) else None
        seconds = time.monotonic() - self._started.get(step, time.monotonic())
        self.lines.append(AssetLine(key, count, seconds, self.reasons.get(key, "")))
        shown = f"{count:>11,} rows" if count is not None else " " * 16
        self.console.print(f"[green]✓[/green] {key:<42}{shown} {seconds:>8.1f} s", highlight=False)

    def _checked(self, event: dg.DagsterEvent) -> None:
        evaluation = event.asset_check_evaluation_data
        if evaluation.passed:
            return
        name = f"{evaluation.asset_key.to_user_string()}: {evaluation.check_name}"
        text = evaluation.description or "the check did not pass"
        if evaluation.severity == dg.AssetCheckSeverity.ERROR:
            self.failed.append((name, text))
            self.console.print(f"[red]✗ check {name}[/red]: {text}", highlight=False)
        else:
            self.console.print(f"[yellow]! check {name}[/yellow]: {text}", highlight=False)

    def _failed(self, event: dg.DagsterEvent, step: str) -> None:
        error = event.step_failure_data.error
        while error and error.cause:
            error = error.cause
        message = error.message.strip() if error else "no message"
        if "DagsterAssetCheckFailedError" in message:
            return  # said already, with its reason
        key = step.replace("__", "/")
        self.failed.append((key, message))
        self.console.print(f"[red]✗ {key}[/red]: {message}", highlight=False)
