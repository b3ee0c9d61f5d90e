-- Store version 8: who may ask for what over a network.

-- `digest` is BLAKE2b-256 of a secret of 256 bits; the secret is nowhere. `tenant` is NULL where all tenants are reached.
CREATE TABLE tokens (
    id TEXT NOT NULL PRIMARY KEY,
    digest BLOB NOT NULL,
    tenant TEXT,
    role TEXT NOT NULL,
    label TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    used_at INTEGER
) STRICT
