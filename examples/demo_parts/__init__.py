"""What ``examples/demo.py`` is made of, apart from the application itself."""
