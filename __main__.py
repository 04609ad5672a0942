"""`python -m planish` is the command `planish`."""

from .cli import main

if __name__ == "__main__":
    main()
