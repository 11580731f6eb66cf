-- Take back every membership and setting that a test gave to RAINBO's role on an instance.
DO $$
DECLARE
    granted regrole;
BEGIN
    FOR granted IN SELECT roleid FROM pg_auth_members WHERE member = 'rainbo'::regrole LOOP
        EXECUTE format('REVOKE %s FROM rainbo', granted);
    END LOOP;
END
$$;
ALTER ROLE rainbo RESET ALL;
ALTER ROLE rainbo
    NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT LOGIN
    CONNECTION LIMIT -1 VALID UNTIL 'infinity';
