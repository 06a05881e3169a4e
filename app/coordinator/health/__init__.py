"""Health: who is alive, and what follows for those who are not."""
