from pathlib import Path

import pytest

from roofwright.targets import load_stack, load_target
from roofwright.targets.errors import TargetError
from tests.targets.files import MINIMAL, NUMBER, spoiled, write

CLOCK = f"clock_hz = {{ value = 1e9, {NUMBER}"
DMA = f"""[memories.dram.dma]
ports = {{ value = 2, {NUMBER}
engines = {{ value = 4, {NUMBER}
"""
POWER = f"""
[power]
limit_w = {{ value = 10, {NUMBER}
idle_w = {{ value = 1, {NUMBER}
min_clock_hz = {{ value = 1e8, {NUMBER}
joule_per_mac = {{ value = {{ float32 = 1e-12 }}, {NUMBER}
joule_per_byte = {{ value = {{ dram = 1e-12 }}, {NUMBER}
"""

BAD = [
    (CLOCK, "", r"engines\.core\.clock_hz: missing key"),
    ("[link]", DMA.replace("2,", "3,", 1) + "[link]", r"memories\.dram\.dma\.ports: expected 1 or 2, found 3"),
    (
        "[link]",
        DMA.replace("ports", "port") + "[link]",
        r"memories\.dram\.dma\.port: unknown key; did you mean 'ports'",
    ),
    ("[link]", "[memories.dram.dma]\n[link]", r"memories\.dram\.dma\.engines: missing key"),
    (CLOCK, CLOCK.replace("clock_hz", "clock_khz"), r"engines\.core\.clock_khz: unknown key; did you mean 'clock_hz'"),
    ("1e9,", "0,", r"engines\.core\.clock_hz: must be greater than 0, found 0"),
    ("1e9,", "-1e9,", r"engines\.core\.clock_hz: must be greater than 0"),
    ("1e9,", "nan,", r"engines\.core\.clock_hz: must be a number"),
    ("1e9,", "inf,", r"engines\.core\.clock_hz: must be finite"),
    ("1e9,", "1" + "0" * 400 + ",", r"engines\.core\.clock_hz: must not exceed"),
    ("1e9,", '"fast",', r"engines\.core\.clock_hz: expected a number, found 'fast'"),
    ("1e9,", "true,", r"engines\.core\.clock_hz: expected a number, found True"),
    ("1e9,", "2020-01-01,", r"engines\.core\.clock_hz: expected a number"),
    (CLOCK, "clock_hz = 1e9", r"engines\.core\.clock_hz: no source"),
    (CLOCK, 'clock_hz = "none"', r"engines\.core\.clock_hz: expected a number, found 'none'"),
    (CLOCK, CLOCK.replace(', confidence = "high"', ""), r"engines\.core\.clock_hz\.confidence: missing key"),
    (CLOCK, CLOCK.replace('source = "sheet", ', ""), r"engines\.core\.clock_hz: source: missing"),
    (CLOCK, CLOCK.replace('"high"', '"hihg"'), r"confidence: 'hihg' is not known; did you mean 'high'"),
    (
        CLOCK,
        CLOCK.replace("sheet", "sheets"),
        r"clock_hz: source: 'sheets' is not in \[sources\]; did you mean 'sheet'",
    ),
    (CLOCK, CLOCK.replace(" }", ', unit = "Hz" }'), r"engines\.core\.clock_hz\.unit: unknown key"),
    ("count = { value = 2,", "count = { value = 2.5,", r"engines\.core\.count: expected a whole number, found 2\.5"),
    ("count = { value = 2,", "count = { value = 0,", r"engines\.core\.count: must be greater than 0"),
    ("{ float32 = 8 }", "{ float23 = 8 }", r"macs_per_clock\.float23: 'float23' is not known; did you mean 'float32'"),
    ("{ float32 = 8 }", "{ float32 = 0 }", r"macs_per_clock\.float32: must be greater than 0"),
    ("{ float32 = 8 }", "{}", r"engines\.core\.macs_per_clock: an engine that runs matrix work needs"),
    ("{ float32 = 8 }", "[8]", r"engines\.core\.macs_per_clock: expected a table"),
    ("value = 1_000_000", "value = 0", r"memories\.dram\.capacity_bytes: must be greater than 0"),
    ("value = 0.5", "value = 1.5", r"memories\.dram\.efficiency: must be at most 1"),
    ("latency_s = { value = 0.0", "latency_s = { value = -1.0", r"memories\.dram\.latency_s: must not be negative"),
    ('"matmul"', '"matmull"', r"engines\.core\.runs\.0: 'matmull' is not known; did you mean 'matmul'"),
    ('["direct"]', '["winograd"]', r"engines\.core\.algorithms: 'winograd' is not known"),
    ('["matmul", "conv", "elementwise"]', "[]", r"engines\.core\.runs: expected at least one"),
    ('"elementwise"', '"special"', r"engines\.core\.special_per_clock: .* needs their rate"),
    ("runs = [", "runs = 3 # [", r"engines\.core\.runs: expected a list, found 3"),
    ('kind = "simd"', 'kind = "simt"', r"engines\.core\.geometry\.vector_bits: unknown key"),
    ('kind = "simd"', 'kind = "smid"', r"engines\.core\.kind: 'smid' is not known; did you mean 'simd'"),
    ("overlaps_memory = true", "overlaps_memory = 1", r"geometry\.overlaps_memory: expected true or false, found 1"),
    (
        'tile_unit = "none"',
        f"tile_unit = {{ value = [4, 4], {NUMBER}",
        r"geometry\.tile_unit: expected 3 values, found 2",
    ),
    ('tile_unit = "none"', f"tile_unit = {{ value = [4, 0, 4], {NUMBER}", r"tile_unit\.1: must be greater than 0"),
    ('["activations", "weights"]', '["weights"]', r"memories: no level holds activations"),
    ('title = "Toy"', "title = 3", r"title: expected a text, found 3"),
    ('title = "Toy"', r'title = "\u001b[31mToy"', r"holds control characters"),
    ('title = "Toy"', 'titel = "Toy"', r"titel: unknown key; did you mean 'title'"),
    ('stack = "compiled"', "", r"stack: missing key"),
    ('stack = "compiled"', 'stack = "compild"', r"stack: unknown stack 'compild'; did you mean 'compiled'"),
    ('stack = "compiled"', 'stack = "../compiled.toml"', r"stack: expected a name or a file beside this one"),
    (
        "assume = {}",
        'assume = { int8 = { storage = "int8", multiply = "int8" } }',
        r"assume\.int8\.multiply: no engine",
    ),
    ("assume = {}", 'assume = { x = { storage = "float32", multiply = "float32" } }', r"assume\.x: 'x' is not known"),
    (
        "assume = {}",
        'assume = { float16 = { storage = "float16", multiply = "float32" } }',
        r"assume\.float16\.storage: no engine does elementwise work on 'float16'",
    ),
    ('power = "none"', "", r"power: missing key"),
    ('power = "none"', "power = {}", r"power\.limit_w: missing key"),
    ("[memories.dram]", "[memories]\n[other.dram]", r"other: unknown key"),
    ("[sources]", "[[sources]]", r"sources: expected a table of texts"),
    ('sheet = "a data sheet"', "sheet = 3", r"sources: expected a table of texts"),
    ("[link]", "[link", r"not valid TOML"),
]


