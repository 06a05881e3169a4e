-- What code decides by stands beside the sentence that people read of it.

ALTER TABLE workers
    ADD COLUMN degraded_as text;  -- of a degraded one: silent, takes nothing
ALTER TABLE attempts
    ADD COLUMN oom_killed boolean;  -- killed, as far as its agent could see, because its host's memory was used up
