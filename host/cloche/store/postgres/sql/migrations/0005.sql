-- Store version 5. It adds, and takes nothing away: workers of version 1 go on.

-- Attempts of remote steps: those that wait for a worker elsewhere, and those that one has taken. A row is put in the commit that
-- records that the attempt was sent, and goes in the one that records what came of it.
CREATE TABLE cloche.remote_tasks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    run text COLLATE "C" NOT NULL,
    call bigint NOT NULL,
    seq bigint NOT NULL,
    step text COLLATE "C" NOT NULL,
    path bytea NOT NULL,
    sent_at bigint NOT NULL,
    silence_ms bigint NOT NULL,
    timeout_ms bigint,
    is_pushed boolean NOT NULL,
    holder text,
    taken_at bigint,
    beat bigint NOT NULL DEFAULT 0,
    body bytea NOT NULL,
    UNIQUE (tenant, run, call)
);

CREATE INDEX remote_tasks_waiting ON cloche.remote_tasks (tenant, step, is_pushed, id) WHERE holder IS NULL;

CREATE INDEX remote_tasks_taken ON cloche.remote_tasks (id) WHERE holder IS NOT NULL;

-- The tokens of attempts are made with it.
CREATE TABLE cloche.remote_secret (
    id integer PRIMARY KEY CHECK (id = 1),
    secret bytea NOT NULL
);

-- Whoever runs workers may write them.
DO $$
DECLARE
    role text;
BEGIN
    FOR role IN
        SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END
        FROM pg_class, aclexplode(relacl)
        WHERE pg_class.oid = 'cloche.workers'::regclass AND privilege_type = 'INSERT' AND grantee <> relowner
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON cloche.remote_tasks TO %s', role);
        EXECUTE format('GRANT SELECT, INSERT ON cloche.remote_secret TO %s', role);
    END LOOP;
END $$;
