"""The HTTP side: our own server on httptools, and the endpoints it serves."""
