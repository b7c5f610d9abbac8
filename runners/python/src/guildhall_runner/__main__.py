"""`python -m guildhall_runner`."""

from guildhall_runner.cli import main

if __name__ == "__main__":
    main()
