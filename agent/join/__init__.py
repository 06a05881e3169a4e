"""Joining: who this worker is, what it offers, and how it is admitted to the pool."""
