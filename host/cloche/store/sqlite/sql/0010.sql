-- Store version 10: what lies in the store of each tenant is counted; what is large is kept in pieces.

-- ---- Bills: tries at steps, and time of the event loop ----

ALTER TABLE runs ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;

ALTER TABLE runs ADD COLUMN loop_us INTEGER NOT NULL DEFAULT 0;

ALTER TABLE usage_of_deleted ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;

ALTER TABLE usage_of_deleted ADD COLUMN loop_us INTEGER NOT NULL DEFAULT 0;

-- ---- Code that a tenant has deployed, until it is collected: a version that was withdrawn is gone before its code ----

CREATE TABLE bundles (
    code TEXT NOT NULL,
    tenant TEXT NOT NULL,
    PRIMARY KEY (code, tenant)
) STRICT, WITHOUT ROWID;

CREATE INDEX bundles_of_tenant ON bundles (tenant);

INSERT OR IGNORE INTO bundles (code, tenant) SELECT code, tenant FROM versions;

CREATE TRIGGER versions_have_bundles AFTER INSERT ON versions BEGIN
    INSERT OR IGNORE INTO bundles (code, tenant) VALUES (NEW.code, NEW.tenant);
END;

CREATE TRIGGER bundles_go_with_their_code AFTER DELETE ON blobs BEGIN
    DELETE FROM bundles WHERE code = OLD.digest;
END
