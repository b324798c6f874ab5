"""What is in deploy/, and the tools that look at it: those of `make test-deploy`, else what this machine has."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm/turnout"
TOOLS = ROOT / ".deploy/bin"

ENV = {
    "TURNOUT_LEDGER_URL": "sqlite:///t.db",
    "TURNOUT_SHARED_URL": "memory:",
    "TURNOUT_ADMIN_KEY": "sk-admin",
    "TURNOUT_KEY": "sk-caller",
    "OPENAI_API_KEY": "sk-openai",
}
"""Every variable that the shipped configs name."""

EVERYTHING: dict[str, Any] = {
    "autoscaling": {"enabled": True},
    "data": {"persistence": {"enabled": True, "storageClassName": "fast"}},
    "networkPolicy": {"enabled": True, "ingressFrom": [{"podSelector": {}}]},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "image": {"digest": "sha256:" + "0" * 64},
    "imagePullSecrets": [{"name": "registry"}],
    "extraEnv": [{"name": "A", "value": "b"}],
    "extraEnvFrom": [{"secretRef": {"name": "more"}}],
    "podAnnotations": {"a": "b"},
    "podLabels": {"c": "d"},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
    "service": {"annotations": {"e": "f"}},
    "serviceAccount": {"annotations": {"g": "h"}},
}
"""Values that reach every branch of the chart's templates."""

_HELM = """
import json, sys, helm_python as helm
asked = json.load(sys.stdin)
if asked["verb"] == "lint":
    told = helm.lint(asked["chart"], asked["values"], strict=True, kube_version="v1.30.0")
else:
    with helm.Chart.load(asked["chart"]) as chart:
        try:
            chart.validate_schema(asked["values"])
            told = chart.render(asked["values"], name="t", namespace="n")
        except helm.HelmError as error:
            told = {"refused": str(error)}
json.dump(told, sys.stdout)
"""


def tool(name: str) -> str:
    """The path of a tool; skips the test that asks where it is not to be had."""
    here = TOOLS / name
    found = str(here) if here.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not here: make test-deploy")
    return found


def run(*command: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=120, check=False, **more
    )


def helm(verb: str, values: dict[str, Any]) -> dict[str, Any]:
    """`lint`: Helm's findings; `render`: each template's text, or why Helm `refused` the values."""
    if not (TOOLS / "python").exists():
        pytest.skip("Helm is not here: make test-deploy")
    asked = json.dumps({"verb": verb, "chart": str(CHART), "values": values})
    done = run(TOOLS / "python", "-c", _HELM, input=asked)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def objects(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What the chart makes of these values, by kind."""
    told = helm("render", values)
    assert "refused" not in told, told
    found = (yaml.safe_load(text) for name, text in told.items() if name.endswith(".yaml"))
    return {one["kind"]: one for one in found if one}
