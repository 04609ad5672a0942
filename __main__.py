"""`python -m planish` is the command `planish`."""

from .cli.main import main

if __name__ == "__main__":
    main()
