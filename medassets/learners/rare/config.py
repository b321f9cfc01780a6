"""The budget of few-shot learning: one class, two settings, and a record of which one was run.

What belongs here: numbers of episodes, shots, steps and the sizes of the learned vectors. What does not:
constants of the arithmetic, which live beside it.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator


class FewShotConfig(BaseModel):
    """What a fit may spend. Immutable; ``metadata`` goes into the registry with the model.

    Raises:
        pydantic.ValidationError: a value is out of range; the message names it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: Literal["quick", "full", "custom"] = "custom"
    seed: int = 20260101
    threads: PositiveInt = 1
    dimension: PositiveInt = Field(256, description="length of an encoded patient")
    encoder_steps: PositiveInt = Field(
        200, description="gradient steps of the contrastive and prototypical encoders"
    )
    queries: PositiveInt = Field(160, description="query cases in one retrieval step")
    max_support: PositiveInt = Field(10, description="most known cases of a disease that one step shows")
    negatives: PositiveInt = Field(
        700, description="diseases without a case that one prototypical step adds as rivals"
    )
    inner_folds: int = Field(
        5, ge=2, description="publication folds that queries are drawn from while training"
    )
    dropout: float = Field(
        0.4, ge=0, lt=1, description="share of findings hidden from a query while training"
    )
    episodes_per_disease: PositiveInt = Field(
        100, description="evaluation and meta-training episodes for each disease"
    )
    min_support: PositiveInt = 5
    max_episode_support: PositiveInt = 10
    min_query: PositiveInt = 15
    max_query: PositiveInt = 20
    way: int = Field(20, ge=2, description="diseases in one meta-training episode")
    meta_iterations: PositiveInt = Field(10_000, description="outer steps of MAML")
    meta_batch: PositiveInt = Field(2, description="episodes in one outer step")
    inner_steps: PositiveInt = Field(3, description="gradient steps inside an episode")
    inner_rate: float = Field(2.0, gt=0, description="step size inside an episode")
    synthesis_families: PositiveInt = Field(
        20, description="disease families that CTGAN and copula are fitted to"
    )
    synthesis_epochs: PositiveInt = Field(300, description="epochs of one CTGAN")

    @model_validator(mode="after")
    def _ordered(self) -> FewShotConfig:
        for low, high in (("min_support", "max_episode_support"), ("min_query", "max_query")):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} {getattr(self, low)} is above {high} {getattr(self, high)}")
        return self

    @classmethod
    def full(cls, **changes: Any) -> FewShotConfig:
        """Return the full setting: 100 episodes a disease, support 5 to 10, query 15 to 20, 10,000 steps."""
        return cls(**{"profile": "full", "encoder_steps": 400, "dimension": 256} | changes)

    @classmethod
    def quick(cls, **changes: Any) -> FewShotConfig:
        """Return a setting for a first run: every method within about a minute on one thread."""
        small = {
            "profile": "quick",
            "encoder_steps": 150,
            "dimension": 192,
            "episodes_per_disease": 5,
            "meta_iterations": 100,
            "synthesis_families": 2,
            "synthesis_epochs": 20,
        }
        return cls(**small | changes)

    @classmethod
    def of_profile(cls, profile: str, **changes: Any) -> FewShotConfig:
        """Return the setting that ``Settings.profile`` names.

        Raises:
            ValueError: the profile is neither quick nor full.
        """
        if profile not in ("quick", "full"):
            raise ValueError(f"profile {profile!r} is unknown: allowed are quick and full")
        return cls.full(**changes) if profile == "full" else cls.quick(**changes)

    @property
    def metadata(self) -> dict[str, Any]:
        """Every value, so that a report can say what was run."""
        return self.model_dump()
