-- Store version 2. It adds, and takes nothing away: workers of version 1 go on.

-- A name for the time since the server last began without what it had in memory. After a crash, and on a standby that was promoted,
-- numbers of transactions are given out again that somebody may have seen before; an unlogged table is empty then, also where
-- only one process of the server was killed and `pg_postmaster_start_time()` stays. Whoever finds it empty writes a new name.
CREATE UNLOGGED TABLE cloche.epoch (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    id uuid NOT NULL DEFAULT gen_random_uuid()
);

-- When the session began to hold the lock of the worker: a lock of another epoch says nothing. `server` was not enough, and is not
-- written any more: workers of version 1 notice by silence that one of version 2 has died, and the other way round.
ALTER TABLE cloche.workers ADD COLUMN epoch text;

-- The transaction of the last heartbeat, which is news to nobody.
ALTER TABLE cloche.workers ADD COLUMN beat_xid bigint;

-- Whoever runs workers may do so on.
DO $$
DECLARE
    worker text;
BEGIN
    FOR worker IN
        SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END
        FROM pg_class, aclexplode(relacl)
        WHERE pg_class.oid = 'cloche.workers'::regclass AND privilege_type = 'INSERT' AND grantee <> relowner
    LOOP
        EXECUTE format('GRANT SELECT, INSERT ON cloche.epoch TO %s', worker);
    END LOOP;
END $$;

-- The transaction that brought a part or a blob; none for those of before. So `collect` finds what came since it looked, and needs
-- no lock while it looks.
ALTER TABLE cloche.parts ADD COLUMN xid bigint;

ALTER TABLE cloche.parts ALTER COLUMN xid SET DEFAULT pg_current_xact_id()::text::bigint;

CREATE INDEX IF NOT EXISTS parts_new ON cloche.parts (xid) WHERE xid IS NOT NULL;

ALTER TABLE cloche.blobs ADD COLUMN xid bigint;

ALTER TABLE cloche.blobs ALTER COLUMN xid SET DEFAULT pg_current_xact_id()::text::bigint;

-- Whether any run has a code. All runs of one code share an entry, so it is small.
CREATE INDEX IF NOT EXISTS runs_of_code ON cloche.runs (code);
