-- What the master has on top: the directory of all e-mails of the fleet.
CREATE TABLE user_email_routing (
    id bigint PRIMARY KEY,
    email text,
    tenant_id bigint,
    rds_instance_id integer, -- NULL: the master itself
    user_id bigint,
    user_name text,
    status text,
    updated_at timestamptz DEFAULT now()
);
CREATE INDEX user_email_routing_email ON user_email_routing (email);

GRANT SELECT ON user_email_routing TO rainbo;
