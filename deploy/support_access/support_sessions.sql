-- Support sessions on one instance: run it there as the owner of the application's tables, once.
-- It may be run again. If RAINBO's role has another name than rainbo, change the two GRANTs.
CREATE TABLE IF NOT EXISTS rainbo_support_sessions (
    jti uuid PRIMARY KEY,                  -- of the assertion: one session each
    ghost_id text NOT NULL,                -- the ghost user's id in this database, as text
    tenant_id text NOT NULL,               -- the only tenant that the session may enter
    person text NOT NULL,                  -- who it is, for the banner
    reason text NOT NULL,
    ticket text NOT NULL DEFAULT '',
    read_only boolean NOT NULL,
    redeemed_at timestamptz,               -- null: ended before it was redeemed
    ends_at timestamptz NOT NULL,
    active_at timestamptz,                 -- of the last request
    requests bigint NOT NULL DEFAULT 0,
    blocked bigint NOT NULL DEFAULT 0,     -- requests that the session was not allowed to make
    ended_at timestamptz,
    ended_by text,
    refused bigint NOT NULL DEFAULT 0,     -- further attempts to redeem the same assertion
    refused_at timestamptz,
    CONSTRAINT rainbo_support_redeemed_or_ended
        CHECK (redeemed_at IS NOT NULL OR ended_at IS NOT NULL),
    CONSTRAINT rainbo_support_one_hour
        CHECK (ends_at <= redeemed_at + interval '1 hour'),
    CONSTRAINT rainbo_support_ended_by
        CHECK ((ended_at IS NULL) = (ended_by IS NULL))
);

-- RAINBO reads how a session went, and ends it. It redeems none: redeemed_at is not its own.
GRANT SELECT (
    jti, ghost_id, tenant_id, redeemed_at, ends_at, active_at, requests, blocked, ended_at, ended_by,
    refused, refused_at
) ON rainbo_support_sessions TO rainbo;
GRANT INSERT (
    jti, ghost_id, tenant_id, person, reason, ticket, read_only, ends_at, ended_at, ended_by
), UPDATE (ended_at, ended_by) ON rainbo_support_sessions TO rainbo;

-- If the application's role does not own the table, it needs:
-- GRANT SELECT, INSERT, UPDATE ON rainbo_support_sessions TO app;
