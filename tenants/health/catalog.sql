-- Relations by name, or by oid: the first of each name in the search_path.
SELECT DISTINCT ON (asked.number)
       asked.number, class.oid::bigint, namespace.nspname::text, class.relname::text,
       class.relkind::text,
       coalesce('security_invoker=true' = ANY (class.reloptions)
                OR 'security_invoker=on' = ANY (class.reloptions), false),
       ARRAY(SELECT privilege FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege
              WHERE has_table_privilege(class.oid, privilege)),
       columns.names, columns.reads, columns.inserts, columns.updates
  FROM (
        SELECT number, schema, name, NULL::bigint AS oid
          FROM unnest(%(schemas)s::text[], %(names)s::text[]) WITH ORDINALITY
            AS named (schema, name, number)
        UNION ALL
        SELECT -number, NULL, NULL, oid
          FROM unnest(%(oids)s::bigint[]) WITH ORDINALITY AS numbered (oid, number)
       ) AS asked
  JOIN pg_class AS class ON class.relname = asked.name OR class.oid = asked.oid::oid
  JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
 CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(attname::text ORDER BY attnum), '{}') AS names,
               coalesce(array_agg(has_column_privilege(class.oid, attnum, 'SELECT')
                                  ORDER BY attnum), '{}') AS reads,
               coalesce(array_agg(has_column_privilege(class.oid, attnum, 'INSERT')
                                  ORDER BY attnum), '{}') AS inserts,
               coalesce(array_agg(has_column_privilege(class.oid, attnum, 'UPDATE')
                                  ORDER BY attnum), '{}') AS updates
          FROM pg_attribute
         WHERE attrelid = class.oid AND attnum > 0 AND NOT attisdropped
       ) AS columns
 WHERE class.relkind IN ('r', 'p', 'v', 'm', 'f')
   AND namespace.nspname NOT IN ('pg_catalog', 'information_schema')
   AND (asked.oid IS NOT NULL OR namespace.nspname = asked.schema
        OR asked.schema IS NULL AND namespace.nspname = ANY (%(path)s::text[]))
 ORDER BY asked.number, array_position(%(path)s::text[], namespace.nspname::text);
-- Functions by name and number of arguments, or by oid: those of the first schema that has any.
SELECT oid, nspname, proname, arguments, is_held, lanname, by_caller, definition, search_path
  FROM (
        SELECT proc.oid::bigint AS oid, namespace.nspname::text, proc.proname::text,
               array_to_string(ARRAY(
                   SELECT format_type(kind, NULL)
                     FROM unnest(proc.proargtypes) WITH ORDINALITY AS argument (kind, number)
                    ORDER BY number), ', ') AS arguments,
               has_function_privilege(proc.oid, 'EXECUTE') AS is_held, language.lanname::text,
               proc.prokind IN ('f', 'p') AND NOT proc.prosecdef
                   AND language.lanname NOT IN ('internal', 'c') AS by_caller,
               CASE WHEN proc.prokind IN ('f', 'p') THEN pg_get_functiondef(proc.oid)
                    ELSE '' END AS definition,
               (SELECT substr(setting, length('search_path=') + 1)
                  FROM unnest(proc.proconfig) AS setting
                 WHERE setting LIKE 'search\_path=%%') AS search_path,
               rank() OVER (PARTITION BY asked.number ORDER BY
                   array_position(%(path)s::text[], namespace.nspname::text)) AS place
          FROM (
                SELECT number, schema, name, count, NULL::bigint AS oid
                  FROM unnest(%(schemas)s::text[], %(names)s::text[], %(counts)s::integer[])
                  WITH ORDINALITY AS named (schema, name, count, number)
                UNION ALL
                SELECT -number, NULL, NULL, NULL, oid
                  FROM unnest(%(oids)s::bigint[]) WITH ORDINALITY AS numbered (oid, number)
               ) AS asked
          JOIN pg_proc AS proc ON proc.oid = asked.oid::oid
            OR proc.proname = asked.name
               AND (asked.count BETWEEN proc.pronargs - proc.pronargdefaults AND proc.pronargs
                    OR proc.provariadic <> 0 AND asked.count >= proc.pronargs - 1)
          JOIN pg_namespace AS namespace ON namespace.oid = proc.pronamespace
          JOIN pg_language AS language ON language.oid = proc.prolang
         WHERE asked.oid IS NOT NULL OR namespace.nspname = asked.schema
            OR asked.schema IS NULL AND namespace.nspname = ANY (%(path)s::text[])
       ) AS found
 WHERE place = 1 AND nspname NOT IN ('pg_catalog', 'information_schema');
