"""An OpenID provider on loopback, small and true: discovery, an authorization endpoint that lets everybody in at once,
a token endpoint that checks the code, PKCE and who asks, and keys. A test may change what its tokens say and who signs.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from base64 import b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

CLIENT, SECRET = "turnout client", "s3cret/+ü"


class OpenId:
    """`async with OpenId() as provider`. `claims` are added to those of each token, None takes one
    away; `sign` makes the token in place of the provider's own key; `asked`: what came, in order."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
        self.published: list[Any] = [self.key]
        self.claims: dict[str, Any] = {"email": "ann@example.com", "email_verified": True}
        self.metadata: dict[str, Any] = {}
        self.sign = self.signed
        self.asked: list[str] = []
        self.codes: dict[str, dict[str, str]] = {}
        self._server: asyncio.Server | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    def new_key(self) -> None:
        """Another key signs from now on; the one before is still published."""
        self.key = ECKey.generate_key("P-256", {"kid": "two", "use": "sig"})
        self.published.append(self.key)

    def signed(self, claims: dict[str, Any]) -> str:
        alg = "RS256" if self.key.key_type == "RSA" else "ES256"
        return jwt.encode({"alg": alg, "kid": self.key.kid}, claims, self.key, algorithms=[alg])

    def told(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize?tenant=t",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            **self.metadata,
        }

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            top = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = top.strip().split("\r\n")
            headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            method, target, _ = first.split()
            path, _, query = target.partition("?")
            self.asked.append(f"{method} {path}")
            status, more, value = self._answer(path, query, headers, body.decode())
            raw = json.dumps(value).encode()
            head = "".join(f"{k}: {v}\r\n" for k, v in more.items())
            writer.write(
                f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(raw)}\r\n"
                f"connection: close\r\n{head}\r\n".encode()
                + raw
            )
            await writer.drain()
        finally:
            writer.close()

    def _answer(self, path: str, query: str, headers: dict[str, str], body: str) -> tuple[int, dict[str, str], Any]:
        match path:
            case "/.well-known/openid-configuration":
                return 200, {}, self.told()
            case "/keys":
                return 200, {}, KeySet(self.published).as_dict(private=False)
            case "/authorize":
                asked = {k: v[0] for k, v in parse_qs(query).items()}
                assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
                assert (asked["client_id"], asked["tenant"]) == (CLIENT, "t")
                code = secrets.token_urlsafe(16)
                self.codes[code] = asked
                back = urlencode({"code": code, "state": asked["state"]})
                return 302, {"location": f"{asked['redirect_uri']}?{back}"}, {}
            case "/token":
                return self._token({k: v[0] for k, v in parse_qs(body).items()}, headers)
            case _:
                return 404, {}, {}

    def _token(self, form: dict[str, str], headers: dict[str, str]) -> tuple[int, dict[str, str], Any]:
        basic = b64decode(headers.get("authorization", "Basic ").split()[-1]).decode()
        if [unquote(part) for part in basic.split(":")] != [CLIENT, SECRET]:
            return 401, {}, {"error": "invalid_client"}
        asked = self.codes.pop(form["code"], None)  # once
        proof = urlsafe_b64encode(sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        if (
            asked is None
            or form["grant_type"] != "authorization_code"
            or proof != asked["code_challenge"]
            or form["redirect_uri"] != asked["redirect_uri"]
        ):
            return 400, {}, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {
            "iss": self.url, "sub": "u-1", "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"],
            **self.claims,
        }  # fmt: skip
        return (
            200,
            {},
            {"id_token": self.sign({k: v for k, v in claims.items() if v is not None}), "token_type": "Bearer"},
        )


def path_of(url: str) -> str:
    """What a browser asks for at the address it was sent to."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path
