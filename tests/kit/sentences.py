"""Every sentence that people read, exchanged for other words where it is written down."""

from __future__ import annotations

import psycopg
from psycopg import sql

from app.pool.protocol import Cause

OTHER_WORDS = "other words"
KINDS = tuple(cause.value for cause in Cause)  # what code may decide by, beside a sentence in the same column
SENTENCES = {
    "workers": ("reason",),
    "worker_transitions": ("cause",),
    "attempts": ("cause", "error"),
    "jobs": ("error", "waiting"),
    "classes": ("why",),
    "refused_reports": ("why",),
    "events": ("sentence",),
    "notifications": ("sentence",),
    "worker_blocks": ("why",),
}
EXCHANGE = """
CREATE FUNCTION exchange_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {exchanges} RETURN NEW; END $$;
CREATE TRIGGER exchange BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION exchange_{table}();
"""
ONE = "IF NEW.{column} IS NOT NULL AND NEW.{column} <> ALL ({kinds}) THEN NEW.{column} := {words}; END IF;"


def exchange(database_url: str) -> None:
    """From now on whatever is written into a column for people becomes other words, whoever writes it."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for table, columns in SENTENCES.items():
            exchanges = [
                ONE.format(column=column, kinds="ARRAY[" + ",".join(map(repr, KINDS)) + "]", words=repr(OTHER_WORDS))
                for column in columns
            ]
            statement = EXCHANGE.format(table=table, exchanges=" ".join(exchanges))
            connection.execute(sql.SQL(statement))
