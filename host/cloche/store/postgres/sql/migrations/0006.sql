-- Store version 6. It adds, and takes nothing away: workers of version 1 go on.

-- ---- Remote steps: when an attempt is pushed again, how often it was, and why that did not succeed ----

ALTER TABLE cloche.remote_tasks ADD COLUMN due_at bigint;

ALTER TABLE cloche.remote_tasks ADD COLUMN tries bigint NOT NULL DEFAULT 0;

ALTER TABLE cloche.remote_tasks ADD COLUMN problem text;
