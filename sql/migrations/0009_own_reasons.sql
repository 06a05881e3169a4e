-- Why a job waits for another reason than its class is cleared as soon as it is not noted any more.

CREATE INDEX jobs_own_reason ON jobs (id) WHERE state = 'pending' AND not_before IS NULL AND waiting IS NOT NULL;

-- The repetition of a strict job waits until the job that it repeats has no process left.
CREATE VIEW barred AS
SELECT jobs.id FROM attempts JOIN jobs ON jobs.retry_of = attempts.job_id
WHERE attempts.end_word IS NULL AND attempts.strict AND jobs.state = 'pending';
