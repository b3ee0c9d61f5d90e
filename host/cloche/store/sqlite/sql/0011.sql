-- Store version 11.

-- ---- Large blobs ----

-- A guest of megabytes, in pieces: one a commit, so that no other commit waits for all of it. Its row in `blobs` comes last, and
-- has no bytes of its own: before that nobody sees any of it.
CREATE TABLE blob_pieces (
    digest TEXT NOT NULL,
    number INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (digest, number)
) STRICT;

CREATE TRIGGER blob_pieces_are_not_changed BEFORE UPDATE ON blob_pieces BEGIN
    SELECT RAISE(ABORT, 'blobs are never changed');
END;

CREATE TRIGGER blob_pieces_go_with_their_blob AFTER DELETE ON blobs BEGIN
    DELETE FROM blob_pieces WHERE digest = OLD.digest;
END;

-- ---- Remote steps: when an attempt is pushed again, how often it was, and why that did not succeed ----

ALTER TABLE remote_tasks ADD COLUMN due_at INTEGER;

ALTER TABLE remote_tasks ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;

ALTER TABLE remote_tasks ADD COLUMN problem TEXT
