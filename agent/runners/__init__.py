"""How a workflow is run: the child process of a guard, its channel, and a module for each runner."""
