"""Everything around the panel that a test replaces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from FewShotSAMLib.widgets.dialogs import Dialogs
from FewShotSAMLib.widgets.parameters import SceneParameters
from FewShotSAMLib.widgets.settings_store import SettingsStore
from FewShotSAMLib.widgets.views import SliceViews

if TYPE_CHECKING:
    from FewShotSAMLib.workflow.scene import Scene
    from FewShotSAMLib.workflow.session import Session


class Dependencies(Protocol):
    """What must be installed for the background process."""

    def status(self) -> str:
        """What is missing and the next step, in one line; "" when all is there."""

    def install(self) -> None:
        """Install it, with the user's consent."""


@dataclass
class Services:
    """One panel's session and its ways to the application."""

    session: Session
    scene: Scene
    views: SliceViews
    parameters: SceneParameters
    store: SettingsStore
    dialogs: Dialogs
    dependencies: Dependencies


def makeServices(saveUndoState: Callable[[], None]) -> Services:
    """The real ones. saveUndoState: the Segment Editor's own, so that its Undo takes results back."""
    from FewShotSAMLib.mrml import MRMLScene
    from FewShotSAMLib.widgets.dependencies import Dependencies as InstalledDependencies
    from FewShotSAMLib.workflow.session import Session

    store = SettingsStore()
    scene = MRMLScene(saveUndoState)
    return Services(
        session=Session(scene, settings=store.load()),
        scene=scene,
        views=SliceViews(),
        parameters=SceneParameters(),
        store=store,
        dialogs=Dialogs(),
        dependencies=InstalledDependencies(),
    )
