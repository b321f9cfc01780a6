"""A server that speaks enough of MongoDB's wire protocol for the document store, over a dictionary.

It answers what the store asks for (hello, ping, replace, delete, find by id, all in order, count, names)
and refuses the rest. It shows that the client's calls are right, not that a MongoDB server does as it should.
Protocol: https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/
"""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import bson

_QUERY, _REPLY, _MESSAGE = 2004, 1, 2013
_HELLO = {
    "ismaster": True,
    "helloOk": True,
    "maxBsonObjectSize": 1 << 24,
    "maxMessageSizeBytes": 48_000_000,
    "maxWriteBatchSize": 100_000,
    "minWireVersion": 0,
    "maxWireVersion": 21,
    "readOnly": False,
}


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        while head := self.rfile.read(16):
            size, number, _, kind = struct.unpack("<iiii", head)
            body = self.rfile.read(size - 16)
            if kind == _QUERY:
                command = bson.decode(body[body.index(b"\0", 4) + 9 :])
                answer = struct.pack("<iqii", 8, 0, 0, 1) + bson.encode(self.server.answer(command))
                self._send(answer, number, _REPLY)
            else:
                answer = struct.pack("<iB", 0, 0) + bson.encode(self.server.answer(_command(body)))
                self._send(answer, number, _MESSAGE)

    def _send(self, content: bytes, number: int, kind: int) -> None:
        self.wfile.write(struct.pack("<iiii", 16 + len(content), 0, number, kind) + content)


def _command(body: bytes) -> dict[str, Any]:
    """Read the sections of a message: the command, and documents beside it."""
    at = 4
    found: dict[str, Any] = {}
    while at < len(body):
        kind, size = body[at], struct.unpack_from("<i", body, at + 1)[0]
        section = body[at + 1 : at + 1 + size]
        if kind == 0:
            found |= bson.decode(section)
        else:
            end = section.index(b"\0", 4)
            found[section[4:end].decode()] = bson.decode_all(section[end + 1 :])
        at += 1 + size
    return found


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.held: dict[str, dict[str, Any]] = {}

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        name = next(iter(command))
        if name in ("hello", "ismaster", "ping", "endSessions"):
            return {**_HELLO, "ok": 1.0}
        if name == "update":
            for change in command["updates"]:
                self.held.setdefault(command["update"], {})[change["q"]["_id"]] = change["u"]
            return {"n": 1, "nModified": 1, "ok": 1.0}
        if name == "delete":
            gone = [self.held.get(command["delete"], {}).pop(d["q"]["_id"], None) for d in command["deletes"]]
            return {"n": sum(document is not None for document in gone), "ok": 1.0}
        if name == "find":
            rows = self.held.get(command["find"], {})
            wanted = command.get("filter", {}).get("_id")
            return _batch([rows[key] for key in sorted(rows) if wanted in (None, key)])
        if name == "listCollections":
            return _batch([{"name": key, "type": "collection"} for key in self.held])
        if name == "aggregate":
            return _batch([{"_id": 1, "n": len(self.held.get(command["aggregate"], {}))}])
        return {"ok": 0.0, "errmsg": f"no such command: {name}", "code": 59}


def _batch(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"cursor": {"id": bson.Int64(0), "ns": "x.y", "firstBatch": rows}, "ok": 1.0}


@contextmanager
def serving() -> Iterator[str]:
    """Address of a server with nothing in it, while the block runs."""
    with _Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"mongodb://127.0.0.1:{server.server_address[1]}/records"
        server.shutdown()
