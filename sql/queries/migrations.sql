-- Migrations: which have run.

-- name: migrations_table
SELECT 1 AS found FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'schema_migrations';

-- name: migrations_ran
SELECT name FROM schema_migrations;
