"""Packages that only some of planish needs, and what installs them."""

from __future__ import annotations

import importlib.metadata

# By the module that is imported; others are installed under their own name.
_EXTRAS = {
    "pyarrow": "sweep",
    "ray": "ray",
    "scipy": "search",
    "torch": "torch",
    "onnxscript": "torch",
    "onnx_ir": "torch",
    "onnxoptimizer": "peers",
    "onnxsim": "peers",
    "olive": "olive",
    "PIL": "images",
    "accelerate": "train",
    "tvm": "tvm",
    "platformdirs": "tvm",
    "ncnn": "ncnn",
    "openvino": "openvino",
    "jinja2": "report",
    "matplotlib": "plots",
    "mlperf_loadgen": "mlperf",
}


def installed_version(package: str) -> str | None:
    """Return the version of an installed distribution, None where there is none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def missing_package(error: BaseException) -> str | None:
    """Say what to install where `error` is that a package is missing; None where it is not."""
    package = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
    if not isinstance(error, ModuleNotFoundError) or package in ("", "planish"):
        return None
    extra = _EXTRAS.get(package)
    return (
        f"this needs the package '{package}', which is not installed; install it with: "
        f"pip install {package if extra is None else f'planish[{extra}]'}"
    )
