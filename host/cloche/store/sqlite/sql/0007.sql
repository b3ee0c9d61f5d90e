-- Store version 7: an event waits under its name, and is looked at only when its run waits for it.

-- The name of an event; NULL of every other request.
ALTER TABLE inbox ADD COLUMN name TEXT;

-- Those that wait have it in their body, CBOR([name, payload]): a text of up to 23 bytes, of up to 255, or of more.
UPDATE inbox SET name = CAST(CASE
    WHEN substr(body, 2, 1) < x'78' THEN
        substr(body, 3, instr('0123456789ABCDEF', substr(hex(substr(body, 2, 1)), 2, 1)) - 1
            + 16 * (instr('0123456789ABCDEF', substr(hex(substr(body, 2, 1)), 1, 1)) - 7))
    WHEN substr(body, 2, 1) = x'78' THEN
        substr(body, 4, instr('0123456789ABCDEF', substr(hex(substr(body, 3, 1)), 2, 1)) - 1
            + 16 * (instr('0123456789ABCDEF', substr(hex(substr(body, 3, 1)), 1, 1)) - 1))
    ELSE
        substr(body, 5, instr('0123456789ABCDEF', substr(hex(substr(body, 4, 1)), 2, 1)) - 1
            + 16 * (instr('0123456789ABCDEF', substr(hex(substr(body, 4, 1)), 1, 1)) - 1)
            + 256 * (instr('0123456789ABCDEF', substr(hex(substr(body, 3, 1)), 2, 1)) - 1))
    END AS TEXT)
WHERE kind = 'event' AND answer IS NULL AND length(body) > 1;

DROP INDEX inbox_waiting;

-- What is new to a worker. With all that is asked of it, also `answer`, so that the table, where the bodies lie, is not read.
CREATE INDEX inbox_waiting ON inbox (id, tenant, run, name, answer) WHERE answer IS NULL;

-- What waits for one run: its events by name, and everything else under NULL.
CREATE INDEX inbox_of_run ON inbox (tenant, run, name, id, posted_at, answer) WHERE answer IS NULL;

-- The names of events that a run waits for. They come and go in the commits that open and close its hooks.
CREATE TABLE awaited (
    tenant TEXT NOT NULL,
    run TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (tenant, run, name)
) STRICT, WITHOUT ROWID;

-- A run of before may wait for any event: an empty name, until it ends.
INSERT INTO awaited (tenant, run, name)
SELECT tenant, run, '' FROM runs WHERE status NOT IN ('success', 'failed', 'canceled');

-- How many events wait for a run, how many bytes they have, and when the last was posted; under an empty run for all runs of
-- the tenant.
CREATE TABLE waiting_events (
    tenant TEXT NOT NULL,
    run TEXT NOT NULL,
    events INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    posted_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, run)
) STRICT, WITHOUT ROWID;

INSERT INTO waiting_events (tenant, run, events, bytes, posted_at)
SELECT tenant, run, count(*), sum(length(body)), max(posted_at) FROM inbox
WHERE answer IS NULL AND name IS NOT NULL GROUP BY tenant, run
UNION ALL
SELECT tenant, '', count(*), sum(length(body)), max(posted_at) FROM inbox
WHERE answer IS NULL AND name IS NOT NULL GROUP BY tenant;

CREATE TRIGGER events_that_come AFTER INSERT ON inbox WHEN NEW.name IS NOT NULL AND NEW.answer IS NULL BEGIN
    INSERT INTO waiting_events (tenant, run, events, bytes, posted_at)
    VALUES (NEW.tenant, NEW.run, 1, length(NEW.body), NEW.posted_at), (NEW.tenant, '', 1, length(NEW.body), NEW.posted_at)
    ON CONFLICT (tenant, run) DO UPDATE SET
        events = events + 1, bytes = bytes + excluded.bytes, posted_at = excluded.posted_at;
END;

CREATE TRIGGER events_that_are_answered AFTER UPDATE OF answer ON inbox
WHEN OLD.name IS NOT NULL AND OLD.answer IS NULL AND NEW.answer IS NOT NULL BEGIN
    UPDATE waiting_events SET events = events - 1, bytes = bytes - length(OLD.body)
    WHERE tenant = OLD.tenant AND run IN (OLD.run, '');
    DELETE FROM waiting_events WHERE tenant = OLD.tenant AND run IN (OLD.run, '') AND events <= 0;
END;

CREATE TRIGGER events_that_go AFTER DELETE ON inbox WHEN OLD.name IS NOT NULL AND OLD.answer IS NULL BEGIN
    UPDATE waiting_events SET events = events - 1, bytes = bytes - length(OLD.body)
    WHERE tenant = OLD.tenant AND run IN (OLD.run, '');
    DELETE FROM waiting_events WHERE tenant = OLD.tenant AND run IN (OLD.run, '') AND events <= 0;
END;

-- How often runs were freed of a worker that was gone: what it has not accepted is anybody's then.
CREATE TABLE departures (number INTEGER NOT NULL) STRICT;

INSERT INTO departures (number) VALUES (0)
