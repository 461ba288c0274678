"""Files in a store: weights of models, where every host that reaches the store finds them.

A file is kept under the SHA-256 of its bytes, in documents of `CHUNK` bytes each (base64, because documents
are JSON; below MongoDB's limit of 16 MB), so that equal files are kept once and every reader can tell a
damaged one.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from stores.errors import StoreError

if TYPE_CHECKING:
    from stores.surfaces import SurfaceStore

CHUNK = 4 * 2**20
"""Bytes of a file in one document."""


def blob_id(content: bytes) -> str:
    """Return the name of a file's content: its SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def put_blob(store: SurfaceStore, content: bytes) -> str:
    """Keep a file; nothing is written where an equal one is kept whole.

    Returns
    -------
    str
        Its `blob_id`.

    Raises
    ------
    StoreError
        If the store cannot be written.
    """
    name = blob_id(content)
    parts = [content[start : start + CHUNK] for start in range(0, len(content), CHUNK)] or [b""]
    documents = (
        {"id": f"{name}-{number}", "blob": name, "number": number, "data": base64.b64encode(part).decode()}
        for number, part in enumerate(parts)
    )
    for document in documents:  # one at a time: no more than one chunk is held twice
        store.collection("blobs").upsert(document, keep=("stored_at",))
    return name


def get_blob(store: SurfaceStore, name: str, what: str) -> bytes:
    """Return a file.

    Parameters
    ----------
    store
        Where it is.
    name
        Its `blob_id`.
    what
        What it is, for error messages: "member-0.pt of v3".

    Raises
    ------
    StoreError
        If it is not there, or is damaged.
    """
    chunks = {}
    for document in store.query({"blob": name}, collection="blobs"):
        try:
            chunks[document["number"]] = base64.b64decode(document["data"], validate=True)
        except (KeyError, TypeError, ValueError):
            raise StoreError(f"{what} is damaged in the store {store.uri}.") from None
    if not chunks:
        raise StoreError(f"{what} is not in the store {store.uri}.")
    content = b"".join(chunks[number] for number in sorted(chunks))
    if blob_id(content) != name:
        raise StoreError(f"{what} is damaged in the store {store.uri}.")
    return content
