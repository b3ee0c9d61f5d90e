-- Store version 10.

-- ---- Events: who waits for one of this name, a hook's token among them ----

CREATE INDEX awaited_by_name ON awaited (tenant, name, run)
