"""The documentation as a site: what is generated, what is staged, and whether its links hold."""
