"""A server that speaks MongoDB's wire protocol in front of mongomock_ng: MongoDB for tests, no mongod needed.

It listens on 127.0.0.1, keeps everything in memory and runs one command at a time. Reuse:

    from tests.stores.mongo_server import MongoServer
    with MongoServer() as server:
        pymongo.MongoClient(server.uri)

`with server.down():` is a server that has crashed; what it held is there again afterwards.
or, as a process of its own, ``python tests/stores/mongo_server.py PORT``.
Protocol: https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import socketserver
import struct
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import bson
import mongomock_ng
from bson.codec_options import CodecOptions
from pymongo.errors import BulkWriteError, DuplicateKeyError

OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
_TZ_NAIVE: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=False)


class CommandError(Exception):
    def __init__(self, code: int, name: str, message: str) -> None:
        super().__init__(message)
        self.code, self.name = code, name


class Commands:
    """MongoDB's commands on a mongomock_ng client; the method of a command bears its name in lower case."""

    def __init__(self) -> None:
        self.client = mongomock_ng.MongoClient()
        self._cursors: dict[int, tuple[str, list[dict[str, Any]]]] = {}
        self._numbers = itertools.count(1)

    def run(self, command: dict[str, Any]) -> dict[str, Any]:
        name = next(iter(command))
        method = getattr(self, f"_{name.lower()}", None)
        if method is None:
            return _failure(CommandError(59, "CommandNotFound", f"no such command: '{name}'"))
        try:
            return {**method(command[name], command, self.client[command.get("$db", "admin")]), "ok": 1.0}
        except CommandError as error:
            return _failure(error)
        except DuplicateKeyError as error:
            return _failure(CommandError(11000, "DuplicateKey", str(error)))
        except Exception as error:  # noqa: BLE001  a server answers whatever happens
            return _failure(CommandError(getattr(error, "code", None) or 2, "BadValue", str(error)))

    def _hello(self, value: Any, command: dict[str, Any], db: Any) -> dict[str, Any]:
        return {
            "ismaster": True,
            "isWritablePrimary": True,
            "helloOk": True,
            "maxBsonObjectSize": 16 * 2**20,
            "maxMessageSizeBytes": 48_000_000,
            "maxWriteBatchSize": 100_000,
            "localTime": datetime.now(UTC),
            "logicalSessionTimeoutMinutes": 30,
            "connectionId": 1,
            "minWireVersion": 0,
            "maxWireVersion": 17,
            "readOnly": False,
        }

    _ismaster = _hello

    def _ping(self, value: Any, command: dict[str, Any], db: Any) -> dict[str, Any]:
        return {}

    _endsessions = _killcursors = _aborttransaction = _committransaction = _ping

    def _buildinfo(self, value: Any, command: dict[str, Any], db: Any) -> dict[str, Any]:
        return {"version": "6.0.0", "versionArray": [6, 0, 0, 0], "maxBsonObjectSize": 16 * 2**20}

    def _serverstatus(self, value: Any, command: dict[str, Any], db: Any) -> dict[str, Any]:
        return {"host": "127.0.0.1", "version": "6.0.0", "process": "mongod"}

    def _cursor(self, namespace: str, documents: list[dict[str, Any]], size: int | None) -> dict[str, Any]:
        first, rest = documents[: size or 101], documents[size or 101 :]
        number = 0
        if rest:
            number = next(self._numbers)
            self._cursors[number] = (namespace, rest)
        return {"cursor": {"id": bson.Int64(number), "ns": namespace, "firstBatch": first}}

    def _getmore(self, number: int, command: dict[str, Any], db: Any) -> dict[str, Any]:
        if number not in self._cursors:
            raise CommandError(43, "CursorNotFound", f"cursor id {number} not found")
        namespace, documents = self._cursors.pop(number)
        size = command.get("batchSize") or 1000
        if documents[size:]:
            self._cursors[number] = (namespace, documents[size:])
        left = number if documents[size:] else 0
        return {"cursor": {"id": bson.Int64(left), "ns": namespace, "nextBatch": documents[:size]}}

    def _find(self, name: str, command: dict[str, Any], db: Any) -> dict[str, Any]:
        cursor = db[name].find(
            command.get("filter") or {},
            command.get("projection") or None,
            sort=list(command["sort"].items()) if command.get("sort") else None,
            skip=command.get("skip", 0),
            limit=abs(command.get("limit", 0)),
        )
        return self._cursor(f"{db.name}.{name}", list(cursor), command.get("batchSize"))

    def _aggregate(self, name: Any, command: dict[str, Any], db: Any) -> dict[str, Any]:
        documents = list(db[name].aggregate(command["pipeline"]))
        return self._cursor(f"{db.name}.{name}", documents, (command.get("cursor") or {}).get("batchSize"))

    def _count(self, name: str, command: dict[str, Any], db: Any) -> dict[str, Any]:
        return {"n": db[name].count_documents(command.get("query") or {})}

    def _distinct(self, name: str, command: dict[str, Any], db: Any) -> dict[str, Any]:
        return {"values": db[name].distinct(command["key"], command.get("query") or {})}

    def _insert(self, name: str, command: dict[str, Any], db: Any) -> dict[str, Any]:
        try:
            db[name].insert_many(command["documents"], ordered=command.get("ordered", True))
        except BulkWriteError as error:
            errors = [
                {"index": e["index"], "code": 11000, "errmsg": str(e.get("errmsg", e))}
                for e in error.details["writeErrors"]
            ]
            return {"n": error.details["nInserted"], "writeErrors": errors}
        return {"n": len(command["documents"])}

    def _update(self, name: str, command: dict[str, Any], db: Any) -> dict[str, Any]:
        matched, modified, upserted, errors = 0, 0, [], []
        for index, update in enumerate(command["updates"]):
            change, upsert = update["u"], update.get("upsert", False)
            try:
                if isinstance(change, dict) and not any(field.startswith("$") for field in change):
                    result = db[name].replace_one(update["q"], change, upsert=upsert)
                else:
                    many = update.get("multi", False)
                    method = db[name].update_many if many else db[name].update_one
                    result = method(
                        update["q"], change, upsert=upsert, array_filters=update.get("arrayFilters")
                    )
            except DuplicateKeyError as error:
                errors.append({"index": index, "code": 11000, "errmsg": str(error)})
                if command.get("ordered", True):
                    break
                continue
            modified += result.modified_count
            matched += result.matched_count
            if result.upserted_id is not None:
                upserted.append({"index": index, "_id": result.upserted_id})
        reply: dict[str, Any] = {"n": matched + len(upserted), "nModified": modified}
        return (
            reply | ({"upserted": upserted} if upserted else {}) | ({"writeErrors": errors} if errors else {})
        )

    def _delete(self, name: str, command: dict[str, Any], db: Any) -> dict[str, Any]:
        removed = 0
        for delete in command["deletes"]:
            method = db[name].delete_one if delete.get("limit") else db[name].delete_many
            removed += method(delete["q"]).deleted_count
        return {"n": removed}

    def _findandmodify(self, name: str, command: dict[str, Any], db: Any) -> dict[str, Any]:
        sort = list(command["sort"].items()) if command.get("sort") else None
        query, fields = command.get("query") or {}, command.get("fields")
        if command.get("remove"):
            value = db[name].find_one_and_delete(query, projection=fields, sort=sort)
            return {"value": value, "lastErrorObject": {"n": int(value is not None)}}
        change = command["update"]
        replace = isinstance(change, dict) and not any(field.startswith("$") for field in change)
        method = db[name].find_one_and_replace if replace else db[name].find_one_and_update
        value = method(
            query,
            change,
            projection=fields,
            sort=sort,
            upsert=command.get("upsert", False),
            return_document=bool(command.get("new", False)),
        )
        return {
            "value": value,
            "lastErrorObject": {"n": int(value is not None), "updatedExisting": value is not None},
        }

    def _createindexes(self, name: str, command: dict[str, Any], db: Any) -> dict[str, Any]:
        for index in command["indexes"]:
            options = {key: index[key] for key in ("unique", "name", "sparse") if key in index}
            db[name].create_index(list(index["key"].items()), **options)
        return {"numIndexesAfter": len(db[name].index_information())}

    def _listindexes(self, name: str, command: dict[str, Any], db: Any) -> dict[str, Any]:
        indexes = [
            {
                "v": 2,
                "name": key,
                "key": dict(info["key"]),
                **({"unique": True} if info.get("unique") else {}),
            }
            for key, info in db[name].index_information().items()
        ]
        return self._cursor(f"{db.name}.{name}", indexes, None)

    def _dropindexes(self, name: str, command: dict[str, Any], db: Any) -> dict[str, Any]:
        if command["index"] == "*":
            db[name].drop_indexes()
        else:
            db[name].drop_index(command["index"])
        return {}

    def _listcollections(self, value: Any, command: dict[str, Any], db: Any) -> dict[str, Any]:
        named = [{"name": name, "type": "collection", "options": {}} for name in db.list_collection_names()]
        wanted = (command.get("filter") or {}).get("name")
        return self._cursor(f"{db.name}.$cmd", [c for c in named if wanted in (None, c["name"])], None)

    def _listdatabases(self, value: Any, command: dict[str, Any], db: Any) -> dict[str, Any]:
        return {"databases": [{"name": name, "empty": False} for name in self.client.list_database_names()]}

    def _drop(self, name: str, command: dict[str, Any], db: Any) -> dict[str, Any]:
        db.drop_collection(name)
        return {}

    def _dropdatabase(self, value: Any, command: dict[str, Any], db: Any) -> dict[str, Any]:
        self.client.drop_database(db.name)
        return {}


