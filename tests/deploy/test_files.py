"""What deploy/ says of us is so: config keys, flags, paths, ports, times. No tool is needed but a reader of YAML."""

import json
import re
import shlex
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.deploying import CHART, DEPLOY, ENV, ROOT
from turnout.cli import build_parser
from turnout.config import ServerConfig, load_config, parse_config
from turnout.server.listener import AFTER_CANCEL_S
from turnout.server.metrics import METRICS
from turnout.server.views import LOOKS

COMPOSE = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
CONTAINER = (DEPLOY / "container/Containerfile").read_text().replace("\\\n", "")
UNIT = (DEPLOY / "systemd/turnout.service").read_text()
TEXTS = sorted(p for p in DEPLOY.rglob("*") if p.is_file() and p.suffix != ".json")


def instruction(name):
    return json.loads(re.search(rf"^{name} (\[.*\])$", CONTAINER, re.MULTILINE)[1])


def seconds(text):
    return int(re.fullmatch(r"(\d+)s", text)[1])


def commands():
    """Every `turnout ...` that a file of deploy/ runs or tells a person to run."""
    yield "Containerfile", [*instruction("ENTRYPOINT"), *instruction("CMD")]
    args = re.search(r"^      args: (\[.*\])$", (CHART / "templates/_helpers.tpl").read_text(), re.MULTILINE)[1]
    yield "chart", ["turnout", *json.loads(args)]
    for file in TEXTS:
        for line in re.findall(r"\bturnout (?:serve|keys|budgets|usage|models) [^`\n]*", file.read_text()):
            yield file.name, shlex.split(line.split(" >")[0].rstrip("."))


@pytest.mark.parametrize(("where", "command"), list(commands()), ids=str)
def test_every_command_is_one_that_the_parser_takes(where, command):
    args = build_parser().parse_args(command[1:])
    if args.verb == "serve":
        assert args.config == "/etc/turnout/turnout.toml"
        assert args.port in {None, ServerConfig().port}


@pytest.mark.parametrize("file", ["compose/turnout.toml"])
def test_every_config_is_one_that_the_gateway_loads(file):
    config = load_config(DEPLOY / file, ENV)
    assert config.keys, "without keys it would not listen beyond its own machine"
    assert config.server.admin_key is not None


def test_the_chart_s_part_of_the_config_that_people_change_is_one_too():
    told = tomllib.loads(VALUES["config"])
    assert not {"server", "store"} & set(told)
    assert parse_config(VALUES["config"], ENV).keys


def test_every_path_that_is_asked_for_is_served():
    asked = {path for file in TEXTS for path in re.findall(r"(?<![\w.])/(?:\w*z|metrics)\b", file.read_text())}
    assert {"/healthz", "/readyz", "/metrics"} <= asked <= {*LOOKS, METRICS}


def test_one_port_everywhere():
    port = ServerConfig().port
    assert VALUES["server"]["port"] == port
    assert f"EXPOSE {port}" in CONTAINER
    named = {
        int(p)
        for file in TEXTS
        for p in re.findall(r"(?:127\.0\.0\.1|gateway-\d|bind )\D?:?(\d{4,5})\b", file.read_text())
    }
    assert named == {port}


def test_one_user_everywhere():
    (user,) = re.findall(r"^USER (\d+):\1$", CONTAINER, re.MULTILINE)
    pod = (CHART / "templates/_helpers.tpl").read_text()
    assert {*re.findall(r"(?:runAsUser|runAsGroup|fsGroup): (\d+)", pod)} == {user}
    assert f"--chown={user}:{user} /data /data" in CONTAINER.replace("build ", "")


def test_whoever_stops_a_gateway_waits_until_its_books_are_written():
    server = load_config(DEPLOY / "compose/turnout.toml", ENV).server
    needed = server.drain_s + server.shutdown_grace_s + AFTER_CANCEL_S
    for name in ("gateway-1", "gateway-2"):
        assert seconds(COMPOSE["services"][name]["stop_grace_period"]) > needed
    assert int(re.search(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)[1]) > needed


def test_the_container_build_sees_what_it_copies():
    seen = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for sources in re.findall(r"^COPY (?!--)(.*) \S+$", CONTAINER, re.MULTILINE):
        for source in sources.split():
            assert source in seen
            assert (ROOT / source).exists()


def test_what_the_container_installs_is_pinned_by_hash_and_has_every_extra_that_it_promises():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [need for extra in ("postgres", "valkey", "otel", "bedrock", "vertex")
              for need in project["optional-dependencies"][extra]]  # fmt: skip
    text = (ROOT / "requirements/serve.txt").read_text()
    pins = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))
    for need in map(Requirement, [*project["dependencies"], *extras]):
        assert need.specifier.contains(pins[canonicalize_name(need.name)])
    blocks = re.split(r"\n(?=[a-z0-9])", text)[1:]
    assert all("--hash=sha256:" in block for block in blocks)
    dev = (ROOT / "requirements/dev.txt").read_text()
    assert all(block.rstrip("\n") in dev for block in blocks), "the pins are those that the tests ran with"


def test_every_container_is_held():
    for name, service in COMPOSE["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["healthcheck"] if name != "balancer" else True, name
        assert "memory" in service["deploy"]["resources"]["limits"], name
        assert not service.get("privileged"), name
    published = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert published == ["${TURNOUT_PUBLISH:-127.0.0.1:8787}:8787"], "this machine alone"


def test_the_example_of_the_environment_has_every_variable_that_is_asked_for():
    told = (DEPLOY / "compose/env.example").read_text()
    asked = set(re.findall(r"(?<!\$)\$\{(\w+)", (DEPLOY / "compose/compose.yaml").read_text()))
    assert asked == set(re.findall(r"^(?:# )?([A-Z_]+)=", told, re.MULTILINE))
    assert not re.search(r"^[A-Z_]+=\S", told, re.MULTILINE), "a secret is nobody's default"


def keys_of(values, path=""):
    """The dotted names of what is in a table; a table that holds anything is one name."""
    for key, value in values.items():
        if isinstance(value, dict) and value and key != "resources":
            yield from keys_of(value, f"{path}{key}.")
        else:
            yield f"{path}{key}"


def names_of(schema, path=""):
    for key, told in schema.get("properties", {}).items():
        if "properties" in told:
            yield from names_of(told, f"{path}{key}.")
        elif key != "global":
            yield f"{path}{key}"


def test_the_schema_of_the_values_is_of_these_values():
    assert sorted(keys_of(VALUES)) == sorted(names_of(SCHEMA))


def test_every_value_is_in_the_chart_s_readme():
    told = (CHART / "README.md").read_text()
    for name in keys_of(VALUES):
        assert f"{name.rpartition('.')[2]}`" in told, name
