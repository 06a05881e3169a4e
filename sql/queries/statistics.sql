-- Statistics: counts over whole tables, read at most once a scrape.

-- name: count_jobs
SELECT state AS word, count(*) FROM jobs GROUP BY state;

-- name: count_attempts
SELECT end_word AS word, count(*) FROM attempts WHERE end_word IS NOT NULL GROUP BY end_word;

-- name: count_transitions
SELECT to_health AS word, count(*) FROM worker_transitions GROUP BY to_health;