def _failure(error: CommandError) -> dict[str, Any]:
    return {"ok": 0.0, "errmsg": str(error), "code": error.code, "codeName": error.name}


class _Handler(socketserver.BaseRequestHandler):
    server: MongoServer

    def setup(self) -> None:
        self.server.connections.add(self.request)
        self.start = self.server.starts

    def finish(self) -> None:
        self.server.connections.discard(self.request)

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            self._serve()

    def _serve(self) -> None:
        while header := self._read(16):
            length, request, _, code = struct.unpack("<iiii", header)
            body = self._read(length - 16)
            if code == OP_QUERY:  # only the first greeting still comes this way
                start = body.index(b"\x00", 4) + 9
                reply = self._run(bson.decode(body[start:], _TZ_NAIVE))
                data = struct.pack("<iqii", 8, 0, 0, 1) + bson.encode(reply)
                self._send(request, OP_REPLY, data)
            elif code == OP_MSG:
                flags, command = self._message(body)
                reply = self._run(command)
                if not flags & 2:  # moreToCome: the client wants no answer
                    self._send(request, OP_MSG, struct.pack("<IB", 0, 0) + bson.encode(reply))
            else:
                return

    def _run(self, command: dict[str, Any]) -> dict[str, Any]:
        with self.server.lock:
            if not self.server.is_up or self.start != self.server.starts:
                raise ConnectionError("the server went down before it ran this command")
            return self.server.commands.run(command)

    def _message(self, body: bytes) -> tuple[int, dict[str, Any]]:
        (flags,) = struct.unpack("<I", body[:4])
        end = len(body) - (4 if flags & 1 else 0)
        command: dict[str, Any] = {}
        place = 4
        while place < end:
            kind = body[place]
            (size,) = struct.unpack("<i", body[place + 1 : place + 5])
            section = body[place + 1 : place + 1 + size]
            if kind == 0:
                command.update(bson.decode(section, _TZ_NAIVE))
            else:
                name_end = section.index(b"\x00", 4)
                command[section[4:name_end].decode()] = bson.decode_all(section[name_end + 1 :], _TZ_NAIVE)
            place += 1 + size
        return flags, command

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                part = self.request.recv(size - len(data))
            except OSError:
                return b""
            if not part:
                return b""
            data += part
        return data

    def _send(self, request: int, code: int, data: bytes) -> None:
        with contextlib.suppress(OSError):  # the client is gone, or the server is down
            self.request.sendall(struct.pack("<iiii", 16 + len(data), 0, request, code) + data)


