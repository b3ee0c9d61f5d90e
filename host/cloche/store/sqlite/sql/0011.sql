-- Store version 11.

-- ---- Remote steps: when an attempt is pushed again, how often it was, and why that did not succeed ----

ALTER TABLE remote_tasks ADD COLUMN due_at INTEGER;

ALTER TABLE remote_tasks ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;

ALTER TABLE remote_tasks ADD COLUMN problem TEXT;

-- ---- Large blobs ----

-- A guest of megabytes, in pieces: one a commit, so that no other commit waits for all of it. Its row in `blobs` comes last, and
-- has no bytes of its own: before that nobody sees any of it.
CREATE TABLE blob_pieces (
    digest TEXT NOT NULL,
    number INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (digest, number)
) STRICT;

CREATE TRIGGER blob_pieces_are_not_changed BEFORE UPDATE ON blob_pieces BEGIN
    SELECT RAISE(ABORT, 'blobs are never changed');
END;

CREATE TRIGGER blob_pieces_go_with_their_blob AFTER DELETE ON blobs BEGIN
    DELETE FROM blob_pieces WHERE digest = OLD.digest;
END;

-- ---- Permits ----

-- A call that has permits of its limits (`granted_at`), or waits at one of them (`waits_for`). `limits` is JSON: [[name, most, ms]].
-- `holder` is the worker in which an attempt goes on that its run waits for no more.
CREATE TABLE permits (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    run TEXT NOT NULL,
    call INTEGER NOT NULL,
    step TEXT NOT NULL,
    path TEXT NOT NULL,
    limits TEXT NOT NULL,
    asked_at INTEGER NOT NULL,
    granted_at INTEGER,
    is_posted INTEGER NOT NULL DEFAULT 0,
    waits_for TEXT,
    holder TEXT,
    UNIQUE (tenant, run, call)
) STRICT;

CREATE INDEX permits_waiting ON permits (waits_for, tenant, id) WHERE waits_for IS NOT NULL;

CREATE INDEX permits_held_by ON permits (holder) WHERE holder IS NOT NULL;

-- Permits of limits of what is under way at once, for as long as they are held.
CREATE TABLE held (
    name TEXT NOT NULL,
    permit INTEGER NOT NULL,
    PRIMARY KEY (name, permit)
) STRICT, WITHOUT ROWID;

CREATE INDEX held_by_permit ON held (permit);

-- Beginnings that are counted in the window of a limit, until they have left it.
CREATE TABLE limit_uses (
    name TEXT NOT NULL,
    at INTEGER NOT NULL,
    permit INTEGER NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (name, at, permit)
) STRICT, WITHOUT ROWID;

CREATE INDEX limit_uses_until ON limit_uses (until);

-- Limits at which somebody waits: when time frees a permit, and which tenant had its turn when (JSON).
CREATE TABLE limit_queues (
    name TEXT PRIMARY KEY,
    due_at INTEGER,
    turns TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX limit_queues_due ON limit_queues (due_at) WHERE due_at IS NOT NULL
