-- Store version 1. Statements are divided by an empty line.

CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    run TEXT NOT NULL,
    workflow TEXT NOT NULL,
    code TEXT NOT NULL,
    status TEXT NOT NULL,
    wake_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    head_seq INTEGER NOT NULL,
    head_hash BLOB NOT NULL,
    problem TEXT,
    UNIQUE (tenant, run)
) STRICT;

CREATE INDEX runs_open ON runs (id) WHERE status IN ('pending', 'running', 'waiting');

CREATE TABLE records (
    run_id INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    path TEXT,
    record BLOB NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (run_id, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX records_results ON records (run_id, path, seq) WHERE kind IN (6, 7, 11, 21);

CREATE TABLE tombstones (
    run_id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    run TEXT NOT NULL,
    workflow TEXT NOT NULL,
    head_seq INTEGER NOT NULL,
    head_hash BLOB NOT NULL,
    deleted_at INTEGER NOT NULL,
    UNIQUE (tenant, run)
) STRICT;

CREATE TABLE blobs (
    digest TEXT PRIMARY KEY,
    data BLOB NOT NULL
) STRICT;

CREATE TABLE inbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    run TEXT NOT NULL,
    kind TEXT NOT NULL,
    body BLOB NOT NULL,
    token TEXT NOT NULL UNIQUE,
    posted_at INTEGER NOT NULL
) STRICT;

CREATE TRIGGER records_are_not_replaced BEFORE INSERT ON records
WHEN EXISTS (SELECT 1 FROM records WHERE run_id = NEW.run_id AND seq = NEW.seq) BEGIN
    SELECT RAISE(ABORT, 'records are never replaced');
END;

CREATE TRIGGER records_are_not_changed BEFORE UPDATE ON records BEGIN
    SELECT RAISE(ABORT, 'records are never changed');
END;

CREATE TRIGGER records_are_not_deleted BEFORE DELETE ON records
WHEN NOT EXISTS (SELECT 1 FROM tombstones WHERE run_id = OLD.run_id) BEGIN
    SELECT RAISE(ABORT, 'records are only deleted with their whole run, behind its tombstone');
END;

CREATE TRIGGER runs_are_not_begun_again BEFORE INSERT ON runs
WHEN EXISTS (SELECT 1 FROM tombstones WHERE tenant = NEW.tenant AND run = NEW.run) BEGIN
    SELECT RAISE(IGNORE);
END;

CREATE TRIGGER blobs_are_not_changed BEFORE UPDATE ON blobs BEGIN
    SELECT RAISE(ABORT, 'blobs are never changed');
END;
