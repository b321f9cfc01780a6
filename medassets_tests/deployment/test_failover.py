"""Two APIs behind HAProxy, PostgreSQL with a standby: what is killed is replaced, no answer is lost."""

import sys

import pytest

from benchmarks.failover import drill

pytestmark = pytest.mark.servers


def test_an_api_and_the_primary_are_killed_and_no_answer_is_lost(tmp_path):
    def serve(port: int) -> list[str]:
        module = "medassets_tests.deployment.small_service"
        return [sys.executable, "-m", module, str(port), str(tmp_path / str(port))]

    found = drill(serve, {}, seconds=1.5)
    assert found.lost == 0 and found.answered > 20
    assert found.entries >= found.answered, (
        "an answer that did not leave may be kept, never the other way round"
    )
    assert found.gaps["api"] < 5
    assert found.promoted < 15 and found.gaps["primary"] < 20
