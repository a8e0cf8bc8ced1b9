"""`python -m shopset.cli` is shopctl."""

from shopset.cli import main

main()
