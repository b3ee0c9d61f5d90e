-- Store version 6: a file whose write-ahead log was removed is told from a whole one (`files.py`).

-- One row: how often what is written began a new life. `<store>.lock` has the number that was promised.
CREATE TABLE life (number INTEGER NOT NULL) STRICT;

INSERT INTO life (number) VALUES (0)
