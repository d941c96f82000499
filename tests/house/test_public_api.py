"""What a façade promises is there, is listed, and no submodule hides it."""

import importlib
import subprocess
import sys

import pytest

FACADES = [
    "roofwright",
    "roofwright.cost_model",
    "roofwright.graph",
    "roofwright.passes",
    "roofwright.passes.cleanup",
    "roofwright.passes.fusion",
    "roofwright.passes.layout",
    "roofwright.passes.scheduling",
    "roofwright.passes.units",
    "roofwright.targets",
]


@pytest.mark.parametrize("name", FACADES)
def test_every_public_name_resolves_to_what_its_home_defines(name: str) -> None:
    facade = importlib.import_module(name)
    for public in facade.__all__:
        if public.startswith("__"):
            continue
        home = importlib.import_module(f"{name}.{facade._HOMES[public]}")
        assert getattr(facade, public) is getattr(home, public), f"{name}.{public} is hidden by a submodule"


@pytest.mark.parametrize("name", FACADES)
def test_all_lists_the_homes(name: str) -> None:
    facade = importlib.import_module(name)
    assert {public for public in facade.__all__ if not public.startswith("__")} == set(facade._HOMES)


@pytest.mark.parametrize("command", ["optimize", "roofwright"])
def test_help_imports_nothing_heavy(command: str) -> None:
    entry = "optimize" if command == "optimize" else "main"
    code = (
        "import sys\n"
        f"sys.argv = ['{command}', '--help']\n"
        f"from roofwright.tools.cli import {entry}\n"
        f"try: {entry}()\n"
        "except SystemExit as e: assert not e.code\n"
        "heavy = {'onnx', 'onnxruntime', 'numpy', 'networkx', 'rich', 'onnx_graphsurgeon'} & set(sys.modules)\n"
        "sys.exit(f'imported {sorted(heavy)}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--help" in done.stdout
