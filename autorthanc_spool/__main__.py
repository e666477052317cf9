"""`python -m autorthanc_spool`."""

from autorthanc_spool.commands.main import main

main()
