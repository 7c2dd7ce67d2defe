"""The cases, one file per concept."""
