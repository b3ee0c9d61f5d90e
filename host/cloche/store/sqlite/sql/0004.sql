-- Store version 4: tenants bring code of their own, wait their turn, and are metered.

-- Code that a tenant has deployed. `place` grows with each deploy: the highest one of a workflow is what starts next.
CREATE TABLE versions (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    workflow TEXT NOT NULL,
    code TEXT NOT NULL,
    deployed_at INTEGER NOT NULL,
    place INTEGER NOT NULL UNIQUE,
    PRIMARY KEY (tenant, id)
) STRICT;

CREATE INDEX versions_of_workflow ON versions (tenant, workflow, place);

-- What a run has used, added up by its appends. `meter` is what counted the fuel (NULL: nothing that a replay can be held against).
ALTER TABLE runs ADD COLUMN fuel INTEGER NOT NULL DEFAULT 0;

ALTER TABLE runs ADD COLUMN overhead_fuel INTEGER NOT NULL DEFAULT 0;

ALTER TABLE runs ADD COLUMN turns INTEGER NOT NULL DEFAULT 0;

ALTER TABLE runs ADD COLUMN wall_us INTEGER NOT NULL DEFAULT 0;

ALTER TABLE runs ADD COLUMN memory_kib_ms INTEGER NOT NULL DEFAULT 0;

ALTER TABLE runs ADD COLUMN events INTEGER NOT NULL DEFAULT 0;

ALTER TABLE runs ADD COLUMN steps INTEGER NOT NULL DEFAULT 0;

ALTER TABLE runs ADD COLUMN log_bytes INTEGER NOT NULL DEFAULT 0;

ALTER TABLE runs ADD COLUMN meter TEXT;

-- What runs had used that were deleted since, so that the sum of a tenant never shrinks.
CREATE TABLE usage_of_deleted (
    tenant TEXT PRIMARY KEY,
    runs INTEGER NOT NULL,
    fuel INTEGER NOT NULL,
    overhead_fuel INTEGER NOT NULL,
    turns INTEGER NOT NULL,
    wall_us INTEGER NOT NULL,
    memory_kib_ms INTEGER NOT NULL,
    events INTEGER NOT NULL,
    steps INTEGER NOT NULL,
    log_bytes INTEGER NOT NULL
) STRICT;

-- What the next worker may take: now also runs that were admitted and have not begun ('pending'). By tenant, for the turns
-- that tenants take, and over all, for the next one that is due.
DROP INDEX runs_free;

CREATE INDEX runs_free ON runs (coalesce(wake_at, 0))
WHERE owner IS NULL AND (status IN ('running', 'pending') OR (status = 'waiting' AND wake_at IS NOT NULL));

CREATE INDEX runs_free_of_tenant ON runs (tenant, coalesce(wake_at, 0), id)
WHERE owner IS NULL AND (status IN ('running', 'pending') OR (status = 'waiting' AND wake_at IS NOT NULL));

CREATE INDEX runs_queued ON runs (tenant) WHERE status = 'pending';
