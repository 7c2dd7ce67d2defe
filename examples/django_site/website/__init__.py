"""A site with Django that has its work done by XQueue."""
