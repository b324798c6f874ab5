"""HTTP to providers over sockets: the client (`client.py`) and what it is made of.

One exchange goes through these rooms: `addresses.py` reads the URL, `proxies.py` says whether a proxy stands between,
`heads.py` writes the request's head, `pool.py` has a connection or `opening.py` makes one (with `tls.py`),
`connections.py` takes the answer off the wire and `answers.py` hands it out.
"""

from turnout.providers.http.addresses import is_loopback
from turnout.providers.http.client import HttpTransport

__all__ = ["HttpTransport", "is_loopback"]
