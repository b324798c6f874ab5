"""The HTTP side: our own HTTP/1.1 server on httptools, and the endpoints it serves."""
