-- What a role needs that runs workers, clients and the command line. `{role}` is replaced by its name.

GRANT USAGE ON SCHEMA cloche TO {role};

GRANT SELECT ON ALL TABLES IN SCHEMA cloche TO {role};

GRANT USAGE ON ALL SEQUENCES IN SCHEMA cloche TO {role};

GRANT INSERT ON cloche.records, cloche.parts, cloche.blobs, cloche.epoch TO {role};

GRANT INSERT, UPDATE ON cloche.runs, cloche.marks TO {role};

GRANT UPDATE ON cloche.departures TO {role};

GRANT INSERT, UPDATE, DELETE ON cloche.awaited, cloche.waiting_events TO {role};

GRANT INSERT, UPDATE, DELETE ON cloche.inbox, cloche.workers, cloche.versions, cloche.checkpoints, cloche.tokens TO {role};

GRANT INSERT, UPDATE, DELETE ON cloche.remote_tasks TO {role};

GRANT INSERT ON cloche.remote_secret TO {role};

GRANT INSERT ON cloche.audit_log TO {role};

GRANT INSERT, UPDATE, DELETE ON cloche.holds TO {role};

GRANT INSERT, UPDATE, DELETE ON cloche.webhooks, cloche.deliveries, cloche.received TO {role};

GRANT INSERT, UPDATE, DELETE ON cloche.schedules, cloche.firings TO {role};

GRANT INSERT, UPDATE, DELETE ON cloche.permits, cloche.held, cloche.limit_uses, cloche.limit_queues TO {role};
