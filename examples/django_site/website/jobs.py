"""The tasks of the site, for its views and for its workers."""

from django.conf import settings
from django.core.mail import send_mail
from django.db import close_old_connections

from xqueue_core import Reject, XQueue

app = XQueue(settings.XQUEUE_URL)


@app.task(max_retry=5, process_timeout=30)
def welcome(user_id: int) -> str:
    """A plain function: it runs in a thread of the worker, where the ORM may be used."""
    from django.contrib.auth.models import User

    # Django does this around a request; a task must do it itself.
    close_old_connections()
    try:
        user = User.objects.filter(pk=user_id).first()
        if user is None:
            raise Reject(f"there is no user {user_id} any more")
        send_mail("Welcome", f"Hello {user.username}!", "site@example.org", [user.email])
        return user.email
    finally:
        close_old_connections()
