"""What a worker loads: ``xqueue worker website.worker:app``. Django must be set up first."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "website.settings")
django.setup()

from website.jobs import app  # noqa: E402 - only now it can be imported

__all__ = ["app"]
