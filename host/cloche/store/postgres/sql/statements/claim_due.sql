-- Of each tenant up to its share, those that have waited longest first; what another worker is taking now is passed over.
WITH shares AS (
    SELECT * FROM unnest($3::text[], $4::bigint[]) WITH ORDINALITY AS s(tenant, share, ord)
), due AS MATERIALIZED (
    SELECT shares.tenant, shares.ord, found.run, found.place FROM shares CROSS JOIN LATERAL (
        SELECT run, coalesce(wake_at, 0) AS place FROM cloche.runs
        WHERE runs.tenant = shares.tenant AND coalesce(wake_at, 0) <= $2
            AND owner IS NULL AND (status IN ('running', 'pending') OR (status = 'waiting' AND wake_at IS NOT NULL))
            AND {not_held}
        ORDER BY coalesce(wake_at, 0), id LIMIT shares.share
        FOR UPDATE SKIP LOCKED
    ) AS found
), taken AS (
    UPDATE cloche.runs SET
        owner = $1, fence = fence + 1, problem = NULL, status = CASE status WHEN 'blocked' THEN 'running' ELSE status END
    FROM due
    WHERE runs.tenant = due.tenant AND runs.run = due.run AND EXISTS (SELECT FROM cloche.workers WHERE workers.id = $1 FOR KEY SHARE)
    RETURNING runs.*, due.ord, due.place
)
SELECT {row}, pg_current_xact_id()::text::bigint AS xid FROM taken ORDER BY ord, place, id
