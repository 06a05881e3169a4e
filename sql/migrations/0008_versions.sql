-- What is noted of a worker each minute makes no new version of it: else its row would be read again each minute by
-- the leader, who wrote it.

ALTER TABLE workers
    ADD COLUMN noted        bigint,  -- the transaction of the last note
    ADD COLUMN noted_before bigint;  -- the row's version before the notes since its last change
