"""Who may look and change by an OpenID provider's word: what the config says of it. Data and a rule, no I/O."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from msgspec import Struct

from turnout.errors import ConfigError

__all__ = ["CALLBACK", "OidcRules", "Person", "check_oidc", "safe_url"]

CALLBACK = "/console/oidc/callback"

_HERE = frozenset({"127.0.0.1", "::1", "localhost"})


class Person(Struct, frozen=True, kw_only=True):
    """Whom an issuer vouches for. `email` only where the issuer says that it was verified."""

    issuer: str
    subject: str
    email: str | None = None
    groups: tuple[str, ...] = ()


class OidcRules(Struct, frozen=True, kw_only=True):
    """`issuer`: as the provider spells itself in its tokens; `redirect_uri`: this gateway's address as browsers know
    it, ending with /console/oidc/callback, registered there letter by letter. `admins` and `viewers` are addresses, or
    all of a domain (`*@example.com`), and count only where the provider says `email_verified`; `admin_groups` and
    `viewer_groups` are values of the claim `groups_claim`. Who is neither does not come in (docs/console.md)."""

    issuer: str
    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...] = ("openid", "email")
    admins: tuple[str, ...] = ()
    viewers: tuple[str, ...] = ()
    groups_claim: str = "groups"
    admin_groups: tuple[str, ...] = ()
    viewer_groups: tuple[str, ...] = ()

    def role_of(self, person: Person) -> Literal["admin", "viewer"] | None:
        """What somebody may do here; None: nothing. Another issuer's word counts for nothing."""
        if person.issuer != self.issuer:
            return None
        if _among(person.email, self.admins) or not set(person.groups).isdisjoint(self.admin_groups):
            return "admin"
        if _among(person.email, self.viewers) or not set(person.groups).isdisjoint(self.viewer_groups):
            return "viewer"
        return None


def _among(email: str | None, patterns: tuple[str, ...]) -> bool:
    if email is None or email.count("@") != 1:
        return False
    name = email.casefold()
    return any(
        name == pattern or (pattern.startswith("*@") and name.endswith(pattern[1:]) and name != pattern[1:])
        for pattern in (p.casefold() for p in patterns)
    )


def safe_url(url: str) -> bool:
    """Whether nobody on the way reads what is sent there: https, or this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    return (
        bool(host)
        and (parts.scheme == "https" or (parts.scheme == "http" and host in _HERE))
        and "@" not in parts.netloc
    )


def check_oidc(told: OidcRules) -> None:
    """Raises ConfigError for addresses that are none, and where nobody could come in."""
    for name, url in (("issuer", told.issuer), ("redirect_uri", told.redirect_uri)):
        if not safe_url(url) or "?" in url or "#" in url:
            raise _fault(name, url, "use an https address with no ? and no # (http on this machine alone)")
    if urlsplit(told.redirect_uri).path != CALLBACK:
        raise _fault("redirect_uri", told.redirect_uri, f"its path is {CALLBACK}, as the gateway serves it")
    if not told.client_id:
        raise _fault("client_id", told.client_id, "as the provider named this gateway")
    if "openid" not in told.scopes:
        raise _fault("scopes", " ".join(told.scopes), "openid must be among them")
    for name, patterns in (("admins", told.admins), ("viewers", told.viewers)):
        for pattern in patterns:
            user, _, domain = pattern.partition("@")
            if not user or not domain or "@" in domain or "*" in domain or ("*" in user and user != "*"):
                raise _fault(name, pattern, "use an address, or all of a domain as *@example.com")
    if not (told.admins or told.viewers or told.admin_groups or told.viewer_groups):
        raise ConfigError(
            "server.oidc lets nobody in: set admins, viewers, admin_groups or viewer_groups", param="server.oidc"
        )


def _fault(name: str, value: str, hint: str) -> ConfigError:
    return ConfigError(f"server.oidc.{name} = {value[:200]!r}: {hint}", param=f"server.oidc.{name}")
