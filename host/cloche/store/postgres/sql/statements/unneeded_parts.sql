-- Parts that no record needs, those above others first. The roots are what records name, and from there downwards: a part above
-- depth 0 lists the digests of 32 bytes below it.
WITH RECURSIVE needed(tenant, digest) AS (
    SELECT tenant, payload FROM cloche.records WHERE payload IS NOT NULL
    UNION
    SELECT parts.tenant, substring(parts.data FROM n * 32 + 1 FOR 32)
    FROM needed JOIN cloche.parts USING (tenant, digest) CROSS JOIN generate_series(0, length(parts.data) / 32 - 1) AS n
    WHERE parts.depth > 0
)
SELECT tenant, digest FROM cloche.parts WHERE NOT EXISTS (
    SELECT FROM needed WHERE needed.tenant = parts.tenant AND needed.digest = parts.digest
)
ORDER BY depth DESC
