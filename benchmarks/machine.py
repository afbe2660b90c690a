"""What a measurement was made on. To import it has the processes that follow keep compiled modules, as Python does by default."""

import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

# Where a machine forbids it, every start compiles all modules anew, which users meet at their first start only.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def facts() -> dict[str, str | int | float]:
    """Return the processor, the cores that this process may use, how busy they are, the GPU, and the versions of what computes.

    With a load average above the number of cores, times are longer than on an idle machine.
    """
    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0,
        "load_average": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else -1.0,
        "gpu": _gpu(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        **{package: version(package) for package in ("framehook", "av", "numpy", "opencv-python-headless", "torch")},
    }


def _gpu() -> str:
    """Return the names of the GPUs. torch knows them, too, but must not be loaded before framehook has told it how to wait."""
    ask = shutil.which("nvidia-smi")
    if ask is None:
        return "none"
    told = subprocess.run([ask, "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, check=False)
    return ", ".join(told.stdout.splitlines()) if told.returncode == 0 else "none"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
