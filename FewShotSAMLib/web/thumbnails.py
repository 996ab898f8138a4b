"""Thumbnails of painted slices, made again when the painting may have changed."""

from __future__ import annotations

import time

from FewShotSAMLib.core.errors import FewShotSAMError
from FewShotSAMLib.web.pictures import png_uri
from FewShotSAMLib.workflow import Session

LONGEST = 96
QUIET_S = 0.35
"""How long painting must have paused before they are made again."""


class Thumbnails:
    """Pictures by slice index. Each is made when it is first requested; after a change all are made again."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._pictures: dict[int, str] = {}
        self._stale_at: float | None = None

    def forget(self) -> None:
        """Discard all thumbnails."""
        self._pictures, self._stale_at = {}, None

    def look_soon(self) -> None:
        """Have the thumbnails made again soon, as the segmentation has changed."""
        self._stale_at = time.monotonic() + QUIET_S

    def poll(self) -> bool:
        """Whether it is time to show new ones; the old ones are discarded then."""
        if self._stale_at is None or time.monotonic() < self._stale_at:
            return False
        self.forget()
        return True

    def picture(self, index: int) -> str:
        """The address of a slice's thumbnail; "" if it cannot be made now."""
        if index not in self._pictures:
            try:
                self._pictures[index] = png_uri(self._session.thumbnail(index, LONGEST))
            except FewShotSAMError:  # the session reports it; the list is of use without a picture, too
                return ""
        return self._pictures[index]
