"""One attempt of a job: its guard, its processes, its end, and what is reported of it."""
