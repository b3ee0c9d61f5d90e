-- Of parts that nobody needed (`$1`, `$2`) those that still nobody needs: not what came since ($3), not what a record names now,
-- not what lies below these or below others that were kept ($4, $5). -> those that are gone.
WITH RECURSIVE unneeded AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::bytea[]) AS u(tenant, digest)
), needed(tenant, digest) AS (
    (
        SELECT tenant, digest FROM cloche.parts WHERE xid >= $3
        UNION ALL
        SELECT tenant, digest FROM unneeded AS u
        WHERE EXISTS (SELECT FROM cloche.records AS r WHERE r.tenant = u.tenant AND r.payload = u.digest)
        UNION ALL
        SELECT * FROM unnest($4::text[], $5::bytea[])
    )
    UNION
    SELECT parts.tenant, substring(parts.data FROM n * 32 + 1 FOR 32)
    FROM needed JOIN cloche.parts USING (tenant, digest) CROSS JOIN generate_series(0, length(parts.data) / 32 - 1) AS n
    WHERE parts.depth > 0
)
DELETE FROM cloche.parts USING unneeded AS u
WHERE parts.tenant = u.tenant AND parts.digest = u.digest
    AND NOT EXISTS (SELECT FROM needed WHERE needed.tenant = parts.tenant AND needed.digest = parts.digest)
RETURNING parts.tenant, parts.digest
