"""The shape of the house: first lines, sizes, exported names, import directions, what start-up may load."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import turnout

ROOT = Path(turnout.__file__).parent
FILES = sorted(p for p in ROOT.rglob("*.py"))
IDS = [str(p.relative_to(ROOT)) for p in FILES]
MAX_LINES, MAX_FUNCTION_LINES = 600, 60
HEAVY = [
    "openai",
    "anthropic",
    "pydantic",
    "httpx",
    "numpy",
    "duckdb",
    "xllamacpp",
    "genai_prices",
    "opentelemetry",
    "prometheus_client",
    "structlog",
    "turnout.lab",
    "turnout.learn",
]


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_every_file_says_on_its_first_line_what_it_is_for(file):
    doc = ast.get_docstring(ast.parse(file.read_text()))
    assert doc, f"{file} has no docstring"
    assert file.read_text().startswith('"""'), f"{file} does not begin with it"


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_rooms_stay_small(file):
    text = file.read_text()
    assert len(text.splitlines()) <= MAX_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= MAX_FUNCTION_LINES, f"{file.name}:{node.name} has {length} lines"


@pytest.mark.parametrize(
    "file", [f for f in FILES if f.name != "__main__.py"], ids=[i for i in IDS if "__main__" not in i]
)
def test_exported_names_exist_and_are_sorted(file):
    module = importlib.import_module(module_name(file))
    names = getattr(module, "__all__", None)
    if names is None:
        assert file.name == "__init__.py", f"{file} exports nothing on purpose? Then say so with __all__ = []"
        return
    assert [n for n in names if not hasattr(module, n)] == []
    assert list(names) == sorted(names, key=lambda n: (not n.isupper(), n.startswith("_"), not n[:1].isupper(), n))


def test_import_directions():
    result = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT.parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


def test_the_serving_path_loads_nothing_heavy():
    code = "import sys, turnout.cli.serve; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert [m for m in HEAVY if m in loaded] == []


def test_the_only_module_that_opens_upstream_sockets():
    """Sockets to providers are opened in `providers/` alone."""
    offenders = [
        str(f.relative_to(ROOT))
        for f in FILES
        if "providers" not in f.parts
        and "lab" not in f.parts
        and re.search(r"\b(create_connection|open_connection|sock_connect)\(", f.read_text())
    ]
    assert offenders == []


def test_the_page_on_architecture_has_every_room_and_names_none_that_is_gone():
    text = (ROOT.parent.parent / "docs/ARCHITECTURE.md").read_text("utf-8")
    rooms = {f"{p.name}/" if p.is_dir() else p.name for p in ROOT.iterdir() if not p.name.startswith("__")}
    assert rooms - {"py.typed"} - set(re.findall(r"`(\w+(?:\.py|/))`", text)) == set()
    known = [str(file) for file in (*FILES, __file__)]
    assert [n for n in re.findall(r"[\w/]+\.py", text) if not any(k.endswith(f"/{n}") for k in known)] == []
