-- A page of a run, each row with the head of the run; one row without a record if there is none. -> nothing if there is no such run.
SELECT runs.head_seq, runs.head_hash, page.record, page.hash, page.payload,
    (SELECT hash FROM cloche.records AS p WHERE p.tenant = $1 AND p.run_id = runs.id AND p.seq = $3) AS previous
FROM cloche.runs LEFT JOIN LATERAL (
    SELECT seq, record, hash, payload FROM cloche.records AS r
    WHERE r.tenant = $1 AND r.run_id = runs.id AND r.seq > $3 ORDER BY seq LIMIT $4
) AS page ON true
WHERE runs.tenant = $1 AND runs.run = $2
ORDER BY page.seq
