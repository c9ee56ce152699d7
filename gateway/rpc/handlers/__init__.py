"""RPCs that no declaration can carry out, written by hand: one module per service."""
