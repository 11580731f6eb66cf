-- Vital signs of one instance: its version, its clock, connections in use and allowed.
--
-- The function is what the view pg_stat_activity shows; a new session would first read about two
-- other tables that the view joins.
--
-- Parallel workers are no connections, but roles without pg_read_all_stats don't see what a session
-- is. From PostgreSQL 17 on they see its place: the first max_connections are those of clients.
-- Before, all sessions of users count; if that is more than can be, the number is unknown (NULL).
SELECT current_setting('server_version') AS version,
       clock_timestamp() AS clock,
       CASE WHEN pg_has_role('pg_read_all_stats', 'USAGE') THEN
                (SELECT count(*) FROM pg_catalog.pg_stat_get_activity(NULL)
                  WHERE backend_type = 'client backend')
            WHEN current_setting('server_version_num')::integer >= 170000 THEN
                (SELECT count(*) FROM pg_stat_get_backend_idset() AS place
                  WHERE place < allowed AND pg_stat_get_backend_userid(place) <> 0)
            ELSE
                (SELECT CASE WHEN count(*) <= allowed THEN count(*) END
                   FROM pg_catalog.pg_stat_get_activity(NULL)
                  WHERE datid IS NOT NULL AND usesysid IS NOT NULL
                    AND coalesce(backend_type, 'client backend') = 'client backend')
       END::integer AS connections,
       allowed AS max_connections
  FROM (SELECT current_setting('max_connections')::integer) AS settings (allowed)
