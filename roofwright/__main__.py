"""`python -m roofwright` is `roofwright`."""

from roofwright.tools.cli import main

main()
