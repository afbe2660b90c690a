"""`python -m framehook_cli`: the command line, where no script is on the path."""

from framehook_cli.main import main

main()
