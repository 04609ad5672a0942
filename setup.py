"""The packages of the distribution: the repository root is `planish`, its folders lie inside."""

from setuptools import find_packages, setup

_FLOORS = ("ir", "passes", "backends", "integrations", "tools", "cli")
_INSIDE = find_packages(include=[pattern for floor in _FLOORS for pattern in (floor, f"{floor}.*")])

setup(packages=["planish", *(f"planish.{package}" for package in _INSIDE)])
