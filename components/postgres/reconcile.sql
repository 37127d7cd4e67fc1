-- Roles, verifiers, grants and extensions, as declared: psql -X -f reconcile.sql, as the superuser on the socket.
-- Idempotent: a second run changes nothing. verifiers.sql and wanted.sql beside it are generated.
\set ON_ERROR_STOP on
-- terse: an error must not repeat the statement, which may hold a verifier.
\set VERBOSITY terse
\set QUIET on
\pset tuples_only on
\pset format unaligned
SET client_min_messages = warning;
SET log_min_duration_statement = -1;
SET log_min_error_statement = panic;

CREATE TEMP TABLE wanted (name text PRIMARY KEY, verifier text NOT NULL, settings text[] NOT NULL, member_of text[] NOT NULL);
\ir verifiers.sql
\ir wanted.sql

CREATE TEMP VIEW role_drift AS
SELECT w.name, w.verifier,
       CASE WHEN a.oid IS NULL THEN 'created'
            WHEN a.rolpassword IS DISTINCT FROM w.verifier THEN 'password changed'
            ELSE 'attributes corrected' END AS what
FROM wanted w LEFT JOIN pg_authid a ON a.rolname = w.name
WHERE a.oid IS NULL OR a.rolpassword IS DISTINCT FROM w.verifier OR a.rolvaliduntil < 'infinity' OR a.rolconnlimit <> -1
   OR a.rolsuper OR a.rolcreaterole OR a.rolcreatedb OR a.rolreplication OR a.rolbypassrls
   OR NOT a.rolcanlogin OR NOT a.rolinherit;

CREATE TEMP VIEW settings_drift AS
SELECT w.name, w.settings
FROM wanted w LEFT JOIN pg_roles r ON r.rolname = w.name
     LEFT JOIN pg_db_role_setting s ON s.setrole = r.oid AND s.setdatabase = 0
WHERE coalesce(s.setconfig, '{}') IS DISTINCT FROM w.settings;

CREATE TEMP VIEW membership AS
SELECT m.rolname AS name, g.rolname AS member_of
FROM pg_auth_members am JOIN pg_roles m ON m.oid = am.member JOIN pg_roles g ON g.oid = am.roleid;

BEGIN;
SELECT format('role %s: %s', name, what) FROM role_drift ORDER BY name;
SELECT format('role %s: settings corrected', name) FROM settings_drift ORDER BY name;

SELECT format('CREATE ROLE %I', w.name) FROM wanted w
WHERE NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = w.name) ORDER BY w.name \gexec
SELECT format('ALTER ROLE %I LOGIN INHERIT NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS '
              'CONNECTION LIMIT -1 VALID UNTIL ''infinity'' PASSWORD %L', name, verifier)
FROM role_drift ORDER BY name \gexec
SELECT format('ALTER ROLE %I RESET ALL', name) FROM settings_drift ORDER BY name \gexec
SELECT format('ALTER ROLE %I SET %I = %L', name, split_part(setting, '=', 1), split_part(setting, '=', 2))
FROM settings_drift CROSS JOIN LATERAL unnest(settings) WITH ORDINALITY AS item (setting, place)
ORDER BY name, place \gexec
SELECT format('GRANT %I TO %I', item.member_of, w.name)
FROM wanted w CROSS JOIN LATERAL unnest(w.member_of) AS item (member_of)
WHERE NOT EXISTS (SELECT FROM membership m WHERE m.name = w.name AND m.member_of = item.member_of)
ORDER BY 1 \gexec
SELECT format('REVOKE %I FROM %I', m.member_of, m.name)
FROM membership m JOIN wanted w ON w.name = m.name WHERE NOT m.member_of = ANY (w.member_of) ORDER BY 1 \gexec

-- The first start needs a password for the superuser; from here on none opens it, only the socket does.
SELECT 'ALTER ROLE postgres PASSWORD NULL' FROM pg_authid WHERE rolname = 'postgres' AND rolpassword IS NOT NULL \gexec
COMMIT;

SELECT 'CREATE DATABASE phoenix OWNER phoenix'
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'phoenix') \gexec
SELECT 'ALTER DATABASE phoenix OWNER TO phoenix'
FROM pg_database WHERE datname = 'phoenix' AND datdba <> 'phoenix'::regrole \gexec
REVOKE ALL ON DATABASE phoenix, postgres, template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE phoenix TO exporter, pgbouncer_auth, reader;

\connect phoenix
SET client_min_messages = warning;
BEGIN;
CREATE EXTENSION IF NOT EXISTS pg_stat_statements WITH SCHEMA public;
CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public;
CREATE EXTENSION IF NOT EXISTS pgaudit WITH SCHEMA public;
SELECT format('ALTER EXTENSION %I UPDATE', name) FROM pg_available_extensions
WHERE name IN ('pg_stat_statements', 'vector', 'pgaudit') AND installed_version <> default_version \gexec

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO exporter, reader;

