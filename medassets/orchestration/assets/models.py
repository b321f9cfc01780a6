"""Models: each learned from the training part only, kept in the MLflow registry, passed on as itself.

What belongs here: calling the learners. What does not: the learners (``learners``), and what they may read
(``orchestration.training``).
"""

from collections.abc import Callable
from typing import Any

import dagster as dg

from medassets.orchestration.inputs import describe, ins, tags
from medassets.orchestration.tracking import MlflowTracking
from medassets.orchestration.training import (
    COMMON_INPUTS,
    LEARNING_SETTINGS,
    RARE_INPUTS,
    WithOntology,
    common_config,
    common_data,
    few_shot_config,
    interview_data,
    rare_data,
)
from medassets.settings import Settings

#: Base learner of common conditions to (its library, what it is).
COMMON_BASES = {
    "naive_bayes": (
        "numpy",
        "Naive Bayes over the reference figures and the training part: the line to beat.",
    ),
    "boosting": ("xgboost", "Gradient-boosted trees over the evidence matrix."),
    "forest": ("scikitlearn", "A random forest over the evidence matrix."),
    "network": ("pytorch", "A neural network with embeddings of categorical evidence."),
}


def _model(
    name: str, domain: str, kind: str, inputs: dict[str, dg.AssetIn]
) -> Callable[..., dg.AssetsDefinition]:
    """Declare a model asset."""
    made: Callable[..., dg.AssetsDefinition] = dg.asset(
        key=["models", name],
        ins=inputs,
        io_manager_key="model_io_manager",
        code_version="1",
        kinds={"mlflow", kind},
        tags=tags(domain, "cpu"),
        metadata=describe(settings=LEARNING_SETTINGS),
    )
    return made


@dg.asset(
    key=["models", "common_study"],
    ins=COMMON_INPUTS,
    io_manager_key="model_io_manager",
    code_version="1",
    kinds={"mlflow", "optuna"},
    tags=tags("common", "cpu"),
    metadata=describe(settings=(*LEARNING_SETTINGS, "study_engine", "study_trials")),
)
def common_study(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    tracking: MlflowTracking,
    **inputs: Any,
) -> Any:
    """Search the base models' settings; the full profile trains by them, the quick one only records."""
    from medassets.orchestration.studies import search

    data = common_data(inputs, settings).training
    return search(data, common_config(settings), settings.studies_uri, tracking, context)


def _common_base(base: str) -> dg.AssetsDefinition:
    kind, text = COMMON_BASES[base]
    # Naive Bayes has nothing to search.
    above = COMMON_INPUTS if base == "naive_bayes" else {**COMMON_INPUTS, **ins("models/common_study")}

    def train(settings: dg.ResourceParam[Settings], **inputs: Any) -> Any:
        from medassets.orchestration.studies import train_by

        return train_by(inputs.get("common_study"), base, common_data(inputs, settings).training, settings)

    train.__doc__ = f"{text} Out-of-fold predictions go with it, for the ensemble."
    return _model(f"common_{base}", "common", kind, above)(train)


common_naive_bayes, common_boosting, common_forest, common_network = map(_common_base, COMMON_BASES)


@_model(
    "common_ensemble",
    "common",
    "onnx",
    {**COMMON_INPUTS, **ins(*(f"models/common_{base}" for base in COMMON_BASES))},
)
def common_ensemble(settings: dg.ResourceParam[Settings], **inputs: Any) -> Any:
    """Stack the base models on their out-of-fold predictions, calibrate, and set conformal thresholds."""
    from medassets.learners.common.ensemble import CommonEnsemble

    bases = {base: inputs[f"common_{base}"] for base in COMMON_BASES}
    return CommonEnsemble.fit(bases, common_data(inputs, settings).training, common_config(settings))


@_model("common_inquiry", "common", "numpy", COMMON_INPUTS)
def common_inquiry(settings: dg.ResourceParam[Settings], **inputs: Any) -> Any:
    """Learn which question tells most, and when to stop asking."""
    from medassets.serving.inquiry_build import fit_inquiry

    knowledge, patients = interview_data(inputs)
    return fit_inquiry(knowledge, patients, seed=settings.seed)


@_model("rare_likelihood", "rare", "numpy", RARE_INPUTS)
def rare_likelihood(**inputs: Any) -> Any:
    """Likelihood ratios over the annotations, updated by the known cases."""
    from medassets.learners.rare.likelihood import RareLikelihood

    data = rare_data(inputs)
    return RareLikelihood(use_cases=True).fit(data.clean_knowledge, data.train)


@_model("rare_prototypes", "rare", "pytorch", RARE_INPUTS)
def rare_prototypes(settings: dg.ResourceParam[Settings], **inputs: Any) -> WithOntology:
    """A prototypical network: zero-shot prototypes from annotations, moved by each known case."""
    from medassets.learners.rare.prototypical import PrototypicalNetwork

    data = rare_data(inputs)
    model = PrototypicalNetwork(few_shot_config(settings)).fit(data.clean_knowledge, data.train)
    return WithOntology(model, data.ontology)


@_model("rare_siamese", "rare", "pytorch", RARE_INPUTS)
def rare_siamese(settings: dg.ResourceParam[Settings], **inputs: Any) -> WithOntology:
    """A Siamese network of patients: how alike two people's findings are."""
    from medassets.learners.rare.siamese import SiameseNetwork

    data = rare_data(inputs)
    model = SiameseNetwork(few_shot_config(settings)).fit(data.clean_knowledge, data.train)
    return WithOntology(model, data.ontology)


@_model("rare_maml", "rare", "pytorch", RARE_INPUTS)
def rare_maml(settings: dg.ResourceParam[Settings], **inputs: Any) -> WithOntology:
    """Second-order MAML over disease episodes: a few gradient steps turn it towards a new disease."""
    from medassets.learners.rare.maml import MAML

    data = rare_data(inputs)
    return WithOntology(MAML(few_shot_config(settings)).fit(data.clean_knowledge, data.train), data.ontology)


@_model("rare_transfer", "rare", "pytorch", {**RARE_INPUTS, **ins("models/rare_prototypes")})
def rare_transfer(settings: dg.ResourceParam[Settings], **inputs: Any) -> WithOntology:
    """Prototypes that borrow from the cases of related diseases, as far as that helps in training."""
    from medassets.learners.rare.transfer import TransferPrototypes

    data, network = rare_data(inputs), inputs["rare_prototypes"].model
    model = TransferPrototypes(few_shot_config(settings), network=network).fit(
        data.clean_knowledge, data.train
    )
    return WithOntology(model, data.ontology)


@_model("rare_ranker", "rare", "pytorch", RARE_INPUTS)
def rare_ranker(settings: dg.ResourceParam[Settings], **inputs: Any) -> Any:
    """One calibrated score for every candidate, learned on episodes of held-out publications."""
    from medassets.learners.rare.ranker import RankerConfig, RareRanker

    data = rare_data(inputs)
    config = (
        RankerConfig.quick(settings.seed) if settings.profile == "quick" else RankerConfig.full(settings.seed)
    )
    return RareRanker(config).fit(data.clean_knowledge, data.train)
