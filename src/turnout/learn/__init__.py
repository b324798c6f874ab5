"""What is learned of models: probes and their checks; nothing here is on the way of a request."""
