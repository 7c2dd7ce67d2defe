"""Settings of the site. The broker is among them, so that a deployment says it in one place."""

import os
from pathlib import Path

BASE_DIR = Path.cwd()
SECRET_KEY = os.environ.get("SECRET_KEY", "only for trying it by hand")
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "website.urls"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "site.sqlite3"}}
USE_TZ = True
TIME_ZONE = "UTC"  # else the log of a worker is in Chicago's time
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = BASE_DIR / "mails"

# A file of its own: the queue's and the site's transactions are not in each other's way.
XQUEUE_URL = os.environ.get("XQUEUE_URL", f"sqlite:///{BASE_DIR / 'tasks.db'}")
