"""Logs of agents as they lie on disk, read and summed: where the tokens went and what would have been saved."""
