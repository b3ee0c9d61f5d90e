-- Store version 5. It adds, and takes nothing away: workers of version 1 go on.

-- ---- Events: who waits for one of this name, a hook's token among them ----

CREATE INDEX awaited_by_name ON cloche.awaited (tenant, name, run);
