"""Whether to train again, and why: pure functions from figures to a decision.

What belongs here: the triggers and their limits. What does not: starting a run (``orchestration``), and
whether what was trained may serve (``evaluation.promotion``, ``trial``).

Noise must not trigger: accuracy counts as low only where enough labels say so and the whole 95 % interval
lies below the limit. After a retraining the triggers rest for a cool-down, except that cases which the
memory of rare diseases does not know yet may be added at any time: that takes seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from medassets.monitoring.performance import accuracy_of

Part = Literal["common", "rare"]
#: The figure of the mission: below it the models are trained again.
ACCURACY = 0.85


@dataclass(frozen=True)
class Limits:
    """When to train again.

    Attributes:
        accuracy: lowest accuracy; triggers where the interval's upper end lies below it.
        min_labels: judged predictions that an accuracy needs.
        window_days: predictions of this many days count.
        drifted: drifted features of the drift report that trigger.
        new_cases: new confirmed rare cases (and cases of records) that trigger the meta-update.
        new_patients: new confirmed common patients that trigger a retraining.
        every_days: age of the served bundle that triggers; 0: never by age.
        cool_down_hours: rest after a retraining of the common models.
    """

    accuracy: float = ACCURACY
    min_labels: int = 50
    window_days: int = 28
    drifted: int = 3
    new_cases: int = 1
    new_patients: int = 100
    every_days: int = 90
    cool_down_hours: float = 24.0


@dataclass(frozen=True)
class Evidence:
    """What the decision looks at.

    Attributes:
        now: the present instant.
        verdicts: ``log.latest_verdicts`` of the feedback.
        drifted: names of drifted features in the last drift report.
        new_cases: ids of rare cases that the served memory does not know.
        new_patients: confirmed common patients that the served ensemble was not trained on.
        served: version of the served bundle.
        bundle_made: when the served bundle was made; None where there is none.
        last_retrained: when the last retraining of the common models began; None: never.
        running: whether a retraining runs or waits.
    """

    now: datetime
    verdicts: Sequence[Mapping[str, Any]] = ()
    drifted: Sequence[str] = ()
    new_cases: Sequence[str] = ()
    new_patients: int = 0
    served: str = ""
    bundle_made: datetime | None = None
    last_retrained: datetime | None = None
    running: bool = False


@dataclass(frozen=True)
class Reason:
    """One trigger that fired: its name, which models it concerns, one sentence, and what it rests on.

    ``evidence`` is the same as long as nothing new was found out, so that nobody is asked twice for the same.
    """

    trigger: Literal["accuracy", "drift", "new_cases", "new_patients", "schedule"]
    part: Part
    text: str
    evidence: str


@dataclass(frozen=True)
class Decision:
    """What to train again, and why; or why not now.

    Attributes:
        reasons: of the parts to retrain.
        rests: why triggers that fired do not count now.
        served: version of the bundle that was served then.
    """

    reasons: tuple[Reason, ...]
    rests: tuple[str, ...] = ()
    served: str = ""

    def parts(self) -> tuple[Part, ...]:
        """Parts to retrain, in order."""
        return tuple(sorted({reason.part for reason in self.reasons}))

    def tags(self) -> dict[str, str]:
        """Tags of the run, by which the UI shows why it was started."""
        return {
            f"medassets/reason/{reason.part}-{reason.trigger}": reason.text[:255] for reason in self.reasons
        }


def decide(evidence: Evidence, limits: Limits | None = None) -> Decision:
    """Decide whether to retrain."""
    limits = limits or Limits()
    fired = list(_fired(evidence, limits))
    if evidence.bundle_made is None:
        return Decision((), ("no bundle is served yet: `medassets run` makes the first",))
    if evidence.running:
        return Decision((), ("a retraining runs or waits already",) if fired else ())
    last, rest = evidence.last_retrained, timedelta(hours=limits.cool_down_hours)
    if last is None or evidence.now - last >= rest:
        return Decision(tuple(fired), served=evidence.served)
    quick = tuple(reason for reason in fired if reason.trigger == "new_cases")
    waits = tuple(
        f"{reason.trigger} rests until {(last + rest).isoformat(timespec='minutes')}: {reason.text}"
        for reason in fired
        if reason.trigger != "new_cases"
    )
    return Decision(quick, waits, evidence.served)


def _fired(evidence: Evidence, limits: Limits) -> Iterable[Reason]:
    since = evidence.now - timedelta(days=limits.window_days)
    parts: tuple[Part, ...] = ("common", "rare")
    for part in parts:
        recent = [v for v in evidence.verdicts if v["part"] == part and v["predicted_at"] >= since]
        figure = accuracy_of(recent)
        if figure["n"] >= limits.min_labels and figure["high"] < limits.accuracy:
            yield Reason(
                "accuracy",
                part,
                f"accuracy {figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f}), "
                f"n={figure['n']}, {limits.window_days} days: below {limits.accuracy:g}",
                f"{evidence.now:%F}",
            )
    for part in parts:
        names = [name for name in evidence.drifted if name.startswith(part)]
        if len(names) >= limits.drifted:
            yield Reason(
                "drift", part, f"{len(names)} features drifted: {', '.join(names[:5])}", f"{evidence.now:%F}"
            )
    if limits.new_cases and (n := len(evidence.new_cases)) >= limits.new_cases:
        text = f"{n} confirmed cases that the memory does not know"
        yield Reason("new_cases", "rare", text, ",".join(sorted(evidence.new_cases)))
    if limits.new_patients and evidence.new_patients >= limits.new_patients:
        text = f"{evidence.new_patients} confirmed patients to learn from"
        yield Reason("new_patients", "common", text, str(evidence.new_patients))
    made = evidence.bundle_made
    if limits.every_days and made and evidence.now - made >= timedelta(days=limits.every_days):
        text = f"the served bundle is of {made:%F}, at least {limits.every_days} days old"
        yield Reason("schedule", "common", text, f"{evidence.now:%F}")
