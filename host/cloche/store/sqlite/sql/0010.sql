-- Store version 10.

-- Schedules. `due_at` is when somebody has to look at one; `version` is what who changes it has seen.
CREATE TABLE schedules (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    spec BLOB NOT NULL,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    next_at INTEGER,
    due_at INTEGER,
    is_paused INTEGER NOT NULL,
    queued TEXT NOT NULL,
    last_run TEXT,
    firings INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX schedules_due ON schedules (due_at) WHERE due_at IS NOT NULL;

-- What came of each instant: a run, or the reason why there is none.
CREATE TABLE firings (
    tenant TEXT NOT NULL,
    schedule TEXT NOT NULL,
    number INTEGER NOT NULL,
    instant INTEGER NOT NULL,
    at INTEGER NOT NULL,
    run TEXT,
    reason TEXT NOT NULL,
    until INTEGER,
    count INTEGER NOT NULL,
    PRIMARY KEY (tenant, schedule, number)
) STRICT, WITHOUT ROWID
