-- The ledger: registry, jobs, attempts and their history. Redis holds nothing that is not here or made anew.
-- States and their words are those of app/pool/model.py.

CREATE TABLE groups (
    name        text PRIMARY KEY,
    strategy    text,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE workers (
    id                 text PRIMARY KEY,
    identity           text NOT NULL,  -- SHA-256 of machine id, GPU UUIDs, and the name where there is no GPU
    name               text NOT NULL,
    hostname           text NOT NULL,
    host_id            text NOT NULL,
    boot_id            text NOT NULL,
    address            text,
    port               integer,
    pid                integer,
    version            text NOT NULL DEFAULT '',
    driver             text,
    gpus               jsonb NOT NULL DEFAULT '[]',
    gpu_model          text,
    gpu_reason         text,
    vram_mb            integer,
    tags               text[] NOT NULL DEFAULT '{}',
    dynamic_tags       text[] NOT NULL DEFAULT '{}',
    groups             text[] NOT NULL DEFAULT '{}',
    workflows          jsonb NOT NULL DEFAULT '[]',
    not_offered        jsonb NOT NULL DEFAULT '{}',
    allowed_workflows  text[] NOT NULL DEFAULT '{}',
    slots              integer NOT NULL CHECK (slots >= 1),
    queue_depth        integer CHECK (queue_depth >= 0),
    health             text NOT NULL CHECK (health IN ('healthy', 'degraded', 'down', 'left')),
    intent             text NOT NULL CHECK (intent IN
                           ('waiting', 'active', 'paused', 'draining', 'drained', 'refused', 'decommissioned')),
    status             text NOT NULL,
    reason             text,
    restart            integer NOT NULL DEFAULT 0,
    paused_until       timestamptz,
    last_heartbeat     timestamptz,
    incarnation        bigint NOT NULL,
    joined_at          timestamptz NOT NULL DEFAULT now(),
    created_at         timestamptz NOT NULL DEFAULT now(),
    decommissioned_at  timestamptz
);
CREATE UNIQUE INDEX workers_identity ON workers (identity) WHERE decommissioned_at IS NULL;

-- A join that is under way: becomes or renews a worker only when it is confirmed.
CREATE TABLE joins (
    id            text PRIMARY KEY,
    worker_id     text NOT NULL,
    incarnation   bigint NOT NULL,
    identity      text NOT NULL,
    nonce         text NOT NULL,
    answer        text NOT NULL,
    offer         jsonb NOT NULL,
    token_sha256  text NOT NULL,
    admitted_by   text,  -- id of the join token, which is spent at the confirmation; null: the worker's own token
    created_at    timestamptz NOT NULL DEFAULT now(),
    confirmed_at  timestamptz
);
CREATE INDEX joins_worker ON joins (worker_id);

CREATE TABLE worker_transitions (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    worker_id    text NOT NULL REFERENCES workers,
    incarnation  bigint NOT NULL,
    from_health  text,  -- null: joined for the first time
    to_health    text NOT NULL,
    cause        text NOT NULL,
    at           timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX worker_transitions_worker ON worker_transitions (worker_id, id DESC);

CREATE TABLE jobs (
    id               text PRIMARY KEY,
    name             text NOT NULL DEFAULT '',
    workflow         text NOT NULL,
    params           jsonb NOT NULL,
    owner            text NOT NULL,
    requires         text[] NOT NULL DEFAULT '{}',
    prefers          jsonb NOT NULL DEFAULT '[]',
    group_name       text REFERENCES groups ON UPDATE CASCADE,
    min_vram_mb      integer,
    gpus             integer,
    only_workers     text[] NOT NULL DEFAULT '{}',
    exclude_workers  text[] NOT NULL DEFAULT '{}',
    class            text NOT NULL,  -- name of its requirement's class, as matching.py computes it
    priority         integer NOT NULL DEFAULT 50 CHECK (priority BETWEEN 0 AND 100),
    timeout_s        integer,
    stall_s          integer,
    max_failures     integer NOT NULL DEFAULT 3,
    max_orphan_s     integer,
    strict           boolean NOT NULL DEFAULT false,
    resume           jsonb,
    retry_of         text REFERENCES jobs,
    state            text NOT NULL DEFAULT 'pending' CHECK (state IN
                         ('pending', 'assigned', 'running', 'succeeded', 'failed', 'cancelled')),
    attempt          integer NOT NULL DEFAULT 1,  -- the present one, or the next while pending
    failures         integer NOT NULL DEFAULT 0,
    worker_id        text REFERENCES workers,
    incarnation      bigint,
    nonce            text,
    progress         double precision NOT NULL DEFAULT 0,
    progress_number  bigint NOT NULL DEFAULT 0,
    text             text NOT NULL DEFAULT '',
    error            text,
    waiting          text,         -- why a pending job waits, as dispatch saw it last
    not_before       timestamptz,  -- of the next attempt
    created_at       timestamptz NOT NULL DEFAULT now(),
    assigned_at      timestamptz,
    started_at       timestamptz,
    ended_at         timestamptz,
    CHECK ((state IN ('assigned', 'running')) <= (worker_id IS NOT NULL AND incarnation IS NOT NULL)),
    CHECK ((state IN ('succeeded', 'failed', 'cancelled')) = (ended_at IS NOT NULL))
);
CREATE INDEX jobs_pending ON jobs (class, priority DESC, created_at) WHERE state = 'pending';
CREATE INDEX jobs_held ON jobs (worker_id) WHERE state IN ('assigned', 'running');
CREATE INDEX jobs_newest ON jobs (created_at DESC, id DESC);
CREATE INDEX jobs_owner ON jobs (owner, created_at DESC, id DESC);
CREATE INDEX jobs_state ON jobs (state, created_at DESC, id DESC);

CREATE TABLE attempts (
    job_id        text NOT NULL REFERENCES jobs,
    number        integer NOT NULL,
    worker_id     text NOT NULL REFERENCES workers,
    incarnation   bigint NOT NULL,
    gpus          text[] NOT NULL DEFAULT '{}',
    assigned_at   timestamptz NOT NULL DEFAULT now(),
    started_at    timestamptz,
    ended_at      timestamptz,
    end_word      text CHECK (end_word IN
                      ('succeeded', 'failed', 'stopped', 'cancelled', 'taken back', 'taken away')),
    cause         text,
    error         text,
    signal        integer,
    exit_code     integer,
    progress      double precision NOT NULL DEFAULT 0,
    resumed_from  jsonb,  -- {"attempt", "number", "at", "fraction"} of the checkpoint
    lost_s        double precision,
    refused       integer NOT NULL DEFAULT 0,
    PRIMARY KEY (job_id, number)
);
CREATE INDEX attempts_worker ON attempts (worker_id, assigned_at DESC);
CREATE INDEX attempts_open ON attempts (worker_id) WHERE end_word IS NULL;
CREATE UNIQUE INDEX attempts_one_running ON attempts (job_id) WHERE started_at IS NOT NULL AND end_word IS NULL;

CREATE TABLE checkpoints (
    job_id    text NOT NULL REFERENCES jobs,
    attempt   integer NOT NULL,
    number    bigint NOT NULL,
    state     jsonb NOT NULL,
    files     jsonb NOT NULL DEFAULT '[]',
    fraction  double precision NOT NULL DEFAULT 0,
    at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job_id, attempt, number)
);

CREATE TABLE results (
    job_id     text PRIMARY KEY REFERENCES jobs,
    attempt    integer NOT NULL,
    worker_id  text NOT NULL REFERENCES workers,
    result     jsonb,
    outputs    jsonb NOT NULL DEFAULT '[]',
    at         timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE refused_reports (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id       text NOT NULL REFERENCES jobs,
    attempt      integer NOT NULL,
    worker_id    text NOT NULL,
    incarnation  bigint NOT NULL,
    kind         text NOT NULL,
    report       jsonb NOT NULL,
    why          text NOT NULL,
    at           timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX refused_reports_once ON refused_reports (job_id, attempt, worker_id, incarnation, kind);

CREATE TABLE log_lines (
    job_id   text NOT NULL REFERENCES jobs,
    attempt  integer NOT NULL,
    number   integer NOT NULL,
    line     text NOT NULL,
    at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job_id, attempt, number)
);

CREATE TABLE events (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT now(),
    kind       text NOT NULL,
    worker_id  text,
    job_id     text,
    actor      text NOT NULL DEFAULT 'pool',
    sentence   text NOT NULL
);

CREATE TABLE notifications (
    id         text PRIMARY KEY,  -- stable: made from what it tells, so that telling twice is one
    owner      text NOT NULL,
    kind       text NOT NULL,
    job_id     text REFERENCES jobs,
    worker_id  text,
    sentence   text NOT NULL,
    facts      jsonb NOT NULL DEFAULT '{}',
    at         timestamptz NOT NULL DEFAULT now(),
    read_at    timestamptz
);
CREATE INDEX notifications_owner ON notifications (owner, at DESC);

CREATE TABLE worker_samples (
    worker_id    text NOT NULL,
    at           timestamptz NOT NULL,
    load         double precision,
    utilisation  double precision,
    vram_used    double precision,  -- 0 to 1
    temperature_c  integer,
    power_w      double precision,
    attempts     integer,
    figures      jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (worker_id, at)
) PARTITION BY RANGE (at);
CREATE TABLE worker_samples_else PARTITION OF worker_samples DEFAULT;

CREATE TABLE tokens (
    id            text PRIMARY KEY,
    kind          text NOT NULL CHECK (kind IN ('admin', 'creator', 'read', 'metrics', 'agent', 'join', 'embed')),
    owner         text NOT NULL,
    sha256        text NOT NULL UNIQUE,
    worker_id     text REFERENCES workers,
    uses_left     integer,
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz,
    revoked_at    timestamptz,
    last_used_at  timestamptz
);

CREATE TABLE settings (
    name   text PRIMARY KEY,
    value  jsonb NOT NULL,
    at     timestamptz NOT NULL DEFAULT now(),
    actor  text NOT NULL
);

CREATE TABLE idempotency_keys (
    owner        text NOT NULL,
    key          text NOT NULL,
    body_sha256  text NOT NULL,
    status       integer,  -- null while the first request still runs
    answer       jsonb,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, key)
);
