-- Store version 11.

-- ---- Remote steps: when an attempt is pushed again, how often it was, and why that did not succeed ----

ALTER TABLE remote_tasks ADD COLUMN due_at INTEGER;

ALTER TABLE remote_tasks ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;

ALTER TABLE remote_tasks ADD COLUMN problem TEXT
