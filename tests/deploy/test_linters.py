"""deploy/ before the tools of each format: Helm, Docker Compose, hadolint, Kubernetes' schemas, systemd, yamllint."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from support.deploying import CHART, DEPLOY, ENV, EVERYTHING, helm, objects, run, tool
from turnout.cli import build_parser
from turnout.config import parse_config
from turnout.server.listener import AFTER_CANCEL_S

YAML = """{extends: default, rules: {line-length: {max: 125}, document-start: disable,
 braces: {max-spaces-inside: 1}, comments: {min-spaces-from-content: 1}}}"""


def test_hadolint_finds_nothing_in_the_container_file():
    done = run(tool("hadolint"), "--format", "json", DEPLOY / "container/Containerfile")
    assert json.loads(done.stdout) == []


def test_docker_compose_takes_the_file_with_an_environment_and_not_without(tmp_path):
    compose = [tool("docker-compose"), "--file", DEPLOY / "compose/compose.yaml", "--env-file"]
    example = (DEPLOY / "compose/env.example").read_text()
    (tmp_path / "env").write_text(example.replace("=\n", "=x1\n"))
    done = run(*compose, tmp_path / "env", "config", "--format", "json")
    assert done.returncode == 0, done.stderr
    services = json.loads(done.stdout)["services"]
    for name in ("gateway-1", "gateway-2"):
        assert set(ENV) <= set(services[name]["environment"])
        assert {on: told["condition"] for on, told in services[name]["depends_on"].items()} == {
            "postgres": "service_healthy",
            "valkey": "service_healthy",
        }
    assert services["balancer"]["ports"][0]["host_ip"] == "127.0.0.1"
    done = run(*compose, DEPLOY / "compose/env.example", "config", "--quiet")
    assert "set it in .env" in done.stderr


@pytest.mark.parametrize("file", ["compose/compose.yaml", "helm/turnout/values.yaml", "helm/turnout/Chart.yaml"])
def test_yamllint_finds_nothing(file):
    done = run(tool("yamllint"), "--strict", "--config-data", YAML, DEPLOY / file)
    assert done.stdout == ""


# ---- the chart ---------------------------------------------------------------------------------------------------

VARIANTS = [{}, EVERYTHING]


@pytest.mark.parametrize("values", VARIANTS, ids=["defaults", "everything"])
def test_helm_finds_nothing_in_the_chart(values):
    told = helm("lint", values)
    assert told["errors"] == []
    assert [m for m in told["messages"] if m["severity"] > 1] == []


@pytest.mark.parametrize("values", VARIANTS, ids=["defaults", "everything"])
def test_every_object_fits_the_schemas_of_kubernetes(values, tmp_path):
    made = objects(values)
    made.pop("ServiceMonitor", None)  # the operator's own kind: no schema of it is in the tool
    (tmp_path / "objects.yaml").write_text(yaml.safe_dump_all(made.values()))
    for version in ("1.30", "1.37"):
        done = run(tool("kubernetes-validate"), "--strict", "-k", version, tmp_path / "objects.yaml")
        assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.parametrize("values", VARIANTS, ids=["defaults", "everything"])
def test_the_config_and_the_command_of_a_pod_are_ours(values):
    made = objects(values)
    config = parse_config(made["ConfigMap"]["data"]["turnout.toml"], ENV)
    workload = made.get("StatefulSet") or made["Deployment"]
    pod = workload["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert build_parser().parse_args(container["args"]).verb == "serve"
    assert [port["containerPort"] for port in container["ports"]] == [config.server.port]
    assert config.server.host == "0.0.0.0"  # keys are there, or it would refuse
    asked = [container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert asked == ["/healthz", "/healthz", "/readyz"]
    sleep_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed = sleep_s + config.server.drain_s + config.server.shutdown_grace_s + AFTER_CANCEL_S
    assert pod["terminationGracePeriodSeconds"] > needed
    ready = container["readinessProbe"]
    assert config.server.drain_s > ready["periodSeconds"] * ready["failureThreshold"]


def test_the_grace_of_a_pod_follows_its_values():
    values = {"preStopSleepSeconds": 0, "server": {"drainSeconds": 7, "shutdownGraceSeconds": 300}}
    pod = objects(values)["Deployment"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 7 + 300 + 20
    assert "lifecycle" not in pod["containers"][0]


def test_a_pod_may_do_next_to_nothing():
    pod = objects({})["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/etc/turnout", "/data", "/tmp"}  # noqa: S108


def test_rows_that_wait_outlive_a_pod_where_that_is_asked_for():
    kept = objects({"data": {"persistence": {"enabled": True}}})
    assert "Deployment" not in kept
    (claim,) = kept["StatefulSet"]["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "data"
    assert "data" not in {v["name"] for v in kept["StatefulSet"]["spec"]["template"]["spec"]["volumes"]}
    plain = objects({})["Deployment"]["spec"]["template"]["spec"]["volumes"]
    assert {"name": "data", "emptyDir": {"sizeLimit": "2Gi"}} in plain


def test_only_what_takes_a_rollout_gets_one():
    def stamp(values):
        return objects(values)["Deployment"]["spec"]["template"]["metadata"]["annotations"]["checksum/fixed"]

    assert stamp({}) == stamp({"config": '[keys.other]\nkey = "env:TURNOUT_KEY"\n'})
    assert stamp({}) != stamp({"server": {"drainSeconds": 3}})


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"server": {"drain": 3}}, "drain"),
        ({"replicas": "three"}, "replicas"),
        ({"image": {"digest": "sha256:1"}}, "digest"),
        ({"config": "[server]\nport = 1\n"}, "written by the chart"),
        ({"config": '  [store]\nledger = "sqlite:///x"\n'}, "written by the chart"),
    ],
)
def test_values_that_mean_nothing_are_refused(values, why):
    assert why in helm("render", values).get("refused", "")


def test_the_chart_keeps_no_secret():
    assert "Secret" not in objects(EVERYTHING)
    assert CHART.name == "turnout"


# ---- systemd -----------------------------------------------------------------------------------------------------


def test_systemd_takes_the_unit_and_holds_it_for_well_hardened(tmp_path):
    analyze = tool("systemd-analyze")
    told = (DEPLOY / "systemd/turnout.service").read_text()
    command = Path(sys.executable).with_name("turnout")
    unit = tmp_path / "turnout.service"
    unit.write_text(told.replace("/opt/turnout/bin/turnout", str(command)))  # it looks whether the command is there
    done = run(analyze, "verify", unit)
    assert (done.returncode, done.stderr) == (0, "")
    # 0 is locked away, 10 unheld; below 2 is what systemd's own services have.
    done = run(analyze, "security", "--offline=true", "--threshold=20", unit)
    assert done.returncode == 0, done.stdout[-500:]
