"""The gateway inside a program of one's own: no server, no socket of ours. `from turnout import Gateway`."""
