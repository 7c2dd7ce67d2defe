"""The commands: a module for each, imported when it is used."""
