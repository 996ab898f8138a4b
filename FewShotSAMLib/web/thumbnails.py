"""Thumbnails of painted slices, made again when what is painted there may have changed."""

from __future__ import annotations

import time

from FewShotSAMLib.core.errors import FewShotSAMError
from FewShotSAMLib.web.pictures import png_uri
from FewShotSAMLib.workflow import Session

LONGEST = 96
QUIET_S = 0.35
"""They wait until painting has paused for so long."""


class Thumbnails:
    """Pictures by slice. Each is made when it is first asked for, and all again after a change."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._pictures: dict[int, str] = {}
        self._stale_at: float | None = None

    def forget(self) -> None:
        """Another volume: nothing is known."""
        self._pictures, self._stale_at = {}, None

    def look_soon(self) -> None:
        """The segmentation changed."""
        self._stale_at = time.monotonic() + QUIET_S

    def poll(self) -> bool:
        """Whether it is time to show them again."""
        if self._stale_at is None or time.monotonic() < self._stale_at:
            return False
        self.forget()
        return True

    def picture(self, index: int) -> str:
        """The address of a slice's picture; "" where it cannot be made now."""
        if index not in self._pictures:
            try:
                self._pictures[index] = png_uri(self._session.thumbnail(index, LONGEST))
            except FewShotSAMError:  # the session says what is wrong; a list without a picture is still a list
                return ""
        return self._pictures[index]
