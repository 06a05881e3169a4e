-- Partitions of worker_samples, a day each. Days are UTC's.

CREATE FUNCTION make_samples_partition(day date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    partition text := 'worker_samples_' || to_char(day, 'YYYYMMDD');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('muster samples'));
    IF to_regclass(partition) IS NOT NULL THEN
        RETURN;
    END IF;
    -- Samples that came before their partition lie in the default one and would forbid it.
    CREATE TEMPORARY TABLE early ON COMMIT DROP AS
        SELECT * FROM worker_samples_else WHERE at >= day AND at < day + 1;
    DELETE FROM worker_samples_else WHERE at >= day AND at < day + 1;
    EXECUTE format('CREATE TABLE %I PARTITION OF worker_samples FOR VALUES FROM (%L) TO (%L)', partition, day, day + 1);
    INSERT INTO worker_samples SELECT * FROM early;
    DROP TABLE early;
END
$$;

CREATE FUNCTION drop_samples_partitions(oldest date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    partition text;
BEGIN
    FOR partition IN
        SELECT relname FROM pg_class JOIN pg_inherits ON inhrelid = pg_class.oid
        WHERE inhparent = 'worker_samples'::regclass AND relname ~ '^worker_samples_\d{8}$'
          AND right(relname, 8) < to_char(oldest, 'YYYYMMDD')
    LOOP
        EXECUTE format('DROP TABLE %I', partition);
    END LOOP;
END
$$;
