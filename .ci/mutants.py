"""Which changes of a file no test notices: `make mutants FILES="ir/ops/linear/kernel.py"`.

mutmut names a function by the path of its file, and the repository root is the package: so it runs
in a folder that holds a copy of the repository as `planish`. What it is told stands in
pyproject.toml; the tests are those of the room that the file lies in, or `--tests`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".mutants"
_MUTMUT = [sys.executable, "-m", "mutmut"]


def tests_of(file: str) -> list[str]:
    """Return the test file of a module, or the nearest folder of tests of its room."""
    path = Path(file)
    own = Path("tests") / path.parent / f"test_{path.name}"
    if (ROOT / own).exists():
        return [str(own)]
    folder = Path("tests") / path.parent
    while not (ROOT / folder).is_dir():
        folder = folder.parent
    return [str(folder)]


def prepare(files: list[str], tests: list[str]) -> None:
    """Copy the repository and write mutmut's settings."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (FOLDER / "planish" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, FOLDER / "planish" / name)
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]
    settings |= {
        "source_paths": ["planish"],
        "only_mutate": [f"planish/{file}" for file in files],
        "pytest_add_cli_args_test_selection": [f"planish/{test}" for test in tests],
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    (FOLDER / "pyproject.toml").write_text("\n".join(["[tool.mutmut]", *lines, ""]))


def main() -> int:
    """Run, and print the survivors with what was changed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--tests", nargs="*")
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    tests = given.tests or sorted({test for file in given.files for test in tests_of(file)})
    prepare(given.files, tests)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": "", "PLANISH_MUTANTS": "1"}
    run = [*_MUTMUT, "run", "--max-children", str(given.processes)]
    subprocess.run(run, cwd=FOLDER, env=environment, check=True)
    listed = subprocess.run(
        [*_MUTMUT, "results"], cwd=FOLDER, env=environment, capture_output=True, text=True
    ).stdout
    survivors = [line.split(":")[0].strip() for line in listed.splitlines() if ": " in line]
    for name in survivors:
        subprocess.run([*_MUTMUT, "show", name], cwd=FOLDER, env=environment)
    print(f"{len(survivors)} survivors")
    return 0


if __name__ == "__main__":
    sys.exit(main())
