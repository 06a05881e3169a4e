"""Messages between the agent's own processes."""