class MongoServer(socketserver.ThreadingTCPServer):
    """The server; a context manager that runs it in a thread. `uri` ends in a slash: append a database."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.commands = Commands()
        self.lock = threading.Lock()
        self.connections: set[socket.socket] = set()
        self.is_up = True
        self.starts = 0

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.server_address[1]}/"

    @contextlib.contextmanager
    def down(self) -> Iterator[None]:
        """Break all connections and answer nobody; up again at the end.

        The server goes down between two commands, and when no document is locked: jobflow-remote leaves a job
        locked whose unlocking does not arrive, until somebody types ``jf admin unlock`` (docs/hpc.md).
        """
        end = time.monotonic() + 30
        self.lock.acquire()
        while self._holds_a_lock() and time.monotonic() < end:
            self.lock.release()
            time.sleep(0.01)
            self.lock.acquire()
        self.is_up = False
        self.starts += 1
        self.lock.release()
        self.shutdown()
        address = self.server_address
        self.socket.close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        try:
            yield
        finally:
            self.socket = socket.socket(self.address_family, self.socket_type)
            self.server_address = address
            self.server_bind()
            self.server_activate()
            self.is_up = True
            self.__enter__()

    def _holds_a_lock(self) -> bool:
        """Tell whether jobflow-remote has locked a document of any collection."""
        databases = [self.commands.client[name] for name in self.commands.client.list_database_names()]
        return any(
            database[name].find_one({"lock_id": {"$exists": True, "$ne": None}})
            for database in databases
            for name in database.list_collection_names()
        )

    def __enter__(self) -> MongoServer:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()


if __name__ == "__main__":
    server = MongoServer(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    print(server.uri, flush=True)
    server.serve_forever()
