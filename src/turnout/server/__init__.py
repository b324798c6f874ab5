"""The HTTP side: callers' connections, and what is answered at each path."""
