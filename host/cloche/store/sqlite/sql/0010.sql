-- Store version 10.
SELECT 1
