"""A web service with FastAPI that has its work done by XQueue."""
