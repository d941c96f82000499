"""The documentation says what is there, and its commands are those that CI runs."""

import os
import re
import runpy
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from roofwright.passes import PASSES
from roofwright.targets import target_names
from roofwright.tools import cli
from roofwright.tools.pytest_plugin import difference
from tests.house.passes_page import page

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
TEXT = {".md", ".py", ".toml", ".json", ".txt", ".cfg", ".in", ".yml", ".pyi", ""}
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|home|root|Users|farm|mnt)/\w")
REGISTRY = re.compile(r"(?:index-url|extra-index|files\.pythonhosted|pypi\.org/simple|artifactory|trusted-host)", re.I)


def block(marker: str) -> str:
    """The sh block after a marker of the README."""
    found = re.search(rf"^<!-- {marker} -->\n```sh\n(.*?)^```$", README, re.M | re.S)
    assert found, f"README.md has no ```sh block right after <!-- {marker} -->"
    return found[1].strip()


def test_the_passes_page_is_what_the_docstrings_say(request: pytest.FixtureRequest) -> None:
    path = ROOT / "docs" / "passes.md"
    if request.config.getoption("--update-golden") and not os.environ.get("CI"):
        path.write_text(page(), encoding="utf-8")
    assert path.read_text(encoding="utf-8") == page(), difference(path.read_text(encoding="utf-8"), page(), path.name)


@pytest.mark.parametrize("name", PASSES)
def test_every_pass_says_before_and_after_when_it_declines_and_its_numerics(name: str) -> None:
    text = " ".join((PASSES[name].__doc__ or "").split())
    assert "-->" in text.split(" 1. ")[0], f"{name}: the docstring begins with 'before --> after'"
    for part in ("Declines ", "Numerics: "):
        assert part in text, f"{name}: the docstring has no {part!r}"


def test_the_readme_names_every_command() -> None:
    commands = [name for name in cli._group.commands if name != "optimize"]
    assert [name for name in commands if f"roofwright {name}" not in README] == []


def test_every_flag_that_the_documents_use_exists() -> None:
    known = {name for command in cli._group.commands.values() for p in command.params for name in p.opts}
    known |= {"--help", "--update-golden", "--plots"}
    tools = ("ruff", "pip ", "pytest", "python")
    for path in PAGES:
        for line in path.read_text(encoding="utf-8").splitlines():
            if any(tool in line for tool in tools):
                continue
            unknown = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", line)) - known
            assert not unknown, f"{path.name}: {line.strip()}: {unknown}"


def test_the_targets_of_the_readme_exist() -> None:
    table = README.split("## Targets")[1].split("\n\n")[1]
    named = re.findall(r"^\| `(\w+)`", table, re.M)
    assert len(named) >= 6
    assert set(named) <= set(target_names())


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8"))
    local = [link for link in links if not link.startswith("http")]
    assert [link for link in local if not (path.parent / link).exists()] == []


def test_every_page_is_linked_from_the_readme() -> None:
    assert [path.name for path in (ROOT / "docs").glob("*.md") if f"docs/{path.name}" not in README] == []


def test_both_commands_need_nothing_but_python() -> None:
    for marker in ("run", "test"):
        assert block(marker).startswith("python3 -m venv .venv && . .venv/bin/activate && pip install")
    assert "optimize zoo:mobilenet_v2 --target tpuv2 -o mobilenet_v2.tpuv2.onnx" in block("run")
    assert 'pytest -q -n 2 -m "not slow"' in block("test")


@pytest.mark.skipif(shutil.which("awk") is None, reason="CI's extraction needs awk")
def test_ci_runs_exactly_the_test_command_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    line = next(line for line in script.splitlines() if line.startswith("test_command="))
    command = f'{line}\nprintf %s "$test_command"'
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == block("test")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_example_in_the_readme_is_a_report() -> None:
    shown = README.split("```text\n")[1].split("```")[0]
    for part in ("optimize 0.", "= latency", "check    passed", "modelled, not measured"):
        assert part in shown


@pytest.mark.parametrize("name", ["own_pass", "optimize_in_python"])
def test_examples_run(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main = runpy.run_path(str(ROOT / "examples" / f"{name}.py"))["main"]
    main()
    said = {
        "own_pass": "drop-double-neg at b: applied",
        "optimize_in_python": "check: passed",
    }
    assert said[name] in capsys.readouterr().out


def test_every_example_is_tested() -> None:
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == {"own_pass", "optimize_in_python"}


def tracked() -> list[Path]:
    """The files of the project: what git tracks, or everything where there is no git."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    names = [name for name in done.stdout.decode().split("\0") if name] if done.returncode == 0 else []
    paths = [ROOT / name for name in names] or [path for path in ROOT.rglob("*") if ".venv" not in path.parts]
    return [path for path in paths if path.is_file() and not path.is_symlink() and path.suffix in TEXT]


def test_no_file_names_a_machine_path_or_a_registry() -> None:
    found = []
    for path in tracked():
        if path == Path(__file__).resolve():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [
            f"{path.name}: {match[0]}" for pattern in (MACHINE_PATH, REGISTRY) for match in pattern.finditer(text)
        ]
    assert found == []


def test_the_commands_are_those_documented() -> None:
    assert isinstance(cli._group, click.Group)
    assert list(cli._group.commands) == ["optimize", "targets", "passes", "show", "validate"]
