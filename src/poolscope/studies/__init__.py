"""Studies: what to run, how to draw it, and what it shows."""
