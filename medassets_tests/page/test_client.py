"""The client tells apart what a person can do something about."""

import httpx
import pytest

from medassets.commands.server import free_port
from medassets.page.client import (
    Api,
    ApiDeniedError,
    ApiError,
    ApiNotReadyError,
    ApiRefusedError,
    ApiUnreachableError,
)


def answering(status, content):
    return Api("http://api", transport=httpx.MockTransport(lambda _: httpx.Response(status, **content)))


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, ApiRefusedError), (401, ApiDeniedError), (403, ApiDeniedError), (503, ApiNotReadyError)],
)
def test_problem_details_become_errors_with_fields(status, kind):
    body = {"errors": [{"field": "age", "message": "too old"}]}
    with pytest.raises(kind) as caught:
        answering(status, {"json": body}).diagnose({})
    assert caught.value.problems == [("age", "too old")] and "too old" in str(caught.value)


def test_a_body_that_is_no_problem_is_an_error_all_the_same():
    with pytest.raises(ApiError, match="status 502"):
        answering(502, {"text": "<html>"}).model_card()


def test_nothing_at_the_address():
    address = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(ApiUnreachableError, match=address):
        Api(address).model_card()


def test_the_real_interface(api_address):
    api = Api(api_address)
    assert api.terms("sezure", "en")[0]["id"] == "HP:0001250"
    answer = api.diagnose({"observed": ["HP:0001250"]})
    assert api.prediction(answer["prediction_id"])["answer"] == answer
    assert (
        api.feedback(answer["prediction_id"], "confirmed", "OMIM:1")["prediction_id"]
        == answer["prediction_id"]
    )
    assert api.next_questions({"evidence": ["E_91"]})["questions"]
