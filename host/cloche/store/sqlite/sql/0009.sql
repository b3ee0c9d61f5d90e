-- Store version 9: runs are found by marks: their tags, how they failed, which run they retry.

-- They follow from the records, and are written in the commits of those.
CREATE TABLE marks (
    run_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    tenant TEXT NOT NULL,
    PRIMARY KEY (run_id, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX marks_found ON marks (tenant, name, value, run_id);

-- Listings of one tenant. Neither column changes, so no append touches them.
CREATE INDEX runs_of_tenant ON runs (tenant, id);

CREATE INDEX runs_of_workflow ON runs (tenant, workflow, id)
