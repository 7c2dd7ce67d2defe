"""``t.submitted()`` by the name of a type."""

from __future__ import annotations

import pytest

from support.rehearsed import an_app
from xqueue_core import UnknownType


def test_a_name_that_no_type_has_is_refused() -> None:
    app = an_app()

    @app.task
    async def remind(user_id: int) -> None: ...

    with app.testing() as t:
        assert t.submitted("remind") == []
        with pytest.raises(UnknownType, match="'remnd'; did you mean 'remind'"):
            t.submitted("remnd")
        remind.sync.submit(1)
        t.submitted("remind").once(user_id=1)
