"""GPUs: which there are, and how much of them is in use."""
