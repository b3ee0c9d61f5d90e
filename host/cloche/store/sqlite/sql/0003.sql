-- Store version 3: several workers share a store, and wishes are granted once.

-- A worker that executes runs. `slot` is the byte of the lock file that its process holds, `beat` grows while it lives.
CREATE TABLE workers (
    id TEXT PRIMARY KEY,
    slot INTEGER NOT NULL UNIQUE,
    beat INTEGER NOT NULL
) STRICT;

-- Who executes a run (NULL: nobody, the next worker may take it), and how often that has changed.
ALTER TABLE runs ADD COLUMN owner TEXT;

ALTER TABLE runs ADD COLUMN fence INTEGER NOT NULL DEFAULT 0;

CREATE INDEX runs_owned ON runs (owner) WHERE owner IS NOT NULL;

-- What the next worker may take, by the time when it is due. A run that is driven is not in here: its appends leave it alone.
CREATE INDEX runs_free ON runs (coalesce(wake_at, 0))
WHERE owner IS NULL AND (status = 'running' OR (status = 'waiting' AND wake_at IS NOT NULL));

DROP INDEX runs_open;

-- Listings by status. A run that stays 'running' is not in here, for the same reason.
CREATE INDEX runs_listed ON runs (status, id) WHERE status <> 'running';

-- `kept`: the answer stays under the token, so that the same wish again is known. `answer`: NULL while it waits.
ALTER TABLE inbox ADD COLUMN kept INTEGER NOT NULL DEFAULT 0;

ALTER TABLE inbox ADD COLUMN answer TEXT;

CREATE INDEX inbox_waiting ON inbox (id) WHERE answer IS NULL;
