"""The configuration snapshot: fetched from its source, compiled by a child process, served from a read-only file.

    source ──fetch──▶ document ──child process──▶ compiled file ──open──▶ Directory
    (file, HTTP)      (JSON)     (`compile`)      (state directory)       (read by id, immutable)

A document has hundreds of megabytes, and reading it takes many seconds of computing. The worker's event loop has no
such seconds and its memory no such room, so the worker itself never reads the document: a child process does, and
leaves a SQLite file with one row for each account. That file is also the last good snapshot after a restart.
"""
