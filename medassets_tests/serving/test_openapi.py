"""The service asked whatever its own OpenAPI document allows, and what it does not (schemathesis).

Every documented operation is called with generated bodies, queries and paths, in process. Left out is one
check: that each request of the right form is answered. A well-formed term may be unknown, and is refused
with 400.
"""

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import CHECKS, load_all_checks

from medassets.serving.access import KeyRing
from medassets.serving.http import create_app

pytestmark = pytest.mark.integration


class Door:
    """Desk and keys of the test that runs: the document is read before there is one."""

    desk = ring = None

    def check(self, token, right):
        return self.ring.check(token, right)

    def holder(self, token):
        return self.ring.holder(token)


DOOR = Door()
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", create_app(lambda: DOOR.desk, DOOR))
load_all_checks()
LEFT_OUT = [CHECKS.get_one("positive_data_acceptance")]


@pytest.fixture
def headers(desk, tmp_path):
    DOOR.desk, DOOR.ring = desk, KeyRing(tmp_path / "keys.json")
    return {role: f"Bearer {DOOR.ring.add('x', role)[1]}" for role in ("clinician", "auditor", "service")}


@SCHEMA.parametrize()
@settings(
    max_examples=15,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.filter_too_much,
        HealthCheck.too_slow,
    ],
)
def test_no_server_error_and_no_undocumented_answer(case, headers):
    case.call_and_validate(headers={"Authorization": headers["clinician"]}, excluded_checks=LEFT_OUT)
