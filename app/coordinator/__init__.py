"""Who decides: one leader applies reports, judges health, reconciles and dispatches."""
