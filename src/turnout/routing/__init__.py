"""Which model should serve a request: pure functions over the request's outline and the catalogue."""
