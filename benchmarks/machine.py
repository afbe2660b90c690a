"""What a measurement was made on. To import it has the processes that follow keep compiled modules, as Python does by default."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

# Where a machine forbids it, every start compiles all modules anew, which users meet at their first start only.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def facts() -> dict[str, str | int | float]:
    """Return the processor, the cores that this process may use, how busy they are, and the versions of what computes.

    With a load average above the number of cores, times are longer than on an idle machine.
    """
    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0,
        "load_average": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else -1.0,
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        **{package: version(package) for package in ("framehook", "av", "numpy", "opencv-python-headless", "torch")},
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
