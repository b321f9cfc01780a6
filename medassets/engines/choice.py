"""Which engine an installation uses: ``MEDASSETS_ENGINE``.

What belongs here: the choice. What does not: the engines; those that are not chosen are not imported.
"""

from __future__ import annotations

from medassets.engines.base import Engine
from medassets.settings import Settings


def engine_of(settings: Settings) -> Engine:
    """Give the installation's engine.

    Raises:
        EngineError: its packages are not installed.
    """
    if settings.engine == "ray":
        from medassets.engines.cluster import DaftEngine

        return DaftEngine(address=settings.ray_address)
    if settings.engine == "spark":
        from medassets.engines.spark import SparkEngine

        return SparkEngine()
    from medassets.engines.local import LocalEngine

    return LocalEngine()
