"""Views, with and without ``await``."""

from functools import partial

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from website.jobs import app, welcome
from xqueue_core import InvalidTask, ResultExpired, State


@csrf_exempt
@require_POST
def sign_up(request: HttpRequest) -> JsonResponse:
    """Make a user, and have a mail sent: but only once the user is really there."""
    name, email = request.POST.get("name", ""), request.POST.get("email", "")
    try:
        with transaction.atomic():
            user = User.objects.create_user(name, email)
            # An id of our own: to submit it again, say after an outage, is safe.
            submit = welcome.sync.options(id=f"user-{user.pk}").submit
            transaction.on_commit(partial(submit, user.pk))
    except (IntegrityError, ValueError) as error:
        return JsonResponse({"error": str(error)}, status=409)
    return JsonResponse({"user": user.pk, "task": f"welcome:user-{user.pk}"}, status=202)


async def status(request: HttpRequest, id: str) -> JsonResponse:
    """How a task stands. An async view awaits the app itself, not ``app.sync``."""
    try:
        handle = app.handle(id)
        info = await handle.info()
        result = await handle.result() if info.state is State.SUCCESS else None
    except (InvalidTask, ResultExpired):
        return JsonResponse({"error": f"no task {id}"}, status=404)
    return JsonResponse({"id": info.id, "state": info.state, "result": result})
