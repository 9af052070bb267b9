"""Broken devices, data sets and arguments: each is refused in one line that says where, what, allowed."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from simulator import cli
from simulator.crosscheck.runtimes import RUNTIMES
from simulator.hwconfig import device_names
from simulator.profiles import PROFILES
from simulator.resources import data_folder
from simulator.workload import model_path

WEAR = (data_folder("hwconfigs") / "devices" / "wear.toml").read_text(encoding="utf-8")
DEVICES = ", ".join(device_names())
ARRAY_KEYS = (
    "rows, cols, ifmap_bits, weight_bits, accumulator_bits, psum_bits, overflow, precision_scaling, "
    "fused_from_bits, multiplier, shift_terms, codebook_entries, codebook_vector, group_factor_bits, "
    "dataflow, other_dataflows, overlap, sparsity, weight_codec, stream_block, zero_point, zero_gating"
)
POINT = '[[operating_points]]\nname = "nominal"\nvoltage_v = 0.65\nclock_mhz = 75\n'
NO_FIT = (
    "digits_int8.tflite on wear: the smallest tile of CONV_2D 'conv1/Relu' does not fit: it needs "
    "ifmap 18 bytes ({} free), weights 36 bytes ({} free), ofmap 2 bytes (4032 free), "
    "2 accumulators (2048 in all); allowed: a larger scratchpad or accumulator memory"
)

# id, (text in wear.toml, what replaces it), message after the file's name
DEVICE_FILES: list[tuple[str, tuple[str, str], str]] = [
    ("no-toml", (WEAR, "rows = = 8"),
     "not valid TOML: Invalid value (at line 1, column 8)"),
    ("empty", (WEAR, ""),
     "schema_version: missing (and 12 more); allowed: a table with at least schema_version, name, "
     "title, device_class, array, scratchpad, accumulator, vector, dma, dram, host, "
     "operating_points, energy"),
    ("missing-key", ("rows = 8\n", ""),
     "array.rows: missing; allowed: a table with at least rows, cols"),
    ("unknown-key", ("rows = 8", "rows = 8\nrow = 8"),
     f"array.row: unknown key; allowed: {ARRAY_KEYS}"),
    ("unknown-key-of-a-layout", ('layout = "split"', 'layout = "split"\ncapacity_bytes = 1'),
     "scratchpad.capacity_bytes: unknown key; allowed: layout, ifmap_bytes, weight_bytes, "
     "ofmap_bytes, buffers, banks, read_bytes_per_cycle, ports, resident_weights"),
    ("part-of-a-burst", ("burst_bytes = 128", "burst_bytes = 128\nrequest_bytes = 192"),
     "dma.request_bytes: 192 is not a multiple of dma.burst_bytes, 128"),
    ("rows-without-a-time", ('kind = "flash"', 'kind = "flash"\nrow_bytes = 1024'),
     "dram: row_bytes and row_cycle_ns are given both or neither"),
    ("refreshes-without-an-interval", ('kind = "flash"', 'kind = "flash"\nrefresh_ns = 100'),
     "dram: refresh_ns and refresh_interval_ns are given both or neither"),
    ("always-refreshing",
     ('kind = "flash"', 'kind = "flash"\nrefresh_ns = 100\nrefresh_interval_ns = 150'),
     "dram.refresh_ns: 100.0 is more than half of dram.refresh_interval_ns, 150.0"),
    ("sparsity-of-no-pattern", ("rows = 8", 'rows = 8\nsparsity = "3:4"'),
     "array.sparsity: 3:4 is not N:M with M a multiple of N"),
    ("sparse-groups-in-halves", ("rows = 8", 'rows = 7\nsparsity = "2:4"'),
     "array.sparsity: 7 rows hold no whole groups of 2 weights"),
    ("more-cores-than-there-may-be", ('name = "wear"', 'name = "wear"\ncores = 65'),
     "cores = 65; allowed: at most 64"),
    ("unknown-key-of-a-point", ("clock_mhz = 75", "clock_mhz = 75\nclock = 75"),
     "operating_points.0.clock: unknown key; allowed: name, voltage_v, clock_mhz"),
    ("text-for-a-number", ("rows = 8", 'rows = "8"'),
     "array.rows = '8'; allowed: an integer"),
    ("fraction-for-an-integer", ("rows = 8", "rows = 8.5"),
     "array.rows = 8.5; allowed: an integer"),
    ("number-for-a-section", (WEAR, "vector = 3\n" + WEAR.replace("[vector]\nlanes = 8\n", "")),
     "vector = 3; allowed: a table"),
    ("section-for-a-list", ("[[operating_points]]", "[operating_points]"),
     "operating_points = {'name': 'nominal', 'voltage_v': 0.65, 'clock_mhz': 75}; allowed: a list"),
    ("below-range", ("rows = 8", "rows = 0"),
     "array.rows = 0; allowed: at least 1"),
    ("above-range", ("accumulator_bits = 32", "accumulator_bits = 65"),
     "array.accumulator_bits = 65; allowed: at most 64"),
    ("beyond-64-bits", ("lanes = 8", f"lanes = {10**30}"),
     f"vector.lanes = {10**30}; allowed: at most 1048576"),
    ("nan-voltage", ("voltage_v = 0.65", "voltage_v = nan"),
     "operating_points.0.voltage_v = nan; allowed: a finite number"),
    ("infinite-clock", ("clock_mhz = 75", "clock_mhz = inf"),
     "operating_points.0.clock_mhz = inf; allowed: a finite number"),
    ("unknown-dataflow", ("weight_stationary", "row_stationary"),
     "array.dataflow = 'row_stationary'; allowed: 'weight_stationary', 'output_stationary' or "
     "'input_stationary'"),
    ("unknown-layout", ('layout = "split"', 'layout = "banked"'),
     "scratchpad.layout = 'banked'; allowed: 'unified' or 'split'"),
    ("no-layout", ('layout = "split"\n', ""),
     "scratchpad.layout: missing; allowed: 'unified' or 'split'"),
    ("unknown-vector-function", ("lanes = 8", 'lanes = 8\nfunctions = ["add", "tanh"]'),
     "vector.functions.1 = 'tanh'; allowed: 'add', 'sub', 'mul', 'maximum', 'minimum', 'prelu', "
     "'rescale', 'lookup', 'interpolate', 'sigmoid', 'softmax', 'softmax_float', "
     "'softmax_interpolated', 'softmax_quotient', 'reduce', 'arg_max', 'average_pool', "
     "'average_pool_float', 'max_pool', 'resize_bilinear', 'resize_nearest', 'lstm_cell', "
     "'lstm_hidden', 'clip', 'float_codes' or 'less_zero_point'"),
    ("same-point-twice", ("[energy]", POINT + "[energy]"),
     "operating_points: names ['nominal', 'nominal'] are not all different"),
    ("no-points", (POINT, ""),
     "operating_points: missing; allowed: a table with at least schema_version, name, title, "
     "device_class, array, scratchpad, accumulator, vector, dma, dram, host, operating_points, "
     "energy"),
    ("too-few-accumulators", ("capacity_bytes = 8192", "capacity_bytes = 4"),
     "accumulator.capacity_bytes: 4 holds 1 accumulators of 32 bits, fewer than its 2 buffers"),
    ("source-of-nothing", ("[sources]", '[sources]\nfan = {status="estimated", source="none of it"}'),
     "sources: 'fan' names no number of this device, nor the section of one (such as array.rows or "
     "array)"),
    ("unknown-source-status", ("[sources]", '[sources]\nname = {status="heard", source="somewhere"}'),
     "sources.name.status = 'heard'; allowed: 'published' or 'estimated'"),
    ("later-schema", ("schema_version = 1", "schema_version = 2"),
     "schema_version = 2; allowed: 1"),
]  # fmt: skip

# id, (text in wear.toml, what replaces it), whole message: found when the device meets a model
DEVICES_THAT_CANNOT: list[tuple[str, tuple[str, str], str]] = [
    ("scratchpad-too-small", ("ifmap_bytes = 61440", "ifmap_bytes = 64"),
     NO_FIT.format(0, 131072)),
    ("weights-too-small", ("weight_bytes = 131072", "weight_bytes = 16"),
     NO_FIT.format(61376, 16)),
    ("unknown-energy-table", ("[energy]", '[energy]\ntable = "3nm"'),
     "wear: energy.table: no table called '3nm'; allowed: 12nm, 14nm, 16nm, 22nm, 28nm, 45nm, 5nm, 65nm, "
     "7nm, or the path of a .toml file"),
    ("unknown-dram", ('kind = "flash"', 'kind = "hbm9"'),
     "wear: dram.kind = 'hbm9' is no memory of energy/dram.toml; allowed: ddr3, flash, lpddr3, lpddr4, "
     "lpddr4x, lpddr5, none, pcie, system_sram, usb"),
    ("voltage-outside-the-fit", ("voltage_v = 0.65", "voltage_v = 2.0"),
     "wear, operating point nominal: voltage_v = 2 at 12 nm: outside the range of the energy fit; "
     "allowed: 0.344 to 1.245 V"),
]  # fmt: skip


def _write_device(change: tuple[str, str]) -> None:
    old, new = change
    assert WEAR.count(old) == 1
    Path("my.toml").write_text(WEAR.replace(old, new), encoding="utf-8")


def rows(table: list[tuple[str, tuple[str, str], str]]) -> list[object]:
    return [pytest.param(*row[1:], id=row[0]) for row in table]


@pytest.mark.parametrize(("change", "message"), rows(DEVICE_FILES))
def test_device_file(change: tuple[str, str], message: str, refused: Callable[..., None]) -> None:
    _write_device(change)
    refused(f"my.toml: {message}", "run", "digits", "--device", "my.toml")


@pytest.mark.parametrize(("change", "message"), rows(DEVICES_THAT_CANNOT))
def test_device_that_cannot_run_the_model(
    change: tuple[str, str], message: str, refused: Callable[..., None]
) -> None:
    _write_device(change)
    refused(message, "run", "digits", "--device", "my.toml")


def test_device_file_of_bytes(refused: Callable[..., None]) -> None:
    Path("my.toml").write_bytes(b"\xff\x00")
    message = "my.toml: is not text: 'utf-8' codec can't decode byte 0xff in position 0"
    refused(
        f"{message}: invalid start byte; allowed: UTF-8", "run", "digits", "--device", "my.toml"
    )


X = np.zeros((3, 28, 28, 1), np.uint8)
Y = np.zeros(3, np.int64)
REAL = np.zeros((3, 784), np.float32)
ONE_PER_SAMPLE = "allowed: one integer per sample: shape [3]"

# id, arrays, further arguments, message after the file's name
DATA: list[tuple[str, dict[str, np.ndarray], tuple[str, ...], str]] = [
    ("no-labels", {"x": X}, (), "holds x; allowed: arrays x and y"),
    ("no-arrays", {}, (), "holds nothing; allowed: arrays x and y"),
    ("other-names", {"images": X, "labels": Y}, (),
     "holds images, labels; allowed: arrays x and y"),
    ("empty-set", {"x": X[:0], "y": Y[:0]}, (),
     "x has shape [0, 28, 28, 1]; allowed: (samples, ...), none of them 0"),
    ("one-dimension", {"x": X[:, 0, 0, 0], "y": Y}, (),
     "x has shape [3]; allowed: (samples, ...), none of them 0"),
    ("nan", {"x": REAL + np.nan, "y": Y}, (), "x holds NaN or infinity; allowed: finite numbers"),
    ("infinity", {"x": REAL - np.inf, "y": Y}, (),
     "x holds NaN or infinity; allowed: finite numbers"),
    ("label-too-large", {"x": X, "y": Y + 10}, (),
     "labels 10..10; allowed: 0..9, one per element of output 'probabilities/Softmax'"),
    ("label-below-0", {"x": X, "y": Y - 1}, (),
     "labels -1..-1; allowed: 0..9, one per element of output 'probabilities/Softmax'"),
    ("float-labels", {"x": X, "y": Y / 1}, (), f"y is float64 of shape [3]; {ONE_PER_SAMPLE}"),
    ("one-hot-labels", {"x": X, "y": np.zeros((3, 10), np.int64)}, (),
     f"y is int64 of shape [3, 10]; {ONE_PER_SAMPLE}"),
    ("a-label-too-few", {"x": X, "y": Y[:2]}, (), f"y is int64 of shape [2]; {ONE_PER_SAMPLE}"),
    ("wrong-shape", {"x": np.zeros((3, 32, 32), np.uint8), "y": Y}, (),
     "a sample has shape [32, 32]; allowed: [1, 28, 28, 1], its 784 elements in a row, channels first "
     "or last"),
    ("booleans", {"x": X > 0, "y": Y}, (), "x is bool; allowed: integers or floats"),
    ("texts", {"x": np.full((3, 784), "a"), "y": Y}, (), "x is <U1; allowed: integers or floats"),
    ("objects", {"x": np.array([None] * 3), "y": Y}, (),
     "cannot be read: Object arrays cannot be loaded when allow_pickle=False; allowed: an .npz "
     "file with arrays x and y"),
    ("no-rule", {"x": X.astype(np.int32), "y": Y}, (),
     "no stated rule brings int32 to input 'image' (i8, zero point -128); allowed: an explicit "
     "rule: codes, pixels, unsigned or real"),
    ("codes-out-of-range", {"x": X + 200, "y": Y}, ("--inputs", "codes"),
     "codes 200..200 by the rule 'codes'; allowed: -128..127"),
    ("codes-beyond-64-bits", {"x": X.astype(np.uint64) - 1, "y": Y}, ("--inputs", "codes"),
     f"codes {2**64 - 1}..{2**64 - 1} by the rule 'codes'; allowed: -128..127"),
    ("pixels-out-of-range", {"x": X.astype(np.int16) + 300, "y": Y}, ("--inputs", "pixels"),
     "codes 172..172 by the rule 'pixels'; allowed: -128..127"),
    ("fractions-as-codes", {"x": REAL, "y": Y}, ("--inputs", "codes"),
     "x is float32; allowed: integers for the rule 'codes'"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arrays", "more", "message"), [pytest.param(*row[1:], id=row[0]) for row in DATA]
)
def test_data_set(
    arrays: dict[str, np.ndarray],
    more: tuple[str, ...],
    message: str,
    refused: Callable[..., None],
) -> None:
    with open("my.npz", "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    refused(f"my.npz: {message}", "run", "digits", "--device", "wear", "--data", "my.npz", *more)


def _archive(damage: str) -> bytes:
    file = io.BytesIO()
    np.savez(file, x=X, y=Y)
    content = bytearray(file.getvalue())
    if damage == "cut":
        del content[-30:]
    elif damage == "bit":
        content[400] ^= 1
    elif damage == "single":
        file = io.BytesIO()
        np.save(file, X)
        content = bytearray(file.getvalue())
    elif damage == "no-npy":
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("x.npy", "abc")
            archive.writestr("y", "def")
        content = bytearray(file.getvalue())
    else:
        content = bytearray(damage.encode())
    return bytes(content)


NOT_NPZ = "is not an .npz file; allowed: an .npz file with arrays x and y"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("", NOT_NPZ),
        ("1,2,3", NOT_NPZ),
        ("cut", NOT_NPZ),
        ("single", NOT_NPZ),
        ("bit", "cannot be read: Bad CRC-32 for file 'x.npy'; allowed: an .npz file with arrays "
         "x and y"),
        ("no-npy", "holds x and y, but not as arrays; allowed: arrays x and y"),
    ],
)  # fmt: skip
def test_damaged_data_file(damage: str, message: str, refused: Callable[..., None]) -> None:
    Path("my.npz").write_bytes(_archive(damage))
    refused(f"my.npz: {message}", "run", "digits", "--device", "wear", "--data", "my.npz")


RUN = ("run", "digits", "--device", "wear")
EXPLAIN = ("verify", "digits", "--against", "tflite", "--explain")
PROFILE_NAMES = ", ".join(PROFILES)
OTHER_FILES = (
    f"{model_path('digits')}: onnxruntime does not run .tflite files; allowed: .onnx, or against "
    "profile:onnxruntime"
)
SETS = "allowed: the path of an .npz file with x and y, or one of digits, digits-float"

# id, arguments, whole message
ARGUMENTS: list[tuple[str, tuple[str, ...], str]] = [
    ("no-such-device", ("run", "digits", "--device", "gpu"),
     f"device: no device called 'gpu'; allowed: {DEVICES}, or the path of a .toml file"),
    ("no-such-device-file", ("run", "digits", "--device", "no/gpu.toml"),
     "no/gpu.toml: cannot be read: No such file or directory; allowed: a .toml file"),
    ("device-is-a-folder", ("run", "digits", "--device", "./folder"),
     "folder: cannot be read: Is a directory; allowed: a .toml file"),
    ("no-such-operating-point", (*RUN, "--operating-point", "turbo"),
     "wear: no operating point called 'turbo'; allowed: nominal"),
    ("no-such-data", (*RUN, "--data", "no.npz"), f"no.npz: no such file or data set; {SETS}"),
    ("data-is-a-folder", (*RUN, "--data", "folder"), f"folder: is a folder; {SETS}"),
    ("limit-0", (*RUN, "--data", "digits", "--limit", "0"), "--limit: 0; allowed: at least 1"),
    ("limit-below-0", (*RUN, "--data", "digits", "--limit", "-3"),
     "--limit: -3; allowed: at least 1"),
    ("threads-0", (*RUN, "--data", "digits", "--threads", "0"), "--threads: 0; allowed: at least 1"),
    ("few-accumulator-bits", (*RUN, "--accumulator-bits", "5"),
     "wear: array.accumulator_bits = 5; allowed: at least 8"),
    ("many-accumulator-bits", (*RUN, "--accumulator-bits", "65"),
     "wear: array.accumulator_bits = 65; allowed: at most 64"),
    ("psums-wider-than-accumulators", (*RUN, "--psum-bits", "40"),
     "wear: array.psum_bits: 40 is wider than array.accumulator_bits, 32"),
    ("few-psum-bits", (*RUN, "--psum-bits", "7"), "wear: array.psum_bits = 7; allowed: at least 8"),
    ("many-weight-bits", (*RUN, "--weight-bits", "9"), "weight bits: 9; allowed: 2 to 8"),
    ("resume-of-nothing", (*RUN, "--resume", "run.npz"),
     "--resume: given without --data; allowed: together with --data"),
    ("offset-of-nothing", (*RUN, "--label-offset", "1"),
     "--label-offset: given without --data; allowed: together with --data"),
    ("offset-beyond-the-classes", (*RUN, "--data", "digits", "--label-offset", "1"),
     "digits_test.npz: labels 0..9, with 1 added; allowed: 0..9, one per element of output "
     "'probabilities/Softmax'"),
    ("resume-in-no-folder", (*RUN, "--data", "digits", "--resume", "no/run.npz"),
     "no/run.npz: cannot be written: there is no folder 'no'; allowed: a file in a folder that exists, "
     "or -"),
    ("resume-a-folder", (*RUN, "--data", "digits", "--resume", "folder"),
     "folder: is a folder; allowed: the path of a file to write, or -"),
    ("carry-of-nothing", (*RUN, "--carry-state"),
     "--carry-state: given without --data; allowed: together with --data"),
    ("limit-of-nothing", (*RUN, "--limit", "5"),
     "--limit: 5 without --data; allowed: together with --data"),
    ("unknown-rule", (*RUN, "--data", "digits", "--inputs", "bytes"),
     "--inputs: rule 'bytes'; allowed: auto, codes, pixels, unsigned, real"),
    ("samples-0", ("verify", "digits", "--samples", "0"), "--samples: 0; allowed: at least 1"),
    ("seed-below-0", ("verify", "digits", "--seed", "-1"), "seed: -1; allowed: at least 0"),
    ("unknown-runtime", ("verify", "digits", "--against", "abacus"),
     f"against: 'abacus'; allowed: a runtime ({', '.join(RUNTIMES)}), a profile ({PROFILE_NAMES}), "
     "or rtl with --layer"),
    ("rtl-without-a-layer", ("verify", "digits", "--against", "rtl"),
     "--layer: missing; allowed: together with --against rtl, one layer of the model"),
    ("a-layer-without-rtl", ("verify", "digits", "--layer", "0"),
     "--layer: '0'; allowed: together with --against rtl, one layer of the model"),
    ("rtl-explains-nothing",
     ("verify", "digits", "--against", "rtl", "--layer", "0", "--explain", "0", "0"),
     "--explain: with --against rtl; allowed: with a runtime or a profile"),
    ("unknown-profile-to-verify-against", ("verify", "digits", "--against", "profile:abacus"),
     f"profile: 'abacus'; allowed: {PROFILE_NAMES}"),
    ("a-runtime-of-other-files", ("verify", "digits", "--against", "onnxruntime"), OTHER_FILES),
    ("unknown-profile", (*RUN, "--profile", "float"), f"profile: 'float'; allowed: {PROFILE_NAMES}"),
    ("unknown-profile-of-verify", ("verify", "digits", "--profile", "float"),
     f"profile: 'float'; allowed: {PROFILE_NAMES}"),
    ("unknown-profile-of-compile", ("compile", "digits", "--device", "wear", "--profile", "float"),
     f"profile: 'float'; allowed: {PROFILE_NAMES}"),
    ("sample-of-nothing", ("verify", "digits", "--sample", "3"),
     "--sample: 3 without --explain; allowed: together with --explain"),
    ("sample-below-0", (*EXPLAIN, "0", "0,0,0,0", "--sample", "-1"),
     "sample: -1; allowed: at least 0"),
    ("sample-beyond-the-data", (*EXPLAIN, "0", "0,0,0,0", "--data", "digits", "--sample", "1000"),
     "sample: 1000; allowed: 0..999"),
    ("index-of-words", (*EXPLAIN, "0", "0,a"),
     "--explain: index '0,a'; allowed: numbers with commas: 0,3,2,5"),
    ("index-too-short", (*EXPLAIN, "0", "0,3"),
     "explain: index 0,3 in tensor 'conv1/Relu'; allowed: 0..0,0..27,0..27,0..15"),
    ("no-such-node", (*EXPLAIN, "conv9", "0"),
     "explain: no operator 'conv9' in digits_int8.tflite; allowed: 0..13, or a name that npusim "
     "compile --graph prints"),
    ("unknown-rule-of-verify", ("verify", "digits", "--inputs", "bytes"),
     "--inputs: rule 'bytes'; allowed: auto, codes, pixels, unsigned, real"),
    ("json-in-no-folder", (*RUN, "--json", "no/out.json"),
     "no/out.json: cannot be written: there is no folder 'no'; allowed: a file in a folder that "
     "exists, or -"),
    ("json-is-a-folder", (*RUN, "--json", "folder"),
     "folder: is a folder; allowed: the path of a file to write, or -"),
    ("verify-json-in-no-folder", ("verify", "digits", "--json", "no/out.json"),
     "no/out.json: cannot be written: there is no folder 'no'; allowed: a file in a folder that "
     "exists, or -"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"), [pytest.param(*row[1:], id=row[0]) for row in ARGUMENTS]
)
def test_arguments(
    arguments: tuple[str, ...], message: str, tmp_path: Path, refused: Callable[..., None]
) -> None:
    (tmp_path / "folder").mkdir()
    refused(message, *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "npusim: error: the following arguments are required: command"),
        (("fly",), "npusim: error: argument command: invalid choice: 'fly'"),
        (("run", "digits"), "npusim run: error: the following arguments are required: --device"),
        ((*RUN, "--limit", "x"), "npusim run: error: argument --limit: invalid int value: 'x'"),
        ((*RUN, "--frobnicate"), "npusim: error: unrecognized arguments: --frobnicate"),
    ],
)
def test_usage(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    shown = capsys.readouterr()
    assert stopped.value.code == 2
    assert shown.out == ""
    assert shown.err.startswith("usage: npusim")
    assert shown.err.splitlines()[-1].startswith(message)
