"""Whom to believe certificates from."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

from turnout.errors import UpstreamUnreachable

__all__ = ["client_context"]


def client_context(environ: Mapping[str, str]) -> ssl.SSLContext:
    """Checks certificates and names, against the file that SSL_CERT_FILE names or else the system's own list. Takes
    some 20 ms where the list is long. Raises UpstreamUnreachable where there is nobody to believe."""
    named = environ.get("SSL_CERT_FILE")
    if named and not Path(named).is_file():
        raise UpstreamUnreachable("SSL_CERT_FILE names no file, so no certificate can be checked; correct or unset it")
    try:
        context = ssl.create_default_context(cafile=named or None)
    except ssl.SSLError:
        raise UpstreamUnreachable(
            "the file that SSL_CERT_FILE names holds no certificates in PEM form; correct or unset it"
        ) from None
    if not named and not _has_authorities(context):
        raise UpstreamUnreachable(
            "this system has no list of certificate authorities; install its package ca-certificates, or name a file "
            "in SSL_CERT_FILE"
        )
    # As Python 3.13 has it: an authority in the middle of a chain may be the one that is trusted ...
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    # ... but not its strictness: the authorities of many companies lack what RFC 5280 asks of them.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols(["http/1.1"])
    return context


def _has_authorities(context: ssl.SSLContext) -> bool:
    """Whether any are loaded, or are in a folder where they are looked for one by one."""
    folder = ssl.get_default_verify_paths().capath
    return bool(context.cert_store_stats()["x509_ca"]) or (bool(folder) and any(Path(folder).iterdir()))
