-- Store version 2: large bodies are kept in parts, once each, by content. `payload` names the root of a record's body.

CREATE TABLE parts (
    digest BLOB PRIMARY KEY,
    depth INTEGER NOT NULL,
    form INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;

ALTER TABLE records ADD COLUMN payload BLOB;

CREATE INDEX records_payloads ON records (payload) WHERE payload IS NOT NULL;

CREATE TRIGGER records_have_their_payload BEFORE INSERT ON records
WHEN NEW.payload IS NOT NULL AND NOT EXISTS (SELECT 1 FROM parts WHERE digest = NEW.payload) BEGIN
    SELECT RAISE(ABORT, 'the payload of a record is stored before it');
END;

CREATE TRIGGER parts_are_not_changed BEFORE UPDATE ON parts BEGIN
    SELECT RAISE(ABORT, 'parts are never changed');
END;

CREATE TRIGGER parts_in_use_are_not_deleted BEFORE DELETE ON parts
WHEN EXISTS (SELECT 1 FROM records WHERE payload = OLD.digest) BEGIN
    SELECT RAISE(ABORT, 'parts are only deleted when no record needs them');
END;
