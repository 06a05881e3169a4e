-- What an attempt holds of its worker, so that a lease which Redis forgot is written again as it was.

ALTER TABLE attempts
    ADD COLUMN vram_mb integer NOT NULL DEFAULT 0,       -- on each of its GPUs
    ADD COLUMN whole boolean NOT NULL DEFAULT false,     -- those GPUs are for it alone
    ADD COLUMN slots integer NOT NULL DEFAULT 1;
