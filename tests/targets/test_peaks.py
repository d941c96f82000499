"""Published peak rates, in TFLOPS or TOPS (two per MAC), against what the files multiply out to."""

import pytest

from roofwright.targets import load_target

PUBLISHED = [
    ("tpuv1", "int8", 92),  # Jouppi et al., ISCA 2017, Table 2
    ("tpuv2", "bfloat16", 46 / 2),  # Jouppi et al., CACM 63(7), 2020, Table 3: 46 per chip of two cores
    ("tpuv3", "bfloat16", 123 / 2),  # the same: 123 per chip of two cores
    ("tpuv4", "bfloat16", 275),  # Jouppi et al., ISCA 2023, arXiv:2304.01433
    ("tpuv4", "int8", 275),
    ("tpuv4i", "bfloat16", 138),  # Jouppi et al., ISCA 2021, Table 1
    ("edgetpu", "int8", 4),  # coral.ai
    ("v100", "float16", 125),  # NVIDIA WP-08608-001
    ("v100", "float32", 15.7),
    ("v100", "float64", 7.8),
    ("v100_pcie", "float16", 112),
    ("v100_pcie", "float32", 14),
    ("p100", "float32", 10.6),  # NVIDIA WP-08019-001
    ("p100", "float16", 21.2),
    ("p100", "float64", 5.3),
    ("k80", "float32", 8.74 / 2),  # NVIDIA BD-07317-001: two dies
    ("k80_ecc", "float32", 2.8),  # Jouppi et al., ISCA 2017, Table 2
    ("t4", "float16", 65),  # NVIDIA T4 datasheet
    ("t4", "int8", 130),
    ("t4", "int4", 260),
    ("t4", "float32", 8.1),
    ("a100", "float16", 312),  # NVIDIA A100 whitepaper
    ("a100", "int8", 624),
    ("a100", "float32", 19.5),
    ("a100", "float64", 19.5),
    ("a100", "tf32", 156),
    ("h100", "float16", 989),  # NVIDIA H100 whitepaper, dense
    ("h100", "float8e4m3fn", 1979),
    ("h100", "int8", 1979),
    ("h100", "float32", 67),
    ("h200", "bfloat16", 989),
    ("gtx1080ti", "float32", 11.3),  # NVIDIA product pages
    ("titan_x_pascal", "float32", 11),
    ("titan_xp", "float32", 12.15),
    ("titan_x_maxwell", "float32", 6.6),
    ("m40", "float32", 5.8),  # base clock
    ("vega_fe", "float32", 13.1),  # AMD product pages
    ("vega_fe", "float16", 26.2),
    ("mi25", "float32", 12.3),
    ("jetson_agx_xavier", "float16", 11),  # NVIDIA module data sheets
    ("jetson_agx_xavier", "int8", 22),
    ("jetson_agx_xavier", "float32", 1.4),
    ("jetson_agx_orin", "int8", 85),
    ("jetson_agx_orin", "float32", 5.3),
    ("jetson_orin_nano", "int8", 20),
    ("jetson_nano", "float16", 0.472),
    ("jetson_tx2", "float16", 1.33),
    ("kirin970", "float16", 1.92),  # Huawei, IFA 2017
    ("snapdragon855", "float32", 0.9),
    ("exynos9820_npu", "int8", 1.9),  # Song et al., ISSCC 2019
    ("apple_ane", "float16", 11),  # Apple, 2020
    ("haswell_e5_2699v3", "float32", 1.3),  # Jouppi et al., ISCA 2017, Table 2
    ("haswell_e5_2699v3", "int8", 2.6),
    ("knl_7250", "float32", 6.1),  # Intel
]


@pytest.mark.parametrize(("name", "dtype", "published"), PUBLISHED)
def test_the_peak_is_the_published_one(name: str, dtype: str, published: float) -> None:
    peaks = [2 * engine.peak_macs_per_s(dtype) / 1e12 for engine in load_target(name).engines]
    assert max(peaks) == pytest.approx(published, rel=0.03)


PER_CORE = [  # MACs per clock of one core, by instruction set
    ("x86_avx512_vnni", "float32", 32),
    ("x86_avx512_vnni", "int8", 128),
    ("x86_amx_spr", "int8", 1024),
    ("x86_amx_spr", "bfloat16", 512),
    ("cortex_a76", "float32", 8),
    ("cortex_a76", "int8", 32),
    ("cortex_a72", "float32", 4),
    ("cortex_a53", "float32", 2),
    ("cortex_a57", "float32", 4),
]


@pytest.mark.parametrize(("name", "dtype", "macs"), PER_CORE)
def test_a_core_does_what_its_manual_says(name: str, dtype: str, macs: float) -> None:
    assert load_target(name).engines[0].macs_per_clock[dtype] == macs


MEMORY = [("v100", 900), ("tpuv2", 350), ("k80", 240), ("k80_ecc", 160), ("t4", 320), ("a100", 1555), ("h200", 4800)]


@pytest.mark.parametrize(("name", "gb_per_s"), MEMORY)
def test_the_memory_has_the_published_bandwidth(name: str, gb_per_s: float) -> None:
    assert load_target(name).device_memory.bytes_per_s == gb_per_s * 1e9


def test_the_tensor_core_is_known_by_its_shape() -> None:
    tensor = load_target("v100").engine("tensor")
    step = getattr(tensor.geometry, "unit", None)
    assert step == (4, 4, 4)
    assert tensor.count * tensor.macs_per_clock["float16"] == 640 * 64


def test_a_window_engine_multiplies_whole_windows() -> None:
    npu = load_target("kirin970").engine("npu")
    window = npu.geometry
    slots = getattr(window, "kernel_h", 0) * getattr(window, "kernel_w", 0) * getattr(window, "lanes", 0)
    assert npu.macs_per_clock["float16"] == slots == 9 * 128
    assert "int8" not in npu.macs_per_clock
