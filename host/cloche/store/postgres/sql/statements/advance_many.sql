-- Appends to many runs that are there, at most one to each. -> for each its run's number, 0 if it was refused.
-- No join but by index: the records find their run in an array, for a plan that is made while tables are small keeps its nested
-- loops when they are large, and these would be quadratic.
WITH a AS MATERIALIZED (
    SELECT * FROM unnest(
        $1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bytea[], $9::text[],
        $10::bigint[], $11::boolean[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], $17::bigint[],
        $18::bigint[], $19::bigint[], $20::bigint[], $21::bigint[], $22::text[]
    ) WITH ORDINALITY AS a(
        tenant, run, expect, status, wake_at, at, head_seq, head_hash, owner, fence, release, fuel, overhead_fuel, turns, wall_us,
        memory_kib_ms, events, steps, log_bytes, attempts, loop_us, meter, ord
    )
), moved AS (
    UPDATE cloche.runs SET
        status = a.status, wake_at = a.wake_at, updated_at = a.at, head_seq = a.head_seq, head_hash = a.head_hash,
        owner = CASE WHEN a.release THEN NULL ELSE runs.owner END,
        fuel = runs.fuel + a.fuel, overhead_fuel = runs.overhead_fuel + a.overhead_fuel, turns = runs.turns + a.turns,
        wall_us = runs.wall_us + a.wall_us, memory_kib_ms = runs.memory_kib_ms + a.memory_kib_ms,
        events = runs.events + a.events, steps = runs.steps + a.steps, log_bytes = runs.log_bytes + a.log_bytes,
        attempts = runs.attempts + a.attempts, loop_us = runs.loop_us + a.loop_us,
        meter = CASE WHEN runs.meter = a.meter THEN a.meter END
    FROM a
    WHERE runs.tenant = a.tenant AND runs.run = a.run AND runs.head_seq = a.expect
        AND runs.owner IS NOT DISTINCT FROM a.owner AND runs.fence = coalesce(a.fence, runs.fence)
    RETURNING a.ord, runs.id
), outcome AS MATERIALIZED (
    SELECT array_agg(id ORDER BY ord) AS ids FROM (
        SELECT ord, max(id) AS id FROM (SELECT ord, 0 AS id FROM a UNION ALL SELECT ord, id FROM moved) AS each GROUP BY ord
    ) AS found
), put AS (
    INSERT INTO cloche.records (tenant, run_id, seq, kind, path, record, hash)
    SELECT r.tenant, ids[r.ord], r.seq, r.kind, r.path, r.record, r.hash
    FROM outcome, unnest(
        $23::bigint[], $24::text[], $25::bigint[], $26::smallint[], $27::bytea[], $28::bytea[], $29::bytea[]
    ) AS r(ord, tenant, seq, kind, path, record, hash)
    WHERE ids[r.ord] <> 0
)
SELECT ids, pg_current_xact_id_if_assigned()::text::bigint AS xid FROM outcome
