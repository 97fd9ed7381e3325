// The tables of audit.db, one script for each version. A script that shipped is never changed; a new one follows it.

export const migrations: readonly string[] = [
  `
  CREATE TABLE records (
    row INTEGER PRIMARY KEY,
    instance TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    received INTEGER NOT NULL,
    time INTEGER NOT NULL,
    id TEXT NOT NULL,
    peer TEXT,
    service TEXT,
    decision TEXT NOT NULL,
    hop TEXT NOT NULL,
    reason TEXT NOT NULL,
    rule TEXT,
    path TEXT,
    body TEXT NOT NULL,
    UNIQUE (instance, epoch, seq)
  ) STRICT;
  CREATE INDEX records_by_time ON records (time);
  CREATE INDEX records_by_id ON records (id);
  CREATE INDEX records_by_peer ON records (peer, time);
  CREATE INDEX records_by_service ON records (service, time);
  CREATE INDEX records_by_rule ON records (rule, time);
  CREATE INDEX records_by_path ON records (path, time);
  -- Most decisions are allow, which an index would not narrow.
  CREATE INDEX records_refused ON records (decision, time) WHERE decision <> 'allow';

  CREATE TABLE instances (
    instance TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL,
    last INTEGER NOT NULL,
    seen INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE gaps (
    row INTEGER PRIMARY KEY,
    instance TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    noticed INTEGER NOT NULL,
    declared INTEGER NOT NULL,
    reason TEXT
  ) STRICT;
  CREATE INDEX gaps_by_instance ON gaps (instance, epoch, first);

  -- AUTOINCREMENT: a sequence is never used again, even when the newest rows are gone.
  CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    time INTEGER NOT NULL,
    action TEXT NOT NULL,
    outcome TEXT NOT NULL,
    actor TEXT NOT NULL,
    subject TEXT,
    reason TEXT,
    body TEXT NOT NULL
  ) STRICT;
  CREATE INDEX events_by_time ON events (time);
  CREATE INDEX events_by_action ON events (action, time);
  CREATE INDEX events_by_actor ON events (actor, time);
  `,
  `
  CREATE TABLE witnessed (
    instance TEXT PRIMARY KEY,
    service TEXT NOT NULL,
    origin TEXT NOT NULL,
    verifier_key TEXT NOT NULL,
    size INTEGER NOT NULL,
    checkpoint TEXT NOT NULL,
    seen INTEGER NOT NULL,
    alarm TEXT,
    reason TEXT,
    -- The checkpoint that contradicts the one above.
    evidence TEXT
  ) STRICT, WITHOUT ROWID;

  -- How often what was decided, by hour: questions about millions of records are answered from here.
  CREATE TABLE tallies (
    hour INTEGER NOT NULL,
    decision TEXT NOT NULL,
    peer TEXT NOT NULL,
    service TEXT NOT NULL,
    rule TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (hour, decision, peer, service, rule)
  ) STRICT, WITHOUT ROWID;
  INSERT INTO tallies
    SELECT time / 3600000, decision, ifnull(peer, ''), ifnull(service, ''), ifnull(rule, reason), count(*)
    FROM records WHERE reason <> 'heartbeat' GROUP BY 1, 2, 3, 4, 5;
  `,
  `
  -- What each instance has of the store: when it is full, whoever has most loses first.
  CREATE TABLE shares (
    instance TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  INSERT INTO shares SELECT instance, sum(length(body)) FROM records GROUP BY instance;
  `,
  `
  -- Both are absent from most records of a mesh that uses neither, which then cost their index nothing.
  ALTER TABLE records ADD COLUMN cluster TEXT;
  ALTER TABLE records ADD COLUMN trace TEXT;
  CREATE INDEX records_by_cluster ON records (cluster, time) WHERE cluster IS NOT NULL;
  CREATE INDEX records_by_trace ON records (trace) WHERE trace IS NOT NULL;
  `,
];
