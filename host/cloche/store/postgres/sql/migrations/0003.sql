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
