-- Store version 10.

-- Attempts of remote steps: those that wait for a worker elsewhere, and those that one has taken. A row is put in the commit that
-- records that the attempt was sent, and goes in the one that records what came of it.
CREATE TABLE remote_tasks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    run TEXT NOT NULL,
    call INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    step TEXT NOT NULL,
    path TEXT NOT NULL,
    sent_at INTEGER NOT NULL,
    silence_ms INTEGER NOT NULL,
    timeout_ms INTEGER,
    is_pushed INTEGER NOT NULL,
    holder TEXT,
    taken_at INTEGER,
    beat INTEGER NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (tenant, run, call)
) STRICT;

CREATE INDEX remote_tasks_waiting ON remote_tasks (tenant, step, is_pushed, id) WHERE holder IS NULL;

CREATE INDEX remote_tasks_taken ON remote_tasks (id) WHERE holder IS NOT NULL;

-- The tokens of attempts are made with it.
CREATE TABLE remote_secret (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    secret BLOB NOT NULL
) STRICT
