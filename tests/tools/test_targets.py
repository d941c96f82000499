import io
from pathlib import Path

import pytest

from roofwright.targets import load_target, target_names
from roofwright.targets.errors import TargetError
from roofwright.tools.fields import spoken
from roofwright.tools.targets import description, listing, run
from tests.targets.files import write


def printed(name: str | None) -> str:
    out = io.StringIO()
    run(name, out)
    return out.getvalue()


def test_every_target_is_listed_once_with_its_peak() -> None:
    rows = {row.name: row for row in listing()}
    assert sorted(rows) == list(target_names())
    assert rows["v100"].peak == "125.3 TOP/s float16"
    assert rows["tpuv1"].peak == "91.75 TOP/s int8"
    assert (rows["tpuv2"].on_chip, rows["tpuv2"].memory) == ("16 MiB", "350 GB/s")
    assert (rows["k80"].price, rows["titan_xp"].price) == ("0.9 USD/h", "-")


def test_further_names_of_a_machine_point_to_the_first() -> None:
    same = {row.name: row.same_as for row in listing() if row.same_as}
    assert same["v100_sxm2"] == "v100"
    assert same["kirin970_npu"] == "kirin970"
    assert "v100" not in same
    assert "k80_ecc" not in same


def test_the_list_is_one_line_per_target() -> None:
    lines = printed(None).splitlines()
    assert len(lines) == 1 + len(target_names())
    assert [line.split()[0] for line in lines[1:]] == list(target_names())


@pytest.mark.parametrize("name", target_names())
def test_a_description_holds_every_engine_and_level_with_sources(name: str) -> None:
    target = load_target(name)
    sections = {section.title: section.facts for section in description(target)}
    for engine in target.engines:
        facts = {fact.key: fact for fact in sections[f"engine {engine.name} ({engine.kind})"]}
        assert facts["clock_hz"].source == target.provenance[f"engines.{engine.name}.clock_hz"].source
        assert facts["clock_hz"].confidence
    for memory in target.memories:
        keys = [fact.key for fact in sections[f"memory {memory.name}"]]
        own = ["capacity_bytes", "bytes_per_s", "efficiency", "managed", "holds", "latency_s", "setup_s"]
        assert keys == [*own, *(["dma"] if memory.dma is None else ["dma.engines", "dma.ports"])]
    assert f"software stack {target.stack.name}" in sections


def test_a_description_shows_values_assumptions_and_prices() -> None:
    text = printed("v100")
    assert text.startswith("v100: NVIDIA V100 SXM2 16 GB\n")
    for part in ("1.53 GHz", "4 x 4 x 4", "900 GB/s", "16 GiB", "3.06 USD/h", "software stack cudnn7", "WP-08608-001"):
        assert part in text
    assert "stored as int8, multiplied as int8" in printed("tpuv1")
    assert "unlimited" in printed("host")


def test_a_target_of_one_s_own_is_described_from_its_file(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert "a data sheet" in printed(str(path))


def test_markup_in_a_file_is_printed_as_it_stands(tmp_path: Path) -> None:
    path = write(tmp_path, 'inherit = "tpuv1"\ntitle = "[red]x[/red] :smile:"\n')
    assert "toy: [red]x[/red] :smile:" in printed(str(path))


def test_an_unknown_target_prints_nothing() -> None:
    out = io.StringIO()
    with pytest.raises(TargetError, match="did you mean 'kirin970'"):
        run("kirin97", out)
    assert out.getvalue() == ""


def test_without_a_stream_the_process_s_own_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    run("tpuv2")
    assert capsys.readouterr().out.startswith("tpuv2: Google TPU v2, one core")


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("clock_hz", 700e6, "700 MHz"),
        ("capacity_bytes", 16 << 20, "16 MiB"),
        ("capacity_bytes", 100, "100 B"),
        ("bytes_per_s", 34.1e9, "34.1 GB/s"),
        ("bytes_per_s", float("inf"), "unlimited"),
        ("latency_s", 0.0, "0 s"),
        ("latency_s", 1.26e-7, "126 ns"),
        ("limit_w", 75.0, "75 W"),
        ("kernel_w", 3, "3"),
        ("special_per_clock", None, "none"),
        ("overlaps_memory", True, "yes"),
        ("macs_per_clock", {"int8": 65536, "int16": 16384}, "int8 65536/clock, int16 16384/clock"),
        ("joule_per_mac", {"float16": 2e-12}, "float16 2 pJ/MAC"),
        ("unit", (4, 4, 4), "4 x 4 x 4"),
        ("gemm_tiles", {"simt": ((128, 64, 8), (64, 64, 8))}, "simt 128 x 64 x 8, 64 x 64 x 8"),
        ("runs", ("conv", "pool"), "conv, pool"),
        ("runs", (), "none"),
        ("efficiency", 0.833, "0.833"),
        ("price_usd_per_hour", 3.06, "3.06 USD/h"),
    ],
)
def test_values_are_spoken_with_their_units(field: str, value: object, text: str) -> None:
    assert spoken(field, value) == text
