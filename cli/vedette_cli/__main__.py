"""`python -m vedette_cli` is `vedette`."""

from vedette_cli.main import main

main()
