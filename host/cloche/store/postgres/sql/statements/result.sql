SELECT r.record, r.hash, r.seq, r.payload, coalesce(p.hash, '') AS previous
FROM cloche.records AS r LEFT JOIN cloche.records AS p ON p.tenant = r.tenant AND p.run_id = r.run_id AND p.seq = r.seq - 1
WHERE r.tenant = $1 AND r.run_id = (SELECT id FROM cloche.runs WHERE runs.tenant = $1 AND runs.run = $2)
    AND r.path = $3 AND r.kind IN (6, 7, 11, 21)
ORDER BY r.seq DESC LIMIT 1
