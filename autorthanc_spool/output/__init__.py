"""Everything below the output: NAME.WORKING, and how it becomes NAME."""
