"""What the benches share: pools, simulated workers, plain RQ beside them, figures and their bounds."""
