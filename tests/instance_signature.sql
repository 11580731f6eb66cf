-- One value that changes when anything of an instance's database or role is altered, but its rows.
SELECT md5(jsonb_build_array(
    (SELECT jsonb_agg(jsonb_build_array(datname, datacl, datconnlimit, datallowconn))
     FROM pg_database WHERE datname = %(database)s),
    (SELECT jsonb_agg(jsonb_build_array(nspname, nspacl, nspowner) ORDER BY nspname)
     FROM pg_namespace WHERE nspname !~ '^pg_'),
    (SELECT jsonb_agg(
        jsonb_build_array(oid, relname, relkind, relowner, relacl, relrowsecurity, relpersistence)
        ORDER BY oid)
     FROM pg_class WHERE oid >= 16384),
    (SELECT jsonb_agg(
        jsonb_build_array(attrelid, attnum, attname, atttypid, atttypmod, attnotnull, attacl)
        ORDER BY attrelid, attnum)
     FROM pg_attribute WHERE attrelid >= 16384),
    (SELECT jsonb_agg(
        jsonb_build_array(adrelid, adnum, pg_get_expr(adbin, adrelid)) ORDER BY adrelid, adnum)
     FROM pg_attrdef WHERE adrelid >= 16384),
    (SELECT jsonb_agg(jsonb_build_array(conname, pg_get_constraintdef(oid)) ORDER BY oid)
     FROM pg_constraint WHERE oid >= 16384),
    (SELECT jsonb_agg(jsonb_build_array(tgname, tgenabled, tgfoid) ORDER BY oid)
     FROM pg_trigger WHERE NOT tgisinternal),
    (SELECT jsonb_agg(jsonb_build_array(proname, prosrc, proacl) ORDER BY oid)
     FROM pg_proc WHERE oid >= 16384),
    (SELECT jsonb_agg(jsonb_build_array(oid, proacl) ORDER BY oid)
     FROM pg_proc WHERE oid < 16384 AND proacl IS NOT NULL),
    (SELECT jsonb_agg(to_jsonb(role)) FROM pg_authid AS role WHERE rolname = %(role)s),
    (SELECT jsonb_agg(jsonb_build_array(roleid, member) ORDER BY roleid, member)
     FROM pg_auth_members WHERE member = %(role)s::regrole),
    (SELECT jsonb_agg(jsonb_build_array(setrole, setdatabase, setconfig) ORDER BY setrole)
     FROM pg_db_role_setting),
    (SELECT setting_file FROM pg_read_file('postgresql.auto.conf') AS setting_file)
)::text)
