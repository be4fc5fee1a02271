"""`python -m jobs` is `medal`."""

from jobs.cli import main

main()
