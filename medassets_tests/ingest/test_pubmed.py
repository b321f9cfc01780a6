"""PubMed: which case reports are kept, that retracted ones are not, and fetching from a server that fails."""

import gzip
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs

import pytest

from medassets.ingest.pubmed import DiseaseNames, read_reports, text_read
from medassets.ingest.pubmed_search import Eutils, eutils_of, fetch_new
from medassets.ingest.quarantine import IngestError
from medassets.ingest.retrying import RetryingClient, ServerError
from medassets.settings import Settings
from medassets_tests.ingest.fixtures_xml import article, article_set, note

NAMES = [
    ("OMIM:154700", "MARFAN SYNDROME; MFS"),
    ("OMIM:163950", "Noonan syndrome 1"),
    ("OMIM:605275", "Noonan syndrome 2"),
    ("OMIM:219700", "Cystic fibrosis"),
]
ABSTRACT = (
    '<AbstractText Label="CASE">A boy with <i>Marfan</i> syndrome.</AbstractText>'
    "<AbstractText>No scoliosis.</AbstractText>"
)
MARFAN = "A boy with Marfan syndrome"


def read(tmp_path, *files: bytes):
    paths = []
    for number, content in enumerate(files):
        paths.append(tmp_path / f"pubmed26n{number:04}.xml.gz")
        paths[-1].write_bytes(gzip.compress(content))
    return read_reports(paths, DiseaseNames(NAMES))


def test_case_reports_of_known_diseases_are_kept(tmp_path):
    got = read(
        tmp_path,
        article_set(
            article("1", "Title", ABSTRACT),
            article("2", MARFAN, "<AbstractText>x</AbstractText>", types=("Review",)),
            article("3", "A common cold", "<AbstractText>Sneezing.</AbstractText>"),
            article("4", MARFAN, None),
            article("x", MARFAN, ABSTRACT),
        ),
    )
    (row,) = got.rows
    assert row["pmid"] == "PMID:1" and row["disease_ids"] == ["OMIM:154700"] and row["year"] == 2019
    assert row["abstract"] == "CASE: A boy with Marfan syndrome.\nNo scoliosis."
    assert text_read(row).startswith("Title\nCASE") and row["language"] == "en"
    assert got.counts == {
        "articles": 5, "case reports": 3, "no abstract": 1, "no disease of the catalogue": 1,
        "retracted": 0, "kept": 1,
    }  # fmt: skip
    assert [r.value for r in got.rejected] == ["x"]


def test_spanish_abstracts_are_read_as_such(tmp_path):
    spanish = (
        '<OtherAbstract Type="Publisher" Language="spa"><AbstractText>Cystic fibrosis (fibrosis quística)'
        "</AbstractText></OtherAbstract>"
    )
    (row,) = read(tmp_path, article_set(article("1", "Caso", None, other=spanish))).rows
    assert row["language"] == "es" and row["disease_ids"] == ["OMIM:219700"]


@pytest.mark.parametrize(
    "later",
    [
        article("1", MARFAN, ABSTRACT, types=("Case Reports", "Retracted Publication")),
        article("1", MARFAN, ABSTRACT, notes=note("RetractionIn", "9")),
        article(
            "9", "Retraction", None, types=("Retraction of Publication",), notes=note("RetractionOf", "1")
        ),
        '<DeleteCitation><PMID Version="1">1</PMID></DeleteCitation>',
        article("1", "Corrected: a boy with a cold", "<AbstractText>x</AbstractText>"),
    ],
    ids=["type", "note", "notice", "deleted", "changed"],
)
def test_what_was_retracted_deleted_or_changed_later_goes(tmp_path, later):
    first = article_set(article("1", MARFAN, ABSTRACT), article("2", MARFAN, ABSTRACT))
    got = read(tmp_path, first, article_set(later))
    assert [row["pmid"] for row in got.rows] == ["PMID:2"]


def test_a_notice_counts_whichever_file_comes_first(tmp_path):
    notice = article("9", "Retraction", None, types=(), notes=note("RetractionOf", "1"))
    assert not read(tmp_path, article_set(notice), article_set(article("1", MARFAN, ABSTRACT))).rows


def test_a_broken_file_is_an_error(tmp_path):
    with pytest.raises(IngestError, match="not well-formed"):
        read(tmp_path, article_set(article("1", MARFAN, ABSTRACT))[:-30])


def test_names_are_found_longest_first_and_whole():
    names = DiseaseNames([*NAMES, ("A", "Marfan"), ("B", "Noonan syndrome 2 with pain"), ("C", "ALS")])
    assert names.find("a marfan-syndrome of old") == ["OMIM:154700"]
    assert names.find("Noonan syndrome") == ["OMIM:163950", "OMIM:605275"]
    assert names.find("Noonan syndrome 2") == ["OMIM:605275"]
    assert names.find("ALS, marfanoid habitus, noonan") == []


