from pathlib import Path

from roofwright.targets import load_target, stack_names, target_names
from roofwright.tools.targets import listing
from tests.targets.files import write

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "targets.md").read_text()


def test_the_page_names_every_target_and_stack() -> None:
    assert [name for name in (*target_names(), *stack_names()) if f"`{name}`" not in PAGE] == []


def test_the_table_holds_what_the_files_say() -> None:
    for row in listing():
        line = next((line for line in PAGE.splitlines() if line.startswith("|") and f"`{row.name}`" in line), "")
        cells = f"| {row.peak} | {row.on_chip} | {row.memory} | {row.price} |"
        assert row.name == "host" or line.endswith(cells), f"docs/targets.md: {row.name} should end with {cells}"


def test_the_example_of_one_s_own_machine_works(tmp_path: Path) -> None:
    example = PAGE.split("# my_v100.toml")[1].split("```")[0]
    target = load_target(write(tmp_path, f"# {example}", "my_v100.toml"))
    assert target.power is not None
    assert target.power.limit_w == 200
    assert target.provenance["power.limit_w"].source == "nvidia-smi -pl 200 on our cluster"
    assert target.engines == load_target("v100").engines
