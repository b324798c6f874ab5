"""What a gateway shows of itself: metrics, logs, traces. It sees one request at its end, and never what serves it."""
