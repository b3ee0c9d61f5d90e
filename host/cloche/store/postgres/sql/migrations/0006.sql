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
