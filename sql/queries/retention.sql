-- What is kept for a time only.

-- name: samples_partitions
-- For today and the days ahead.
SELECT make_samples_partition(current_date + ahead) FROM generate_series(0, %(days)s::integer) AS ahead;

-- name: samples_drop
SELECT drop_samples_partitions(current_date - %(days)s::integer);
