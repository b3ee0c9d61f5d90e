-- Store version 5. It adds, and takes nothing away: workers of version 1 go on.

-- Schedules. `due_at` is when somebody has to look at one; `version` is what who changes it has seen.
CREATE TABLE cloche.schedules (
    tenant text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    spec bytea NOT NULL,
    version bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    next_at bigint,
    due_at bigint,
    is_paused boolean NOT NULL,
    queued bigint[] NOT NULL,
    last_run text,
    firings bigint NOT NULL,
    PRIMARY KEY (tenant, id)
);

CREATE INDEX schedules_due ON cloche.schedules (due_at) WHERE due_at IS NOT NULL;

-- What came of each instant: a run, or the reason why there is none.
CREATE TABLE cloche.firings (
    tenant text COLLATE "C" NOT NULL,
    schedule text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    instant bigint NOT NULL,
    at bigint NOT NULL,
    run text,
    reason text NOT NULL,
    until bigint,
    count bigint NOT NULL,
    PRIMARY KEY (tenant, schedule, number)
);

-- Whoever runs workers and clients may go on to.
DO $$
DECLARE
    role text;
BEGIN
    FOR role IN
        SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END
        FROM pg_class, aclexplode(relacl)
        WHERE pg_class.oid = 'cloche.workers'::regclass AND privilege_type = 'INSERT' AND grantee <> relowner
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON cloche.schedules, cloche.firings TO %s', role);
    END LOOP;
END $$;
