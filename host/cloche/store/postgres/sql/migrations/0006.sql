-- Store version 6. It adds, and takes nothing away: workers of version 1 go on.

-- ---- Rights ----

-- Whoever runs workers and clients may keep schedules: also a role that was named when version 5 was made.
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

-- ---- Remote steps: when an attempt is pushed again, how often it was, and why that did not succeed ----

ALTER TABLE cloche.remote_tasks ADD COLUMN due_at bigint;

ALTER TABLE cloche.remote_tasks ADD COLUMN tries bigint NOT NULL DEFAULT 0;

ALTER TABLE cloche.remote_tasks ADD COLUMN problem text;

-- ---- Permits ----

-- A call that has permits of its limits (`granted_at`), or waits at one of them (`waits_for`). `limits` is JSON: [[name, most, ms]].
-- `holder` is the worker in which an attempt goes on that its run waits for no more. Names of limits are UTF-8 in bytes: they are
-- compared, and never sorted for people.
CREATE TABLE cloche.permits (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    run text COLLATE "C" NOT NULL,
    call bigint NOT NULL,
    step text COLLATE "C" NOT NULL,
    path bytea NOT NULL,
    limits text COLLATE "C" NOT NULL,
    asked_at bigint NOT NULL,
    granted_at bigint,
    is_posted boolean NOT NULL DEFAULT false,
    waits_for text COLLATE "C",
    holder text,
    UNIQUE (tenant, run, call)
);

CREATE INDEX permits_waiting ON cloche.permits (waits_for, tenant, id) WHERE waits_for IS NOT NULL;

CREATE INDEX permits_held_by ON cloche.permits (holder) WHERE holder IS NOT NULL;

-- Permits of limits of what is under way at once, for as long as they are held.
CREATE TABLE cloche.held (
    name text COLLATE "C" NOT NULL,
    permit bigint NOT NULL,
    PRIMARY KEY (name, permit)
);

CREATE INDEX held_by_permit ON cloche.held (permit);

-- Beginnings that are counted in the window of a limit, until they have left it.
CREATE TABLE cloche.limit_uses (
    name text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    permit bigint NOT NULL,
    until bigint NOT NULL,
    PRIMARY KEY (name, at, permit)
);

CREATE INDEX limit_uses_until ON cloche.limit_uses (until);

-- Limits at which somebody waits: when time frees a permit, and which tenant had its turn when (JSON).
CREATE TABLE cloche.limit_queues (
    name text COLLATE "C" PRIMARY KEY,
    due_at bigint,
    turns text NOT NULL
);

CREATE INDEX limit_queues_due ON cloche.limit_queues (due_at) WHERE due_at IS NOT NULL;

-- Whoever runs workers decides who has them.
DO $$
DECLARE
    role text;
BEGIN
    FOR role IN
        SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END
        FROM pg_class, aclexplode(relacl)
        WHERE pg_class.oid = 'cloche.workers'::regclass AND privilege_type = 'INSERT' AND grantee <> relowner
    LOOP
        EXECUTE format(
            'GRANT SELECT, INSERT, UPDATE, DELETE ON cloche.permits, cloche.held, cloche.limit_uses, cloche.limit_queues TO %s', role
        );
    END LOOP;
END $$;