-- PgBouncer's look-up of verifiers: never of a superuser, nor of the service roles that have no business behind it.
CREATE SCHEMA IF NOT EXISTS pgbouncer;
REVOKE ALL ON SCHEMA pgbouncer FROM PUBLIC;
GRANT USAGE ON SCHEMA pgbouncer TO pgbouncer_auth;
CREATE OR REPLACE FUNCTION pgbouncer.get_auth(p_user text) RETURNS TABLE (usename text, passwd text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT rolname::text, rolpassword FROM pg_authid
  WHERE rolname = p_user AND rolcanlogin AND NOT rolsuper AND NOT rolreplication
    AND (rolvaliduntil IS NULL OR rolvaliduntil > now())
    AND rolname NOT IN ('pgbouncer_auth', 'exporter')
$$;
REVOKE ALL ON FUNCTION pgbouncer.get_auth(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgbouncer.get_auth(text) TO pgbouncer_auth;

-- What `reader` may read. Phoenix makes its tables itself, in migrations after this run: an event trigger grants
-- as they come. Named one by one, because the others hold password hashes, keys and tokens.
CREATE SCHEMA IF NOT EXISTS agentstack;
REVOKE ALL ON SCHEMA agentstack FROM PUBLIC;
-- The backup's heartbeat: an idle server has something to archive, and a restore something to prove itself by.
CREATE TABLE IF NOT EXISTS agentstack.canary (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(),
  payload text NOT NULL, sum text NOT NULL);
CREATE INDEX IF NOT EXISTS canary_at ON agentstack.canary (at);
CREATE OR REPLACE FUNCTION agentstack.beat() RETURNS bigint
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  DELETE FROM agentstack.canary WHERE at < clock_timestamp() - interval '100 days';
  INSERT INTO agentstack.canary (payload, sum)
  SELECT x, encode(sha256(x::bytea), 'hex') FROM (SELECT gen_random_uuid()::text AS x) AS made RETURNING id
$$;
REVOKE ALL ON FUNCTION agentstack.beat() FROM PUBLIC;
CREATE OR REPLACE FUNCTION agentstack.readable(p_table text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT p_table = ANY (ARRAY[
    'alembic_version',
    'projects', 'project_sessions', 'traces', 'spans', 'span_costs', 'span_cost_details',
    'span_annotations', 'trace_annotations', 'document_annotations', 'project_session_annotations',
    'annotation_configs', 'project_annotation_configs', 'project_trace_retention_policies',
    'generative_models', 'token_prices',
    'datasets', 'dataset_labels', 'datasets_dataset_labels', 'dataset_versions', 'dataset_examples',
    'dataset_example_revisions', 'dataset_splits', 'dataset_splits_dataset_examples', 'dataset_evaluators',
    'experiments', 'experiments_dataset_splits', 'experiments_dataset_examples', 'experiment_runs',
    'experiment_run_annotations', 'experiment_tags',
    'prompts', 'prompt_labels', 'prompts_prompt_labels', 'prompt_versions', 'prompt_version_tags',
    'evaluators', 'llm_evaluators', 'builtin_evaluators'])
$$;
CREATE OR REPLACE FUNCTION agentstack.grant_reader() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE item record;
BEGIN
  FOR item IN
    SELECT c.relname, ddl.object_identity FROM pg_event_trigger_ddl_commands() ddl JOIN pg_class c ON c.oid = ddl.objid
    WHERE ddl.classid = 'pg_class'::regclass AND ddl.schema_name = 'public' AND c.relkind IN ('r', 'p')
  LOOP
    IF agentstack.readable(item.relname) THEN
      EXECUTE format('GRANT SELECT ON TABLE %s TO reader', item.object_identity);
    ELSE
      EXECUTE format('REVOKE ALL ON TABLE %s FROM reader', item.object_identity);
    END IF;
  END LOOP;
EXCEPTION WHEN OTHERS THEN
  -- A table that `reader` can't see is mended by the next reconcile run; a migration must not fail for it.
  RAISE WARNING 'agentstack.grant_reader: %', SQLERRM;
END $$;
REVOKE ALL ON FUNCTION agentstack.readable(text), agentstack.grant_reader() FROM PUBLIC;
SELECT 'CREATE EVENT TRIGGER agentstack_grant_reader ON ddl_command_end '
       'WHEN TAG IN (''CREATE TABLE'', ''CREATE TABLE AS'', ''SELECT INTO'', ''ALTER TABLE'') '
       'EXECUTE FUNCTION agentstack.grant_reader()'
WHERE NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = 'agentstack_grant_reader') \gexec

CREATE TEMP VIEW reader_drift AS
SELECT c.oid::regclass::text AS identity, agentstack.readable(c.relname) AS readable
FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
  AND agentstack.readable(c.relname) <> has_table_privilege('reader', c.oid, 'SELECT');
SELECT format('table %s: reader %s', identity, CASE WHEN readable THEN 'may read' ELSE 'may not read any more' END)
FROM reader_drift ORDER BY identity;
SELECT CASE WHEN readable THEN format('GRANT SELECT ON TABLE %s TO reader', identity)
            ELSE format('REVOKE ALL ON TABLE %s FROM reader', identity) END
FROM reader_drift ORDER BY identity \gexec
COMMIT;
\echo reconciled
