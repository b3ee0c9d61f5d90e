-- Store version 8: who may ask for what over a network; what operators hold back, and what was done.

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
) STRICT;

-- Whether its runs keep the policy of registered workflows: those that were deployed before there was a strict one.
ALTER TABLE versions ADD COLUMN is_wide INTEGER NOT NULL DEFAULT 0;

UPDATE versions SET is_wide = 1;

-- Of whom no run is driven: a tenant, under an empty code, or one bundle of its code.
CREATE TABLE holds (
    tenant TEXT NOT NULL,
    code TEXT NOT NULL,
    reason TEXT NOT NULL,
    held_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, code)
) STRICT, WITHOUT ROWID;

-- Deploys, denials, policies and acts of operators. An empty tenant means all.
CREATE TABLE audit_log (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    facts TEXT NOT NULL
) STRICT;

CREATE INDEX audit_log_of_tenant ON audit_log (tenant, id);

CREATE TRIGGER audit_log_is_not_replaced BEFORE INSERT ON audit_log
WHEN EXISTS (SELECT 1 FROM audit_log WHERE id = NEW.id) BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

CREATE TRIGGER audit_log_is_not_changed BEFORE UPDATE ON audit_log BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

CREATE TRIGGER audit_log_is_not_deleted BEFORE DELETE ON audit_log BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END
