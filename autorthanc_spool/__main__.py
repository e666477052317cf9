"""`python -m autorthanc_spool`."""

from autorthanc_spool.cli import main

main()
