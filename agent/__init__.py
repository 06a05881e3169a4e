"""The agent: joins a pool and runs its jobs on this host. Imports app.pool and nothing else of app."""
