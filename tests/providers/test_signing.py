"""Calls that no plain key opens: what the clouds' own libraries put on them."""

import re

import pytest

from turnout.errors import NoCapacity
from turnout.providers import signing
from turnout.providers.signing import AwsSigner, GoogleSigner
from turnout.providers.transport import UpstreamRequest

REQUEST = UpstreamRequest(
    method="POST",
    url="https://bedrock-runtime.eu-central-1.amazonaws.com/model/amazon.nova-lite-v1:0/converse",
    headers=[("content-type", "application/json")],
    body=b"{}",
)


async def test_bedrock_is_signed_for_its_region_and_no_secret_travels(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    signed = await AwsSigner().sign(REQUEST)
    told = dict(signed.headers)
    assert re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/\d{8}/eu-central-1/bedrock/aws4_request, "
        r"SignedHeaders=content-type;host;x-amz-date, Signature=[0-9a-f]{64}",
        told["authorization"],
    )
    assert "wJalrXUtnFEMI" not in str(signed)
    assert signed.body == REQUEST.body


async def test_without_credentials_it_says_what_to_do(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(NoCapacity, match="AWS_BEARER_TOKEN_BEDROCK"):
        await AwsSigner().sign(REQUEST)


async def test_without_the_library_it_says_what_to_install(monkeypatch):
    def missing(_):
        raise ModuleNotFoundError

    monkeypatch.setattr(signing.importlib, "import_module", missing)
    with pytest.raises(NoCapacity, match=r"pip install 'turnout\[vertex\]'"):
        await GoogleSigner().sign(REQUEST)
