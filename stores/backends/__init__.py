"""Collections of documents in SQLite, MongoDB, folders and memory behind one protocol."""
