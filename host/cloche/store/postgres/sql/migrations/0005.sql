-- Store version 5. It adds, and takes nothing away: workers of version 1 go on; what they make is billed without attempts and time of the
-- event loop.

-- ---- Bills: tries at steps, and time of the event loop ----

ALTER TABLE cloche.runs ADD COLUMN attempts bigint NOT NULL DEFAULT 0, ADD COLUMN loop_us bigint NOT NULL DEFAULT 0;

ALTER TABLE cloche.usage_of_deleted ADD COLUMN attempts bigint NOT NULL DEFAULT 0, ADD COLUMN loop_us bigint NOT NULL DEFAULT 0;

-- ---- What lies in the store of a tenant ----

CREATE INDEX blobs_of_tenant ON cloche.blobs (tenant);
