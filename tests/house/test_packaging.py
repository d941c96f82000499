"""The package is what pyproject.toml says it is, wherever it is installed from."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS = ("cost_model", "graph", "passes", "targets", "tools")


def _packages_on_disk() -> set[str]:
    found = {"roofwright"}
    for folder in FOLDERS:
        for init in (ROOT / folder).rglob("__init__.py"):
            found.add("roofwright." + ".".join(init.parent.relative_to(ROOT).parts))
    return found


def test_every_package_is_listed() -> None:
    assert set(CONFIG["tool"]["setuptools"]["packages"]) == _packages_on_disk()


def test_every_module_sits_in_a_package() -> None:
    stray = [
        path
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        if not (path.parent / "__init__.py").exists()
    ]
    assert stray == []


def test_no_folder_is_imported_under_its_bare_name() -> None:
    code = (
        "import pkgutil, importlib, sys, roofwright\n"
        "for m in pkgutil.walk_packages(roofwright.__path__, 'roofwright.'):\n"
        "    if not m.name.endswith('__main__') and 'pytest_plugin' not in m.name: importlib.import_module(m.name)\n"
        f"sys.exit(sorted(set({FOLDERS!r}) & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
