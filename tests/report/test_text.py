"""Numbers as words: prefixes, sizes, names and the sentences under the table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simulator import load_device, load_model, simulate
from simulator.compiler.host import RULES as DEVICE_RULES
from simulator.hwconfig import device_from_dict
from simulator.ops import operator, operator_names
from simulator.report.catalogue import device_details, device_table, operator_table
from simulator.report.text import (
    layer_table,
    main_cause,
    quantity,
    run_report,
    short_name,
    size,
    summary,
)
from simulator.result import Result


@pytest.fixture(scope="module")
def result() -> Result:
    return simulate(load_model("digits"), load_device("wear"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 s"), (1.0, "1 s"), (0.00062, "620 µs"), (999.4, "999 s"), (999.6, "1 ks"),
        (0.99949, "999 ms"), (0.9996, "1 s"), (1.234e-9, "1.23 ns"), (5e-12, "5 ps"),
        (3.3e6, "3.3 Ms"), (2.5e12, "2.5 Ts"), (7e15, "7 Ps"), (-0.002, "-2 ms"),
    ],
)  # fmt: skip
def test_quantity(value: float, text: str) -> None:
    assert quantity(value, "s") == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (1 << 20, "1.0 MiB"),
     (3 << 30, "3072.0 MiB")],
)  # fmt: skip
def test_size(count: int, text: str) -> None:
    assert size(count) == text


def test_short_name() -> None:
    assert short_name("conv;bias;relu") == "conv"
    assert short_name("a" * 32) == "a" * 32
    assert short_name("x" + "a" * 32) == "…" + "a" * 31


def test_main_cause(result: Result) -> None:
    layer = result.layers[0]
    causes = dict.fromkeys(layer.cycles_by_cause, 0) | {"host": 3, "vector": 1}
    assert main_cause(replace(layer, cycles=4, cycles_by_cause=causes)) == "host 75 %"


def test_table_has_a_row_per_layer(result: Result) -> None:
    for detailed in (False, True):
        lines = layer_table(result, detailed).splitlines()
        assert len(lines) == 2 + len(result.layers)
        assert set(lines[1]) == {"-", " "}


def test_summary_states_the_totals(result: Result) -> None:
    text, t = summary(result), result.totals
    for words in (
        f"{t.cycles:,} cycles", f"{t.inferences_per_s:,.1f} inferences/s", f"{t.macs:,} MACs",
        quantity(t.energy_pj * 1e-12, "J"), quantity(t.average_power_w, "W"),
        f"{t.tops_per_watt:.3g} TOPS/W", f"{t.inferences_per_joule:,.1f} inferences/J",
        size(t.dram_bytes), size(t.scratchpad_peak_bytes), "ruled out by the weights",
        "stay on chip between inferences",
    ):  # fmt: skip
        assert words in text
    assert "accuracy" not in text
    assert run_report(result, False).startswith("digits_int8.tflite\n\n")


def test_shares_add_up_to_all(result: Result) -> None:
    for start in ("cycles by cause", "energy by part"):
        line = next(x for x in summary(result).splitlines() if x.startswith(start))
        shares = [float(word) for word in line.replace("%", "").split() if word[0].isdigit()]
        assert sum(shares) == pytest.approx(100, abs=0.1 * len(shares))
        assert shares == sorted(shares, reverse=True)


def test_host_layers_say_why() -> None:
    content = load_device("wear").model_dump(exclude={"sources"}, exclude_none=True)
    content["vector"]["functions"] = ("add", "max_pool", "average_pool", "rescale")
    result = simulate(load_model("digits"), device_from_dict(content, "no softmax"))
    text = run_report(result, True)
    assert "softmax (host)" in text
    assert "on the host      probabilities/Softmax: the device does not meet: " in text


def test_unknown_overflows_are_not_called_none() -> None:
    content = load_device("wear").model_dump(exclude={"sources"}, exclude_none=True)
    content["array"]["accumulator_bits"] = 16
    result = simulate(load_model("digits"), device_from_dict(content, "narrow"))
    assert result.totals.overflows is None
    assert "not counted" in summary(result)
    row = layer_table(result, True).splitlines()[2]
    assert " ? " in row


def test_device_details_give_every_number_its_source() -> None:
    text = device_details(load_device("fsd"))
    assert text.startswith("fsd: One NPU of the Tesla FSD computer (HW3)\n")
    for key in ("array.rows", "operating_points.0.clock_mhz", "dram.bandwidth_mb_per_s"):
        line = next(x for x in text.splitlines() if x.startswith(key))
        assert " published " in line or " estimated " in line


def test_a_device_without_sources_has_dashes() -> None:
    content = load_device("wear").model_dump(exclude={"sources"}, exclude_none=True)
    text = device_details(device_from_dict(content, "bare"))
    line = next(x for x in text.splitlines() if x.startswith("array.rows"))
    assert line.split() == ["array.rows", "8", "-", "-"]


def test_device_table_has_units() -> None:
    text = device_table()
    for unit in ("MHz", "TOPS", "bit", "KiB", "MiB", "nm"):
        assert unit in text


@pytest.mark.parametrize("name", operator_names())
def test_operator_table_prints_every_rule(name: str) -> None:
    text = operator_table()
    assert f"{name.upper()} (" in text
    for rule in (*operator(name).RULES, *DEVICE_RULES):
        assert rule.__doc__
        assert rule.__doc__.strip() in text
