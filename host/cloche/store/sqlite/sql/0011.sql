-- Store version 11: permits of limits that hold for all workers.

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
