"""The paper as something that runs: studies, their runs and store, claims and verdicts."""
