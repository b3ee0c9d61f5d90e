-- Store version 5: clients leave requests to start runs, and workers say what they can start.

-- The workflows that a worker has, as JSON; NULL: it does not say.
ALTER TABLE workers ADD COLUMN offers TEXT;

-- The worker that answers a request to start a run: no other does while it lives.
ALTER TABLE inbox ADD COLUMN taker TEXT;
