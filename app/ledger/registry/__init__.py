"""The registry: the workers that have joined, how they are set up, and what is known of each."""
