"""The client for plain code: ``app.sync``, a twin of the async one, method for method."""
