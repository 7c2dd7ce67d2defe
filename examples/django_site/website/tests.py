"""The site's own tests: ``python manage.py test website``. No worker runs, and nobody waits."""

from django.contrib.auth.models import User
from django.core import mail
from django.db import transaction
from django.test import TransactionTestCase

from website.jobs import app, welcome
from xqueue_core import Reject

ANN = {"name": "ann", "email": "ann@example.org"}


class SignUp(TransactionTestCase):
    """What a sign-up submits, and what becomes of it.

    ``TestCase`` would do as well, with ``captureOnCommitCallbacks(execute=True)``: its own
    transaction never commits.
    """

    def test_a_user_who_is_there_is_welcomed(self) -> None:
        with app.testing() as t:
            answer = self.client.post("/sign-up", ANN)
            self.assertEqual(answer.status_code, 202)
            task = answer.json()["task"]
            t.submitted(welcome).once(user_id=answer.json()["user"])
            self.assertEqual(self.client.get(f"/tasks/{task}").json()["state"], "pending")
            t.run_all()
            self.assertEqual([one.to for one in mail.outbox], [["ann@example.org"]])
            found = self.client.get(f"/tasks/{task}").json()
            self.assertEqual((found["state"], found["result"]), ("success", "ann@example.org"))

    def test_a_sign_up_that_is_refused_submits_nothing(self) -> None:
        with app.testing() as t:
            self.client.post("/sign-up", ANN)
            self.assertEqual(self.client.post("/sign-up", ANN).status_code, 409)
            self.assertEqual(self.client.post("/sign-up", {"name": ""}).status_code, 409)
            self.assertEqual(len(t.submitted(welcome)), 1)

    def test_a_transaction_that_is_rolled_back_submits_nothing(self) -> None:
        with app.testing() as t:
            with self.assertRaises(ZeroDivisionError), transaction.atomic():
                self.assertEqual(self.client.post("/sign-up", ANN).status_code, 202)
                t.submitted(welcome).never()
                raise ZeroDivisionError  # whatever goes wrong later in the same transaction
            t.submitted(welcome).never()
            self.assertFalse(User.objects.exists())

    def test_a_user_who_is_gone_fails_the_task_for_good(self) -> None:
        with app.testing() as t:
            self.client.post("/sign-up", ANN)
            User.objects.all().delete()
            with self.assertRaises(Reject):
                t.run_all()

    def test_a_task_that_nobody_knows(self) -> None:
        with app.testing():
            for id in ("welcome:user-0", "nonsense"):
                self.assertEqual(self.client.get(f"/tasks/{id}").status_code, 404)


class Asynchronous(TransactionTestCase):
    """The same through Django's asynchronous side."""

    async def test_sign_up_and_status(self) -> None:
        async with app.testing() as t:
            answer = await self.async_client.post("/sign-up", ANN)
            self.assertEqual(answer.status_code, 202)
            t.submitted(welcome).once(user_id=answer.json()["user"])
            await t.run_all()
            found = await self.async_client.get(f"/tasks/{answer.json()['task']}")
            self.assertEqual(found.json()["result"], "ann@example.org")
