-- `is_unlocked`: the session that held the worker's lock has ended. Not said after a restart or crash of the server, which ends
-- them all.
WITH held AS MATERIALIZED (
    SELECT (classid::bigint << 32) | objid::bigint AS lock FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1 AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
)
SELECT id, beat, offers,
    coalesce(workers.epoch = now.epoch, false) AND lock NOT IN (SELECT held.lock FROM held) AS is_unlocked
FROM cloche.workers, (SELECT {epoch}) AS now ORDER BY place