class Ncbi:
    """Articles by id, what goes wrong, and what was asked."""

    def __init__(self) -> None:
        self.articles: dict[str, str] = {}
        self.retracted: set[str] = set()
        self.broken = 0
        self.asked: list[tuple[str, dict[str, str]]] = []


@pytest.fixture
def ncbi() -> Iterator[tuple[Ncbi, str]]:
    state = Ncbi()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            asked = {name: values[0] for name, values in parse_qs(body).items()}
            state.asked.append((self.path, asked))
            if state.broken:
                state.broken -= 1
                return self.answer(429, b'{"error":"API rate limit exceeded"}')
            if self.path.endswith("esearch.fcgi"):
                ids = sorted(state.articles)
                if "retracted publication" in asked["term"]:
                    ids = sorted(state.retracted)
                result = {"count": str(len(ids)), "idlist": ids}
                if "everything" in asked["term"]:
                    years = int(asked["maxdate"]) - int(asked["mindate"])
                    result = {"count": "10000" if years else "1", "idlist": [asked["mindate"]]}
                return self.answer(200, json.dumps({"esearchresult": result}).encode())
            ids = asked["id"].split(",")
            self.answer(200, article_set(*(state.articles[i] for i in ids)))

        def answer(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield state, f"http://127.0.0.1:{server.server_address[1]}/entrez/eutils"
        server.shutdown()
        thread.join()


def test_new_articles_are_fetched_once_and_retracted_ones_again(ncbi, tmp_path):
    state, url = ncbi
    state.articles = {str(i): article(str(i), MARFAN, ABSTRACT) for i in range(1, 204)}
    waits: list[float] = []
    eutils = Eutils(RetryingClient(url, sleep=waits.append), {"api_key": "k", "tool": "medassets"})
    state.broken = 2
    assert len(fetch_new(eutils, ["marfan[tiab]"], tmp_path)) == 2 and waits == [1.0, 2.0]
    assert all(asked["api_key"] == "k" for _, asked in state.asked)
    assert "(marfan[tiab]) AND case reports" in state.asked[0][1]["term"]
    assert fetch_new(eutils, ["marfan[tiab]"], tmp_path) == []
    state.articles["5"] = article("5", MARFAN, ABSTRACT, types=("Case Reports", "Retracted Publication"))
    state.retracted = {"5"}
    assert len(fetch_new(eutils, ["marfan[tiab]"], tmp_path)) == 1
    got = read_reports(tmp_path.glob("*.xml"), DiseaseNames(NAMES))
    assert len(got.rows) == 202 and got.counts["retracted"] == 1
    assert fetch_new(eutils, ["marfan[tiab]"], tmp_path) == []


def test_an_interrupted_fetch_goes_on(ncbi, tmp_path):
    state, url = ncbi
    state.articles = {str(i): article(str(i), MARFAN, ABSTRACT) for i in range(1, 202)}
    eutils = Eutils(RetryingClient(url, sleep=lambda seconds: None))
    whole, calls = eutils.fetch, []

    def breaks(ids):
        calls.append(len(ids))
        if len(calls) == 2:
            raise ServerError("broken off")
        return whole(ids)

    eutils.fetch = breaks
    with pytest.raises(ServerError, match="broken off"):
        fetch_new(eutils, ["marfan"], tmp_path)
    assert len(fetch_new(eutils, ["marfan"], tmp_path)) == 1 and calls == [200, 1, 1]


def test_a_query_that_finds_too_much_is_split_by_year(ncbi):
    _, url = ncbi
    found = Eutils(RetryingClient(url)).ids("everything", 2020, 2023)
    assert found == ["2020", "2021", "2022", "2023"]


def test_wrong_answers_are_errors(ncbi, tmp_path):
    _, url = ncbi
    eutils = Eutils(RetryingClient(url))
    eutils.client.request = lambda *a, **k: type("A", (), {"content": b"<html>busy</html>", "json": dict})()
    with pytest.raises(ServerError, match="no whole PubmedArticleSet"):
        eutils.fetch(["1"])
    with pytest.raises(ServerError, match="no search result"):
        eutils.ids("x")


@pytest.mark.parametrize("key, rate", [(None, 3.0), ("abc", 10.0)])
def test_the_rate_is_ncbis(key, rate, tmp_path):
    made = eutils_of(Settings(home=tmp_path, ncbi_api_key=key, ncbi_email="a@b.org", _env_file=None))
    assert made.client.per_second == rate and made.common["email"] == "a@b.org"
    assert ("api_key" in made.common) == bool(key)
