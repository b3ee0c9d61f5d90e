-- Store version 10: webhooks; what lies in the store of each tenant is counted.

-- ---- Webhooks ----

-- ---- Events: who waits for one of this name, a hook's token among them ----

CREATE INDEX awaited_by_name ON awaited (tenant, name, run);

-- Webhooks: those that are sent (form 'out'), and whose signatures are checked.
CREATE TABLE webhooks (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    form TEXT NOT NULL,
    url TEXT NOT NULL,
    secret TEXT NOT NULL,
    stops TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;

-- What is still to be sent, and what was given up (due_at is NULL).
CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    webhook TEXT NOT NULL,
    run TEXT NOT NULL,
    workflow TEXT NOT NULL,
    status TEXT NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at INTEGER,
    problem TEXT
) STRICT;

CREATE INDEX deliveries_due ON deliveries (due_at) WHERE due_at IS NOT NULL;

CREATE INDEX deliveries_of_webhook ON deliveries (tenant, webhook, id);

-- Webhooks that were received, so that one which comes again is known. A week of them is kept.
CREATE TABLE received (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    run TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX received_at ON received (at);

-- In the commit by which a run stops, whoever writes it. A run that was brought from elsewhere has no fence: it stopped there.
CREATE TRIGGER runs_that_stop AFTER UPDATE OF status ON runs
WHEN NEW.status <> OLD.status AND NEW.fence > 0 AND NEW.status NOT IN ('pending', 'running', 'blocked')
BEGIN
    INSERT INTO deliveries (tenant, webhook, run, workflow, status, seq, at, due_at)
    SELECT NEW.tenant, name, NEW.run, NEW.workflow, NEW.status, NEW.head_seq, NEW.updated_at, NEW.updated_at
    FROM webhooks
    WHERE tenant = NEW.tenant AND form = 'out' AND instr(' ' || stops || ' ', ' ' || NEW.status || ' ') > 0
    ORDER BY name;
END;

CREATE TRIGGER runs_that_stop_at_once AFTER INSERT ON runs
WHEN NEW.fence > 0 AND NEW.status NOT IN ('pending', 'running', 'blocked')
BEGIN
    INSERT INTO deliveries (tenant, webhook, run, workflow, status, seq, at, due_at)
    SELECT NEW.tenant, name, NEW.run, NEW.workflow, NEW.status, NEW.head_seq, NEW.updated_at, NEW.updated_at
    FROM webhooks
    WHERE tenant = NEW.tenant AND form = 'out' AND instr(' ' || stops || ' ', ' ' || NEW.status || ' ') > 0
    ORDER BY name;
END;

-- ---- Schedules ----

-- `due_at` is when somebody has to look at one; `version` is what who changes it has seen.
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
) STRICT, WITHOUT ROWID;

-- ---- Bills: tries at steps, and time of the event loop ----

ALTER TABLE runs ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;

ALTER TABLE runs ADD COLUMN loop_us INTEGER NOT NULL DEFAULT 0;

ALTER TABLE usage_of_deleted ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;

ALTER TABLE usage_of_deleted ADD COLUMN loop_us INTEGER NOT NULL DEFAULT 0;

-- ---- Code that a tenant has deployed, until it is collected: a version that was withdrawn is gone before its code ----

CREATE TABLE bundles (
    code TEXT NOT NULL,
    tenant TEXT NOT NULL,
    PRIMARY KEY (code, tenant)
) STRICT, WITHOUT ROWID;

CREATE INDEX bundles_of_tenant ON bundles (tenant);

INSERT OR IGNORE INTO bundles (code, tenant) SELECT code, tenant FROM versions;

CREATE TRIGGER versions_have_bundles AFTER INSERT ON versions BEGIN
    INSERT OR IGNORE INTO bundles (code, tenant) VALUES (NEW.code, NEW.tenant);
END;

CREATE TRIGGER bundles_go_with_their_code AFTER DELETE ON blobs BEGIN
    DELETE FROM bundles WHERE code = OLD.digest;
END;

-- ---- Remote steps ----

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
