"""Calls that no plain key opens: signatures and short-lived tokens, made by each cloud's own library.

Those libraries are extras (`turnout[bedrock]`, `turnout[vertex]`): they know profiles, roles and metadata servers, and
are loaded at the first call that needs them.
"""

from __future__ import annotations

import asyncio
import importlib
from typing import Any, Protocol

from msgspec.structs import replace

from turnout.errors import NoCapacity
from turnout.providers.transport import UpstreamRequest

__all__ = ["SIGNERS", "AwsSigner", "GoogleSigner", "Signer"]

SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class Signer(Protocol):
    async def sign(self, request: UpstreamRequest) -> UpstreamRequest:
        """`request` with what proves who asks. Raises NoCapacity where there are no credentials."""
        ...


class AwsSigner:
    """Signature version 4 by botocore, with the credentials that AWS's own tools would find.

    Source: docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html. The region is the host's second label
    (`bedrock-runtime.us-east-1.amazonaws.com`), else AWS_REGION's.
    """

    def __init__(self) -> None:
        self._session: Any = None

    async def sign(self, request: UpstreamRequest) -> UpstreamRequest:
        # Credentials may come from a metadata server or a file: not on the event loop.
        return await asyncio.to_thread(self._signed, request)

    def _signed(self, request: UpstreamRequest) -> UpstreamRequest:
        if self._session is None:
            self._session = _load("botocore.session", "bedrock").get_session()
        credentials = self._session.get_credentials()
        if credentials is None:
            raise NoCapacity("no AWS credentials were found; set AWS_BEARER_TOKEN_BEDROCK or log in with the AWS CLI")
        auth, awsrequest = _load("botocore.auth", "bedrock"), _load("botocore.awsrequest", "bedrock")
        host = request.url.partition("//")[2].partition("/")[0]
        labels = host.split(".")
        region = labels[1] if host.endswith("amazonaws.com") and len(labels) > 3 else None
        unsigned = awsrequest.AWSRequest(
            method=request.method, url=request.url, data=request.body, headers=dict(request.headers)
        )
        region = region or self._session.get_config_variable("region") or "us-east-1"
        auth.SigV4Auth(credentials.get_frozen_credentials(), "bedrock", region).add_auth(unsigned)
        headers = [(name.lower(), str(value)) for name, value in unsigned.headers.items()]
        return replace(request, headers=headers)


class GoogleSigner:
    """An access token by google-auth, from the application default credentials.

    Source: cloud.google.com/docs/authentication/application-default-credentials. A token is fetched anew shortly
    before it ends.
    """

    def __init__(self) -> None:
        self._credentials: Any = None

    async def sign(self, request: UpstreamRequest) -> UpstreamRequest:
        token = await asyncio.to_thread(self._token)
        return replace(request, headers=[*request.headers, ("authorization", f"Bearer {token}")])

    def _token(self) -> str:
        auth = _load("google.auth", "vertex")
        try:
            if self._credentials is None:
                self._credentials, _ = auth.default(scopes=[SCOPE])
            if not self._credentials.valid:
                self._credentials.refresh(_load("google.auth.transport.requests", "vertex").Request())
        except _load("google.auth.exceptions", "vertex").GoogleAuthError:
            raise NoCapacity(
                "no Google credentials were found; run `gcloud auth application-default login` or set "
                "GOOGLE_APPLICATION_CREDENTIALS"
            ) from None
        return str(self._credentials.token)


def _load(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise NoCapacity(
            f"calls to {extra} are signed by a library that is not installed: pip install 'turnout[{extra}]'"
        ) from None


SIGNERS: dict[str, type[AwsSigner | GoogleSigner]] = {"sigv4": AwsSigner, "google": GoogleSigner}
"""Who signs for a kind of auth where no key is set."""
