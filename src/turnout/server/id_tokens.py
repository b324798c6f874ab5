"""What an OpenID provider's ID token says, once it is proved: by joserfc (`turnout[oidc]`), loaded with the first
sign-in."""

from __future__ import annotations

from typing import Any

from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from turnout.errors import Unauthorized
from turnout.oidc_rules import OidcRules, Person

__all__ = ["UnknownKey", "person_in"]

ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
)
"""Signatures alone, that only the provider can make: neither `none` nor any key that is shared (OpenID Connect Core,
3.1.3.7)."""

SKEW_S = 60
"""How far the provider's clock may be from ours."""

MOST_GROUPS = 1_000


class UnknownKey(Exception):
    """The token is signed with a key that is not among those known: the provider may have a new one."""


def person_in(token: str, keys: dict[str, Any], rules: OidcRules, nonce: str) -> Person:
    """Whom `token` vouches for. Raises Unauthorized where it is not the provider's, for us, of this sign-in and valid
    now; UnknownKey."""
    try:
        # A key that is shared or for encryption signs nothing here.
        signing = [k for k in keys.get("keys", []) if k.get("kty") != "oct" and k.get("use", "sig") == "sig"]
        told = jwt.decode(token, KeySet.import_key_set({"keys": signing}), algorithms=list(ALGORITHMS))
        jwt.JWTClaimsRegistry(
            leeway=SKEW_S,
            iss={"essential": True, "value": rules.issuer},
            sub={"essential": True},
            aud={"essential": True, "value": rules.client_id},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
        ).validate(told.claims)
    except InvalidKeyIdError:
        raise UnknownKey from None
    except (JoseError, ValueError, TypeError, AttributeError, KeyError) as error:
        # A JoseError's own words name the claim or the algorithm, and nothing of the token.
        why = str(error)[:200] if isinstance(error, JoseError) else type(error).__name__
        raise Unauthorized(f"the sign-in provider's token is not to be trusted ({why}); sign in again") from None
    claims = told.claims
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if claims.get("azp", None if several else rules.client_id) != rules.client_id:
        raise Unauthorized("the sign-in provider's token is for another program (azp); sign in again")
    email, groups = claims.get("email"), claims.get(rules.groups_claim)
    verified = claims.get("email_verified") is True and isinstance(email, str)
    if isinstance(groups, str):
        groups = [groups]
    return Person(
        issuer=rules.issuer,
        subject=str(claims["sub"])[:300],
        email=email[:300] if verified else None,
        groups=tuple(g for g in groups[:MOST_GROUPS] if isinstance(g, str)) if isinstance(groups, list) else (),
    )
