"""A device: what a TOML file under ``hwconfigs/devices/`` may say, validated once, then frozen.

Units are in the field names. Every number of a shipped device has an entry under ``[sources]`` that
calls it ``published`` (and where) or ``estimated`` (and how).
"""

from simulator.hwconfig.device import Device, DeviceNumbers, MemoryNumbers, numeric_keys
from simulator.hwconfig.load import (
    device_from_dict,
    device_names,
    json_schema,
    load_device,
    parse_device,
    with_array,
    with_keys,
)
from simulator.hwconfig.sections import (
    ARITHMETIC,
    DATAFLOWS,
    FLOAT_FUNCTIONS,
    FUNCTIONS,
    HOST_FUNCTIONS,
    OVERLAPS,
    VECTOR_FUNCTIONS,
    Accumulator,
    Array,
    Dataflow,
    Dma,
    Dram,
    Energy,
    Host,
    OperatingPoint,
    Power,
    Published,
    SplitScratchpad,
    UnifiedScratchpad,
    Vector,
    VectorFunction,
)

__all__ = [
    "ARITHMETIC", "DATAFLOWS", "FLOAT_FUNCTIONS", "FUNCTIONS", "HOST_FUNCTIONS", "OVERLAPS",
    "VECTOR_FUNCTIONS", "Accumulator", "Array", "Dataflow", "Device", "DeviceNumbers", "Dma", "Dram",
    "Energy", "Host",
    "MemoryNumbers", "OperatingPoint", "Power", "Published", "SplitScratchpad", "UnifiedScratchpad",
    "Vector", "VectorFunction", "device_from_dict", "device_names", "json_schema", "load_device",
    "numeric_keys", "parse_device", "with_array", "with_keys",
]  # fmt: skip
