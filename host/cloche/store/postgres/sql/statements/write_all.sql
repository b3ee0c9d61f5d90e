-- Appends of every kind, at most one to each run: to runs that are there, of new runs, with other code, with large bodies, with
-- requests that they accept, and such that they leave for other runs. -> for each its run's number, 0 if it was refused; and whether everything is there that they rely on
-- (`needed_…`). If not, nothing was written.
-- The statement writes to parts and blobs even where it brings none: so it waits for a `collect`, and sees what that has left.
WITH a AS MATERIALIZED (
    SELECT *, CASE WHEN workflow IS NOT NULL THEN nextval('cloche.runs_id_seq') END AS new_id FROM unnest(
        $1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bytea[], $9::text[],
        $10::bigint[], $11::boolean[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], $17::bigint[],
        $18::bigint[], $19::bigint[], $20::bigint[], $21::bigint[], $22::text[], $23::text[], $24::text[], $25::text[], $50::boolean[]
    ) WITH ORDINALITY AS a(
        tenant, run, expect, status, wake_at, at, head_seq, head_hash, owner, fence, release, fuel, overhead_fuel, turns, wall_us,
        memory_kib_ms, events, steps, log_bytes, attempts, loop_us, meter, workflow, code, upgraded, is_final, ord
    )
), ready AS MATERIALIZED (
    SELECT
        (SELECT count(p.digest) FROM unnest($26::text[], $27::bytea[]) AS needed(tenant, digest)
            LEFT JOIN cloche.parts AS p ON p.tenant = needed.tenant AND p.digest = needed.digest) = cardinality($27)
        AND (SELECT count(b.digest) FROM unnest($28::text[], $29::text[]) AS needed(tenant, digest)
            LEFT JOIN cloche.blobs AS b ON b.digest = needed.digest AND b.tenant = needed.tenant) = cardinality($29) AS is_ready
), kept_parts AS (
    INSERT INTO cloche.parts (tenant, digest, depth, form, data)
    SELECT p.* FROM ready, unnest($30::text[], $31::bytea[], $32::integer[], $33::smallint[], $34::bytea[]) AS p WHERE is_ready
    ON CONFLICT DO NOTHING
), moved AS (
    UPDATE cloche.runs SET
        status = a.status, wake_at = a.wake_at, updated_at = a.at, head_seq = a.head_seq, head_hash = a.head_hash,
        owner = CASE WHEN a.release THEN NULL ELSE runs.owner END, code = coalesce(a.upgraded, runs.code),
        fuel = runs.fuel + a.fuel, overhead_fuel = runs.overhead_fuel + a.overhead_fuel, turns = runs.turns + a.turns,
        wall_us = runs.wall_us + a.wall_us, memory_kib_ms = runs.memory_kib_ms + a.memory_kib_ms,
        events = runs.events + a.events, steps = runs.steps + a.steps, log_bytes = runs.log_bytes + a.log_bytes,
        attempts = runs.attempts + a.attempts, loop_us = runs.loop_us + a.loop_us,
        meter = CASE WHEN a.upgraded IS NULL AND runs.meter = a.meter THEN a.meter END
    FROM a, ready
    WHERE is_ready AND a.workflow IS NULL AND runs.tenant = a.tenant AND runs.run = a.run AND runs.head_seq = a.expect
        AND runs.owner IS NOT DISTINCT FROM a.owner AND runs.fence = coalesce(a.fence, runs.fence)
        -- Whoever ends a run takes away its events. One that was left while this statement waited is not seen by it, and the row
        -- that it then finds has another number: nothing is written, and the statement is made again.
        AND (NOT a.is_final OR runs.posts = (
            SELECT seen.posts FROM cloche.runs AS seen WHERE seen.tenant = a.tenant AND seen.run = a.run
        ))
    RETURNING a.ord, runs.id
), created AS (
    INSERT INTO cloche.runs (
        id, tenant, run, workflow, code, status, wake_at, created_at, updated_at, head_seq, head_hash, owner, fence,
        fuel, overhead_fuel, turns, wall_us, memory_kib_ms, events, steps, log_bytes, attempts, loop_us, meter
    )
    SELECT new_id, tenant, run, workflow, code, status, wake_at, at, at, head_seq, head_hash,
        CASE WHEN NOT release THEN (SELECT workers.id FROM cloche.workers WHERE workers.id = owner FOR KEY SHARE) END, coalesce(fence, 0),
        fuel, overhead_fuel, turns, wall_us, memory_kib_ms, events, steps, log_bytes, attempts, loop_us, meter
    FROM a, ready
    WHERE is_ready AND workflow IS NOT NULL
        AND NOT EXISTS (SELECT FROM cloche.tombstones AS t WHERE t.tenant = a.tenant AND t.run = a.run)
    ON CONFLICT DO NOTHING
    RETURNING id
), begun AS (
    SELECT max(ord) AS ord, id FROM (
        SELECT ord, new_id AS id, 0 AS is_there FROM a WHERE new_id IS NOT NULL UNION ALL SELECT 0, id, 1 FROM created
    ) AS each GROUP BY id HAVING max(is_there) = 1
), outcome AS MATERIALIZED (
    SELECT array_agg(id ORDER BY ord) AS ids FROM (
        SELECT ord, max(id) AS id FROM (
            SELECT ord, 0 AS id FROM a UNION ALL SELECT ord, id FROM moved UNION ALL SELECT ord, id FROM begun
        ) AS each GROUP BY ord
    ) AS found
), kept_blobs AS (
    INSERT INTO cloche.blobs (tenant, digest, data)
    SELECT b.tenant, b.digest, b.data
    FROM outcome, unnest($35::text[], $36::text[], $37::bytea[]) WITH ORDINALITY AS b(tenant, digest, data, place)
    WHERE EXISTS (
        SELECT FROM unnest($48::bigint[], $49::bigint[]) AS needing(place, ord) WHERE needing.place = b.place AND ids[needing.ord] <> 0
    )
    ON CONFLICT DO NOTHING
), put AS (
    INSERT INTO cloche.records (tenant, run_id, seq, kind, path, record, hash, payload)
    SELECT r.tenant, ids[r.ord], r.seq, r.kind, r.path, r.record, r.hash, r.payload
    FROM outcome, unnest(
        $38::bigint[], $39::text[], $40::bigint[], $41::smallint[], $42::bytea[], $43::bytea[], $44::bytea[], $45::bytea[]
    ) AS r(ord, tenant, seq, kind, path, record, hash, payload)
    WHERE ids[r.ord] <> 0
), forgotten AS (
    DELETE FROM cloche.inbox USING outcome, unnest($46::bigint[], $47::bigint[]) AS t(ord, id)
    WHERE inbox.id = t.id AND ids[t.ord] <> 0 AND NOT inbox.kept
), granted AS (
    UPDATE cloche.inbox SET answer = 'granted', body = '' FROM outcome, unnest($46::bigint[], $47::bigint[]) AS t(ord, id)
    WHERE inbox.id = t.id AND ids[t.ord] <> 0 AND inbox.kept
), awaited_no_more AS (
    DELETE FROM cloche.awaited USING outcome, unnest($51::bigint[], $52::text[], $53::text[], $54::text[]) AS u(ord, tenant, run, name)
    WHERE awaited.tenant = u.tenant AND awaited.run = u.run AND awaited.name = u.name AND ids[u.ord] <> 0
), awaited_now AS (
    INSERT INTO cloche.awaited (tenant, run, name)
    SELECT w.tenant, w.run, w.name
    FROM outcome, unnest($55::bigint[], $56::text[], $57::text[], $58::text[]) AS w(ord, tenant, run, name) WHERE ids[w.ord] <> 0
    ON CONFLICT DO NOTHING
), left_for_others AS (
    INSERT INTO cloche.inbox (tenant, run, kind, body, token, posted_at)
    SELECT p.tenant, p.run, p.kind, p.body, p.token, p.at
    FROM outcome, unnest($60::bigint[], $61::text[], $62::text[], $63::text[], $64::bytea[], $65::text[], $66::bigint[])
        AS p(ord, tenant, run, kind, body, token, at)
    WHERE ids[p.ord] <> 0
    ON CONFLICT (token) DO NOTHING
), marked AS (
    INSERT INTO cloche.marks (tenant, run_id, name, value)
    SELECT m.tenant, ids[m.ord], m.name, m.value
    FROM outcome, unnest($67::bigint[], $68::text[], $69::text[], $70::text[]) AS m(ord, tenant, name, value)
    WHERE ids[m.ord] <> 0
    ON CONFLICT (run_id, name, tenant) DO UPDATE SET value = excluded.value
), returned AS (
    DELETE FROM cloche.remote_tasks AS t USING outcome,
        unnest($71::bigint[], $72::text[], $73::text[], $74::bigint[]) AS r(ord, tenant, run, call)
    WHERE t.tenant = r.tenant AND t.run = r.run AND t.call = r.call AND ids[r.ord] <> 0
), sent AS (
    INSERT INTO cloche.remote_tasks AS t (
        tenant, run, call, seq, step, path, sent_at, silence_ms, timeout_ms, is_pushed, body
    )
    SELECT s.tenant, s.run, s.call, s.seq, s.step, s.path, s.sent_at, s.silence_ms, s.timeout_ms, s.is_pushed,
        s.body
    FROM outcome, unnest(
        $75::bigint[], $76::text[], $77::text[], $78::bigint[], $79::bigint[], $80::text[], $81::bytea[],
        $82::bigint[], $83::bigint[], $84::bigint[], $85::boolean[], $86::bytea[]
    ) AS s(ord, tenant, run, call, seq, step, path, sent_at, silence_ms, timeout_ms, is_pushed, body)
    WHERE ids[s.ord] <> 0
    ON CONFLICT (tenant, run, call) DO UPDATE SET
        seq = excluded.seq, step = excluded.step, path = excluded.path,
        sent_at = excluded.sent_at, silence_ms = excluded.silence_ms, timeout_ms = excluded.timeout_ms,
        is_pushed = excluded.is_pushed, body = excluded.body, holder = NULL, taken_at = NULL, beat = 0,
        due_at = NULL, tries = 0, problem = NULL
), ended AS MATERIALIZED (
    SELECT a.tenant, a.run FROM a, outcome WHERE a.is_final AND ids[a.ord] <> 0
), awaited_by_ended AS (
    DELETE FROM cloche.awaited USING ended WHERE awaited.tenant = ended.tenant AND awaited.run = ended.run
), events_of_ended AS (
    DELETE FROM cloche.inbox USING ended
    WHERE inbox.tenant = ended.tenant AND inbox.run = ended.run AND name IS NOT NULL AND answer IS NULL AND NOT kept
        AND inbox.id <> ALL($47)
), kept_events_of_ended AS (
    UPDATE cloche.inbox SET answer = $59, body = '' FROM ended
    WHERE inbox.tenant = ended.tenant AND inbox.run = ended.run AND name IS NOT NULL AND answer IS NULL AND kept
        AND inbox.id <> ALL($47)
)
SELECT ids, is_ready, pg_current_xact_id_if_assigned()::text::bigint AS xid FROM outcome, ready
