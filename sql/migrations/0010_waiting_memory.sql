-- What the least demanding job of a class demands, without a look at the others.
CREATE INDEX jobs_due_memory ON jobs (class, min_vram_mb)
    WHERE state = 'pending' AND not_before IS NULL AND min_vram_mb IS NOT NULL;