@pytest.mark.parametrize(("old", "new", "message"), BAD)
def test_bad_files_are_refused_in_one_line_that_names_file_and_key(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(TargetError, match=message) as caught:
        load_target(write(tmp_path, spoiled(old, new)))
    text = str(caught.value)
    assert text.startswith(str(tmp_path / "toy.toml"))
    assert "\n" not in text
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{ dram = 1e-12 }", "{ dramm = 1e-12 }", r"power\.joule_per_byte\.dramm: .*did you mean 'dram'"),
        ("{ dram = 1e-12 }", "{}", r"power\.joule_per_byte\.dram: missing key"),
        ("{ float32 = 1e-12 }", "{ float16 = 1e-12 }", r"power\.joule_per_mac\.float32: missing key"),
        ("idle_w = { value = 1,", "idle_w = { value = 10,", r"power\.idle_w: must be less than limit_w"),
    ],
)
def test_power_must_fit_engines_and_memories(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in POWER
    text = MINIMAL.replace('power = "none"\n', "")
    assert load_target(write(tmp_path, text + POWER)).power is not None
    with pytest.raises(TargetError, match=message):
        load_target(write(tmp_path, text + POWER.replace(old, new)))


def test_files_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "large.toml").write_bytes(b"#" * ((1 << 20) + 1))
    (tmp_path / "deep.toml").write_text("a = " + "[" * 100_000)
    (tmp_path / "folder.toml").mkdir()
    expected = {"bytes": "not valid TOML", "large": "larger than", "deep": "nested too deeply", "folder": "not a file"}
    for name, message in expected.items():
        with pytest.raises(TargetError, match=message):
            load_target(tmp_path / f"{name}.toml")


def test_odd_paths_are_refused() -> None:
    for path, message in {
        "no/such/file.toml": "no/such/file.toml: cannot be read: No such file",
        "/dev/null": "/dev/null: not a file",
        "a\0b.toml": "must not hold control characters",
        "a\x1b[31m": "must not hold control characters",
        "a" * 5000 + ".toml": "cannot be read: File name too long",
    }.items():
        with pytest.raises(TargetError, match=message):
            load_target(path)


def test_an_empty_engine_or_memory_list_is_refused(tmp_path: Path) -> None:
    head, rest = MINIMAL.split("[engines.core]")
    link = "[link]" + rest.split("[link]")[1]
    memory = "[memories.dram]" + rest.split("[memories.dram]")[1].split("[link]")[0]
    engine = "[engines.core]" + rest.split("[memories.dram]")[0]
    with pytest.raises(TargetError, match="engines: expected at least one engine"):
        load_target(write(tmp_path, f"{head}\n[engines]\n{memory}{link}"))
    with pytest.raises(TargetError, match="memories: expected at least the device memory"):
        load_target(write(tmp_path, f"{head}\n{engine}\n[memories]\n{link}"))


def test_bad_stacks_are_refused(tmp_path: Path) -> None:
    def stack(line: str) -> Path:
        return write(tmp_path, f'inherit = "compiled"\n{line}\n', "mine.toml")

    number = 'source = "derived: a test", confidence = "low" }'
    for line, message in {
        'fuses = ["bais"]': r"fuses: 'bais' is not known; did you mean 'bias'",
        f"launch_s = {{ value = -1, {number}": "launch_s: must not be negative",
        f"issue_efficiency = {{ value = {{ simt = 1.2 }}, {number}": r"issue_efficiency\.simt: must be at most 1",
        f'issue_efficiency = {{ value = {{ "smit.float32" = 0.2 }}, {number}': "did you mean 'simt'",
        "launch = 3": r"launch: unknown key; did you mean 'launch_s'",
    }.items():
        with pytest.raises(TargetError, match=message):
            load_stack(stack(line))
