"""The loader that MLflow names in each logged model, so that ``mlflow.pyfunc.load_model`` gives it back too.

What belongs here: MLflow's ``_load_pyfunc`` contract. What does not: the models, which know how to load
themselves.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medassets.orchestration.tracking import model_class


def _load_pyfunc(data_path: str) -> Any:
    """Load the model whose class the surrounding MLmodel file names.

    Raises:
        FileNotFoundError: no MLmodel file stands above ``data_path``.
    """
    import mlflow

    for folder in Path(data_path).parents:
        if (folder / "MLmodel").is_file():
            described = mlflow.models.Model.load(str(folder)).metadata or {}
            return model_class(described["class"]).load(Path(data_path))
    raise FileNotFoundError(f"no MLmodel file above {data_path}")
