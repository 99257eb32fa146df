"""Libraries beneath report to their makers unless they are told not to; here they are told."""

import os

SWITCHES = {
    "DO_NOT_TRACK": "1",  # Daft, huggingface_hub, and whoever else keeps to it
    "DAFT_ANALYTICS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime; its function comes after the first report
    "RAY_USAGE_STATS_ENABLED": "0",
}


def switch_off() -> None:
    """Set what these libraries read when they are imported; what the user has set stays.

    So it comes before their import, and holds in processes that this one starts.
    """
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)
