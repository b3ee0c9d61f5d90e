-- Store version 4. It adds, and takes nothing away: workers of version 1 go on. What fails in older ones has no marks: replace them before
-- you rely on `failures`.

-- By which runs are found: their tags, how they failed, which run they retry. They follow from the records.
CREATE TABLE cloche.marks (
    tenant text COLLATE "C" NOT NULL,
    run_id bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    PRIMARY KEY (run_id, name, tenant)
);

CREATE INDEX marks_found ON cloche.marks (tenant, name, value, run_id);

-- Whoever runs workers may write them, and whoever deletes runs may delete them.
DO $$
DECLARE
    role text;
BEGIN
    FOR role IN
        SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END
        FROM pg_class, aclexplode(relacl)
        WHERE pg_class.oid = 'cloche.workers'::regclass AND privilege_type = 'INSERT' AND grantee <> relowner
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE ON cloche.marks TO %s', role);
    END LOOP;
    FOR role IN
        SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END
        FROM pg_class, aclexplode(relacl)
        WHERE pg_class.oid = 'cloche.tombstones'::regclass AND privilege_type = 'INSERT' AND grantee <> relowner
    LOOP
        EXECUTE format('GRANT SELECT, DELETE ON cloche.marks TO %s', role);
    END LOOP;
END $$;
