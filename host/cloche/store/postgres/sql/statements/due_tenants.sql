-- From one tenant to the next by index, however many runs each has.
WITH RECURSIVE due(tenant) AS (
    SELECT (
        SELECT tenant FROM cloche.runs
        WHERE owner IS NULL AND (status IN ('running', 'pending') OR (status = 'waiting' AND wake_at IS NOT NULL))
        ORDER BY tenant LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT tenant FROM cloche.runs
        WHERE owner IS NULL AND (status IN ('running', 'pending') OR (status = 'waiting' AND wake_at IS NOT NULL))
            AND tenant > due.tenant
        ORDER BY tenant LIMIT 1
    )
    FROM due WHERE due.tenant IS NOT NULL
)
SELECT tenant FROM due
WHERE tenant IS NOT NULL AND EXISTS (
    SELECT FROM cloche.runs
    WHERE runs.tenant = due.tenant AND coalesce(wake_at, 0) <= $1
        AND owner IS NULL AND (status IN ('running', 'pending') OR (status = 'waiting' AND wake_at IS NOT NULL))
        AND {not_held}
)
ORDER BY tenant
