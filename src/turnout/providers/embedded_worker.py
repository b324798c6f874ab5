"""The embedded model's own process: llama.cpp's HTTP server on loopback, alive as long as its standard input.

Run by `turnout.providers.embedded` as `python -m turnout.providers.embedded_worker MODEL.gguf`. Prints one JSON
line with its address and key, and ends when standard input does: so it never outlives the gateway, however that ends.
"""

from __future__ import annotations

import importlib
import os
import secrets
import sys
from typing import Any

import msgspec

__all__ = ["ALIAS", "CONTEXT_TOKENS", "main"]

ALIAS = "smollm2-135m-instruct"
CONTEXT_TOKENS = 2048  # the file allows 8192, but one thread reads some 150 tokens a second: a minute for a full one
PROMPT_CACHE_MIB = 256  # of earlier prompts, about 23 KB a token; llama.cpp's own limit is 8 GiB


def main(model: str) -> None:
    """Serve `model` (a path to a GGUF file) until standard input ends."""
    # llama.cpp writes to file descriptor 1 as well: keep that for our one line.
    told = os.dup(1)
    os.dup2(2, 1)
    xllamacpp: Any = importlib.import_module("xllamacpp")  # its classes live in an untyped extension

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {ALIAS}  # else answers name the file on this machine
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = 1
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.n_threads_http = 2
    params.cache_ram_mib = PROMPT_CACHE_MIB
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    # Other users of the machine, and web pages in its browsers, can reach loopback too.
    key = secrets.token_urlsafe(32)
    params.api_keys = [key]
    params.cors_origins = ""
    params.endpoint_slots = False
    params.warmup = False
    params.ui = False
    params.use_jinja = False
    params.verbosity = 0
    server = xllamacpp.Server(params)
    os.write(told, msgspec.json.encode({"address": server.listening_address, "key": key}) + b"\n")
    os.close(told)
    while os.read(0, 4096):
        pass
    os._exit(0)  # llama.cpp's threads hold nothing that needs an orderly end


if __name__ == "__main__":
    main(sys.argv[1])
