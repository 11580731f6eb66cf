-- Vital signs of one instance: its version, its clock, connections in use and allowed.
SELECT current_setting('server_version') AS version,
       clock_timestamp() AS clock,
       (SELECT coalesce(sum(numbackends), 0)::integer FROM pg_stat_database) AS connections,
       current_setting('max_connections')::integer AS max_connections
