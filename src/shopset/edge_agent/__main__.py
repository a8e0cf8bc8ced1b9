"""`python -m shopset.edge_agent`."""

from shopset.edge_agent import main

main()
