"""Attempts: what a worker is told of them, what it reports of them, and how they are taken from it."""
