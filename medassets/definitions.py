"""What Dagster loads: the definitions of the installation that the environment describes."""

from medassets.orchestration.build import build_definitions
from medassets.settings import Settings

defs = build_definitions(Settings())
