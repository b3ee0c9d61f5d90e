-- Store version 2: what operators hold back, and what was done.

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
