"""`python -m shopset.controller`."""

from shopset.controller import main

main()
