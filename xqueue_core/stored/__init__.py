"""A whole backend built over two small interfaces, ``Records`` and ``Bell``."""
