"""``python -m poolscope``: the command line."""

from poolscope.cli import main

main()
