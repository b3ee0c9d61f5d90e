-- What a role needs that deletes runs (`cloche prune`), beside what a worker's may do. `{role}` is replaced by its name.

GRANT USAGE ON SCHEMA cloche TO {role};

GRANT SELECT ON ALL TABLES IN SCHEMA cloche TO {role};

GRANT USAGE ON ALL SEQUENCES IN SCHEMA cloche TO {role};

GRANT DELETE ON cloche.records, cloche.parts, cloche.blobs, cloche.runs, cloche.marks, cloche.inbox, cloche.checkpoints TO {role};

GRANT UPDATE, DELETE ON cloche.awaited, cloche.waiting_events TO {role};

GRANT INSERT ON cloche.tombstones TO {role};

GRANT INSERT, UPDATE ON cloche.usage_of_deleted TO {role};

GRANT INSERT ON cloche.audit_log TO {role};
