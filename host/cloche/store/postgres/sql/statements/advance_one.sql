-- One append to a run that is there: scalars, so that its plan is the same whatever the tables hold, and is made once. Its few
-- records are scalars too: an array costs the driver more than the rest of the statement.
WITH moved AS (
    UPDATE cloche.runs SET
        status = $4, wake_at = $5, updated_at = $6, head_seq = $7, head_hash = $8,
        owner = CASE WHEN $11 THEN NULL ELSE owner END,
        fuel = fuel + $12, overhead_fuel = overhead_fuel + $13, turns = turns + $14, wall_us = wall_us + $15,
        memory_kib_ms = memory_kib_ms + $16, events = events + $17, steps = steps + $18, log_bytes = log_bytes + $19,
        attempts = attempts + $20, loop_us = loop_us + $21,
        meter = CASE WHEN meter = $22 THEN meter END
    WHERE tenant = $1 AND run = $2 AND head_seq = $3 AND owner IS NOT DISTINCT FROM $9 AND fence = coalesce($10, fence)
    RETURNING tenant, id
), put AS (
    INSERT INTO cloche.records (tenant, run_id, seq, kind, path, record, hash)
    SELECT moved.tenant, moved.id, r.seq, r.kind, r.path, r.record, r.hash
    FROM moved, {records} AS r(seq, kind, path, record, hash)
)
SELECT pg_current_xact_id()::text::bigint AS xid FROM moved
