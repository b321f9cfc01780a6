"""The loader that MLflow names in each logged model, so that ``mlflow.pyfunc.load_model`` gives it back too.

What belongs here: MLflow's ``_load_pyfunc`` contract. What does not: the models, which know how to load
themselves.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medassets.orchestration.tracking import model_class


class LoadedModel:
    """A model of the graph behind MLflow's ``predict``; ``model`` is the object itself."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Predict or score, whichever the model does.

        Raises:
            TypeError: the model does neither.
        """
        for name in ("predict", "predict_proba", "score"):
            if hasattr(self.model, name):
                return getattr(self.model, name)(model_input, **(params or {}))
        raise TypeError(f"{type(self.model).__name__} neither predicts nor scores")


def _load_pyfunc(data_path: str) -> LoadedModel:
    """Load the model whose class the surrounding MLmodel file names.

    Raises:
        FileNotFoundError: no MLmodel file stands above ``data_path``.
    """
    import mlflow

    for folder in Path(data_path).parents:
        if (folder / "MLmodel").is_file():
            described = mlflow.models.Model.load(str(folder)).metadata or {}
            return LoadedModel(model_class(described["class"]).load(Path(data_path)))
    raise FileNotFoundError(f"no MLmodel file above {data_path}")
