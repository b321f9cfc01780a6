"""Settings of the common-condition learners: one class, two profiles.

What belongs here: every number that a site may change about training. What does not: where data lie
(``medassets.settings``) and constants that belong to a method.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

Mix = Literal["both", "records", "simulated"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NaiveBayesConfig(_Frozen):
    """Smoothing of the likelihood tables; weights are in patients."""

    error_rates: tuple[float, ...] = Field(
        default=(0.001, 0.02, 0.08),
        min_length=1,
        description="chances that an answer is wrong; the answers tell which",
    )
    reference_weight: float = Field(
        default=1000.0, gt=0, description="how many patients the reference figures count for"
    )
    value_weight: float = Field(
        default=2.0, gt=0, description="shrinkage of values towards all conditions together"
    )
    level_width: float = Field(
        default=1.0, gt=0, description="smoothing of degrees over their neighbours, in degrees"
    )
    age_width: float = Field(default=8.0, gt=0, description="smoothing of ages, in years")
    person_weight: float = Field(default=100.0, gt=0, description="shrinkage of age and sex")


class BoostingConfig(_Frozen):
    """XGBoost, histogram trees."""

    rounds: PositiveInt = 30
    depth: PositiveInt = 4
    learning_rate: float = Field(default=0.3, gt=0, le=1)
    subsample: float = Field(default=0.7, gt=0, le=1)
    columns: float = Field(default=0.3, gt=0, le=1, description="share of columns a tree sees")
    min_child_weight: float = Field(default=0.5, ge=0)
    l2: float = Field(default=1.0, ge=0)


class ForestConfig(_Frozen):
    """Random forest."""

    trees: PositiveInt = 80
    min_leaf: PositiveInt = 2
    max_leaves: PositiveInt = Field(default=1500, description="bounds the exported model's size and time")
    columns: float | Literal["sqrt"] = "sqrt"


class NetworkConfig(_Frozen):
    """Wide-and-deep network over embedded answers."""

    width: PositiveInt = Field(default=96, description="size of an answer's embedding")
    hidden: PositiveInt = 96
    dropout: float = Field(default=0.2, ge=0, lt=1)
    epochs: PositiveInt = 5
    batch: PositiveInt = 256
    learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=1e-3, ge=0)


class DifferentialConfig(_Frozen):
    """The head that is trained on reference differentials."""

    rounds: PositiveInt = 80
    mass_rounds: PositiveInt = 40
    depth: PositiveInt = 5
    learning_rate: float = Field(default=0.15, gt=0, le=1)
    columns: float = Field(default=0.8, gt=0, le=1)
    subsample: float = Field(default=0.8, gt=0, le=1)
    min_child_weight: float = Field(default=0.3, ge=0)
    l2: float = Field(default=0.3, ge=0)
    softness: float = Field(default=4.0, ge=1, description="temperature where no reference exists")


class TuningConfig(_Frozen):
    """Which models are searched, and the budget of each one's study."""

    models: tuple[Literal["boosting", "forest", "network"], ...] = ("boosting",)
    rows_per_condition: PositiveInt = Field(default=4, description="training rows that a study looks at")
    apply: bool = Field(default=False, description="train with what the study found; else only record it")
    trials: PositiveInt = 2
    timeout_s: PositiveInt = 60
    engine: Literal["optuna", "ray"] = "optuna"
    startup_trials: PositiveInt = Field(default=2, description="trials before pruning begins")


class CommonConfig(_Frozen):
    """Everything about training the common-condition ensemble."""

    seed: int = 20260101
    threads: PositiveInt = 2
    folds: int = Field(default=5, ge=2)
    mix: Mix = Field(default="both", description="train on records, on simulated patients, or on both")
    records_per_condition: PositiveInt = Field(
        default=150, description="most records of a condition that training uses"
    )
    simulated_per_condition: PositiveInt = Field(
        default=40, description="mean of simulated rows added to records; twice as many where there are none"
    )
    copies: int = Field(default=2, ge=0, description="corrupted copies of each row, beside the row itself")
    max_unknown: float = Field(
        default=0.6, ge=0, lt=1, description="corrupted copies hide up to this share of answers"
    )
    max_wrong: float = Field(default=0.12, ge=0, lt=0.5, description="and falsify up to this share")
    coverage: float = Field(default=0.95, gt=0.5, lt=1, description="nominal coverage of the conformal sets")
    min_support: PositiveInt = Field(
        default=5, description="fewest rows with a value for its column to be kept"
    )
    naive_bayes: NaiveBayesConfig = NaiveBayesConfig()
    boosting: BoostingConfig = BoostingConfig()
    forest: ForestConfig = ForestConfig()
    network: NetworkConfig = NetworkConfig()
    differential: DifferentialConfig = DifferentialConfig()
    tuning: TuningConfig = TuningConfig()

    @classmethod
    def quick(cls, *, seed: int = 20260101, threads: int = 2) -> CommonConfig:
        """Minutes on two cores."""
        return cls(seed=seed, threads=threads)

    @classmethod
    def full(cls, *, seed: int = 20260101, threads: int = 2) -> CommonConfig:
        """Up to an hour on two cores, the study included."""
        return cls(
            seed=seed,
            threads=threads,
            records_per_condition=1000,
            simulated_per_condition=200,
            copies=3,
            boosting=BoostingConfig(rounds=120, learning_rate=0.15),
            forest=ForestConfig(trees=200),
            network=NetworkConfig(epochs=20, width=128, hidden=128),
            tuning=TuningConfig(
                models=("boosting", "forest", "network"),
                rows_per_condition=60,
                apply=True,
                trials=30,
                timeout_s=600,
                startup_trials=6,
            ),
        )
