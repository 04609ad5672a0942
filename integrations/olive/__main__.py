"""Print a package configuration with Olive's passes and planish's: `python -m ... > FILE`."""

import json

from .package import package_config

if __name__ == "__main__":
    print(json.dumps(package_config(), indent=4))
