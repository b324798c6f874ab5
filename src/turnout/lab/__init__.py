"""Recorded sessions, replay and the demo; never imported on the serving path."""
