-- Store version 5. It adds, and takes nothing away: workers of version 1 go on.
SELECT 1;
