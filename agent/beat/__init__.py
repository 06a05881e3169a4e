"""The heartbeat: a process of its own, which no job delays."""
