"""Who serves models: registry rows, transports, the embedded model."""
