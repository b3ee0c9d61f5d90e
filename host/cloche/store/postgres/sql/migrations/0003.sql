-- Store version 3. It adds, and takes nothing away: workers of version 1 go on.

-- Who may ask for what over a network. `digest` is BLAKE2b-256 of a secret of 256 bits; the secret is nowhere. `tenant` is NULL
-- where all tenants are reached.
CREATE TABLE cloche.tokens (
    id text COLLATE "C" NOT NULL PRIMARY KEY,
    digest bytea NOT NULL,
    tenant text COLLATE "C",
    role text COLLATE "C" NOT NULL,
    label text COLLATE "C" NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint,
    used_at bigint
);

-- Whoever runs workers and clients may go on to.
DO $$
DECLARE
    worker text;
BEGIN
    FOR worker IN
        SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END
        FROM pg_class, aclexplode(relacl)
        WHERE pg_class.oid = 'cloche.workers'::regclass AND privilege_type = 'INSERT' AND grantee <> relowner
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON cloche.tokens TO %s', worker);
    END LOOP;
END $$;

-- What operators hold back, and what was done. Workers of version 2 do not look at it: replace them before you rely on it.

-- Those that were deployed before there was a strict policy keep that of registered workflows.
ALTER TABLE cloche.versions ADD COLUMN is_wide boolean NOT NULL DEFAULT true;

ALTER TABLE cloche.versions ALTER COLUMN is_wide SET DEFAULT false;

-- Of whom no run is driven: a tenant, under an empty code, or one bundle of its code.
CREATE TABLE cloche.holds (
    tenant text COLLATE "C" NOT NULL,
    code text COLLATE "C" NOT NULL,
    reason text NOT NULL,
    held_at bigint NOT NULL,
    PRIMARY KEY (tenant, code)
);

-- Deploys, denials, policies and acts of operators. An empty tenant means all.
CREATE TABLE cloche.audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY,
    at bigint NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    actor text NOT NULL,
    action text COLLATE "C" NOT NULL,
    facts text NOT NULL,
    PRIMARY KEY (tenant, id)
);

CREATE INDEX audit_log_by_id ON cloche.audit_log (id);

CREATE TRIGGER audit_log_is_not_changed BEFORE UPDATE OR DELETE ON cloche.audit_log
FOR EACH ROW EXECUTE FUNCTION cloche.refuse();

CREATE TRIGGER audit_log_is_not_truncated BEFORE TRUNCATE ON cloche.audit_log
FOR EACH STATEMENT EXECUTE FUNCTION cloche.refuse();

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
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON cloche.holds TO %s', worker);
        EXECUTE format('GRANT SELECT, INSERT ON cloche.audit_log TO %s', worker);
    END LOOP;
END $$;
