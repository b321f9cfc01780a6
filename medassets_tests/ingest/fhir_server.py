"""A small FHIR server on the loopback interface that serves given resources and can be told to fail."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

Resource = dict


class FhirServer:
    """Serves bulk export and search over ``resources``; ``faults`` says what goes wrong once each.

    A fault is ``(path's beginning, kind)`` with the kinds ``429``, ``503``, ``drop`` (half the body, then the
    connection ends) and ``gone`` (404).
    """

    def __init__(self, resources: list[Resource], page: int = 2) -> None:
        self.resources, self.page = resources, page
        self.faults: list[tuple[str, str]] = []
        self.pending = 2
        self.token: str | None = None
        self.errors: list[Resource] = []
        self.announce: int | None = None
        self.requests: Counter[str] = Counter()
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.base = ""

    def of(self, kind: str) -> list[Resource]:
        return [resource for resource in self.resources if resource["resourceType"] == kind]

    def manifest(self) -> dict:
        kinds = sorted({resource["resourceType"] for resource in self.resources})
        output = [
            {
                "type": kind,
                "url": f"{self.base}/files/{kind}",
                "count": len(self.of(kind)) if self.announce is None else self.announce,
            }
            for kind in kinds
        ]
        errors = [{"type": "OperationOutcome", "url": f"{self.base}/files/errors"}] if self.errors else []
        return {"transactionTime": "2026-01-01T00:00:00Z", "output": output, "error": errors}


def _handler(server: FhirServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            place = urlsplit(self.path)
            server.requests[place.path] += 1
            server.seen.append(("GET", self.path, dict(self.headers)))
            if server.token and self.headers.get("Authorization") != f"Bearer {server.token}":
                return self.answer(401, b"")
            fault = next((f for f in server.faults if place.path.startswith(f[0])), None)
            if fault:
                server.faults.remove(fault)
                if fault[1] in ("429", "503"):
                    return self.answer(int(fault[1]), b"", {"Retry-After": "7"} if fault[1] == "429" else {})
                if fault[1] == "gone":
                    return self.answer(404, b"")
            self.route(place.path, parse_qs(place.query), drop=bool(fault))

        def do_DELETE(self) -> None:
            server.seen.append(("DELETE", self.path, dict(self.headers)))
            self.answer(202, b"")

        def route(self, path: str, query: dict[str, list[str]], drop: bool) -> None:
            if path.endswith("$export"):
                self.answer(202, b"", {"Content-Location": f"{server.base}/status/1"})
            elif path == "/fhir/status/1":
                server.pending -= 1
                if server.pending >= 0:
                    return self.answer(202, b"", {"Retry-After": "3", "X-Progress": "half"})
                self.answer(200, json.dumps(server.manifest()).encode())
            elif path.startswith("/fhir/files/"):
                name = path.rsplit("/", 1)[1]
                held = server.errors if name == "errors" else server.of(name)
                self.file(b"".join(json.dumps(r).encode() + b"\n" for r in held), drop)
            else:
                self.search(path.rsplit("/", 1)[1], query)

        def search(self, kind: str, query: dict[str, list[str]]) -> None:
            start = int(query.get("start", ["0"])[0])
            held = server.of(kind)
            links = [{"relation": "self", "url": self.path}]
            if start + server.page < len(held):
                links.append({"relation": "next", "url": f"{server.base}/{kind}?start={start + server.page}"})
            entries = [
                {"resource": r, "search": {"mode": "match"}} for r in held[start : start + server.page]
            ]
            outcome = {"resource": {"resourceType": "OperationOutcome"}, "search": {"mode": "outcome"}}
            bundle = {
                "resourceType": "Bundle",
                "type": "searchset",
                "link": links,
                "entry": [*entries, outcome],
            }
            self.answer(200, json.dumps(bundle).encode())

        def file(self, body: bytes, drop: bool) -> None:
            asked = self.headers.get("Range")
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            more = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if asked else {}
            self.send_response(206 if asked else 200)
            for name, value in {"Content-Length": str(len(body) - start), **more}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[start : start + (len(body) - start) // 2] if drop else body[start:])
            if drop:
                self.close_connection = True

        def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    return Handler


@contextmanager
def serving(server: FhirServer) -> Iterator[FhirServer]:
    """Serve on a free port of the loopback interface."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(server)) as http:
        server.base = f"http://127.0.0.1:{http.server_address[1]}/fhir"
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