-- The functions that a write to a table calls by its triggers.
SELECT trigger.tgfoid::bigint
  FROM pg_trigger AS trigger
 WHERE trigger.tgrelid = %(oid)s::bigint::oid AND NOT trigger.tgisinternal
   AND trigger.tgenabled IN ('O', 'A') AND trigger.tgtype::integer & %(events)s::integer <> 0
   AND (trigger.tgtype::integer & 16 = 0 OR trigger.tgtype::integer & %(events)s::integer <> 16
        OR cardinality(trigger.tgattr::smallint[]) = 0
        OR EXISTS (SELECT FROM pg_attribute
                    WHERE attrelid = trigger.tgrelid AND attnum = ANY (trigger.tgattr)
                      AND attname::text = ANY (%(columns)s::text[])));
-- What a view reads and calls.
SELECT CASE WHEN part.refclassid = 'pg_class'::regclass THEN 'relation' ELSE 'function' END,
       part.refobjid::bigint, attribute.attname::text
  FROM pg_rewrite AS rule
  JOIN pg_depend AS part ON part.classid = 'pg_rewrite'::regclass AND part.objid = rule.oid
  LEFT JOIN pg_attribute AS attribute
    ON part.refclassid = 'pg_class'::regclass
   AND attribute.attrelid = part.refobjid AND attribute.attnum = part.refobjsubid
   AND part.refobjsubid > 0
 WHERE rule.ev_class = %(oid)s::bigint::oid AND rule.ev_type = '1'
   AND part.refobjid <> rule.ev_class
   AND part.refclassid IN ('pg_class'::regclass, 'pg_proc'::regclass);
-- The sequences and functions that a new row's defaults and checks use.
SELECT 'sequence' AS kind, class.oid::bigint, namespace.nspname::text, class.relname::text,
       -- CASE: the planner may judge a table by this condition before it knows that it is one
       CASE class.relkind WHEN 'S' THEN has_sequence_privilege(class.oid, 'USAGE') END
  FROM pg_attrdef AS preset
  JOIN pg_attribute AS attribute
    ON attribute.attrelid = preset.adrelid AND attribute.attnum = preset.adnum
  JOIN pg_depend AS part ON part.classid = 'pg_attrdef'::regclass AND part.objid = preset.oid
   AND part.refclassid = 'pg_class'::regclass
  JOIN pg_class AS class ON class.oid = part.refobjid AND class.relkind = 'S'
  JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
 WHERE preset.adrelid = %(oid)s::bigint::oid
   AND NOT attribute.attname::text = ANY (%(given)s::text[])
UNION ALL
SELECT 'function', proc.oid::bigint, '', '', false
  FROM pg_depend AS part
  JOIN pg_proc AS proc ON proc.oid = part.refobjid
 WHERE part.refclassid = 'pg_proc'::regclass
   AND (part.classid = 'pg_attrdef'::regclass AND part.objid IN (
            SELECT preset.oid FROM pg_attrdef AS preset
              JOIN pg_attribute AS attribute
                ON attribute.attrelid = preset.adrelid AND attribute.attnum = preset.adnum
             WHERE preset.adrelid = %(oid)s::bigint::oid
               AND NOT attribute.attname::text = ANY (%(given)s::text[]))
        OR part.classid = 'pg_constraint'::regclass AND part.objid IN (
            SELECT oid FROM pg_constraint
             WHERE conrelid = %(oid)s::bigint::oid AND contype = 'c'));
-- All schemas, and whether the role may use them.
SELECT nspname::text, has_schema_privilege(oid, 'USAGE') FROM pg_namespace
 WHERE nspname NOT IN ('pg_catalog', 'information_schema');
