"""The HTTP side: a raw ASGI application and its endpoints."""
