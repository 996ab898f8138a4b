"""Propagates from a script, without the panel: one call, one result, errors raised as exceptions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol

import slicer

from FewShotSAMLib.core.errors import BadInputError, CancelledError, FewShotSAMError
from FewShotSAMLib.mrml.editor import SegmentEditor
from FewShotSAMLib.mrml.mrml_scene import MRMLScene
from FewShotSAMLib.workflow import INFO, WARNING, Message, ModelLibrary, Progress, Review, Session, Settings, State
from FewShotSAMLib.workflow.message import message_of_bug
from FewShotSAMLib.workflow.model_library import read_entry
from FewShotSAMLib.workflow.scene import Target, export_all

_PAUSE_S = 0.01
_CLOSED = ("The run was cancelled because FewShotSAM was closed.", "Nothing was changed; propagate again.")
_BUSY = ("A run is under way.", "Wait until it ends, or call cancel() first.")


@dataclass(frozen=True)
class Result:
    """A run's result. segmentation: the node that holds it. review: confidence and next slices; None after `apply`.

    warnings: those that the panel would have shown, each with text and hint.
    """

    segmentation: slicer.vtkMRMLSegmentationNode
    review: Review | None
    warnings: tuple[Message, ...]


OnProgress = Callable[[Progress], None]
OnFinished = Callable[[Result | None, FewShotSAMError | None], None]


class Timer(Protocol):
    """Calls a function repeatedly from the application's event loop."""

    def start(self) -> None:
        """Start calling."""

    def stop(self) -> None:
        """Stop calling."""


@dataclass(frozen=True)
class Application:
    """What scripting needs of the application.

    makeSession(scene): a session whose process is not started; may raise FewShotSAMError. processEvents: keeps the
    application responsive while a call blocks. makeTimer(tick, failed): for calls that do not block; an exception in a
    tick is passed to `failed`. findEditors: all Segment Editor widgets.
    """

    makeSession: Callable[[MRMLScene], Session]
    processEvents: Callable[[], None]
    makeTimer: Callable[[Callable[[], None], Callable[[Exception], None]], Timer]
    findEditors: Callable[[], Sequence[SegmentEditor]]


class _EditorInUse:
    """The Segment Editor that has the run's segmentation selected: its masking applies, and its Undo undoes the run."""

    def __init__(self, findEditors: Callable[[], Sequence[SegmentEditor]]) -> None:
        self._findEditors = findEditors
        self.segmentation: slicer.vtkMRMLSegmentationNode | None = None

    def mrmlSegmentEditorNode(self) -> slicer.vtkMRMLSegmentEditorNode | None:
        widget = self._widget()
        return None if widget is None else widget.mrmlSegmentEditorNode()

    def saveStateForUndo(self) -> None:
        if (widget := self._widget()) is not None:
            widget.saveStateForUndo()

    def undo(self) -> None:
        if (widget := self._widget()) is not None:
            widget.undo()

    def _widget(self) -> SegmentEditor | None:
        for widget in self._findEditors():
            node = widget.mrmlSegmentEditorNode()
            if node is not None and node.GetSegmentationNode() is self.segmentation is not None:
                return widget
        return None


class Scripting:
    """A session separate from the panel's, with a background process that starts with the first run.

    One run at a time; `close` ends the process and deletes its files, and the next run starts another.
    """

    def __init__(self, application: Application, scene: slicer.vtkMRMLScene | None = None) -> None:
        self._application = application
        self._editor = _EditorInUse(application.findEditors)
        self._nodes = scene if scene is not None else slicer.mrmlScene
        self._scene = MRMLScene(self._nodes, self._editor)
        self._session: Session | None = None
        self._steps: Iterator[Result | None] | None = None
        self._timer: Timer | None = None
        self._said: list[Message] = []
        self._onProgress: OnProgress | None = None
        self._mistake: Exception | None = None

    @property
    def isRunning(self) -> bool:
        """Whether `cancel` would have something to stop."""
        return self._steps is not None

    def propagate(
        self,
        volume: slicer.vtkMRMLVolumeNode,
        segmentation: slicer.vtkMRMLSegmentationNode,
        emptySlices: Sequence[int] = (),
        emptyOf: Mapping[str, Sequence[int]] | None = None,
        axis: int | None = None,
        sliceRange: tuple[int, int] | None = None,
        asNewSegmentation: bool = False,
        models: Sequence[str | Path] = (),
        onProgress: OnProgress | None = None,
        onFinished: OnFinished | None = None,
        **options: Any,
    ) -> Result | None:
        """Learn from the painted slices and segment the others; see `FewShotSAMLogic.propagate`."""
        settings = _settings(options)
        target = Target(_idOf(volume, "volume"), _idOf(segmentation, "segmentation"))
        empty: dict[str | None, Sequence[int]] = {None: emptySlices}
        empty.update((emptyOf or {}).items())
        steps = self._propagating(target, empty, axis, sliceRange, asNewSegmentation, [*map(Path, models)])
        return self._run(steps, settings, segmentation, onProgress, onFinished)

    def applyModel(
        self,
        modelPath: str | Path,
        volume: slicer.vtkMRMLVolumeNode,
        onProgress: OnProgress | None = None,
        onFinished: OnFinished | None = None,
        **options: Any,
    ) -> Result | None:
        """Segment a volume with a few-shot model; see `FewShotSAMLogic.applyModel`."""
        settings = _settings(options)
        steps = self._applying(Path(modelPath), _idOf(volume, "volume"))
        return self._run(steps, settings, None, onProgress, onFinished)

    def saveModel(self, path: str | Path) -> None:
        """Write what the last `propagate` learned to a file, replacing it. Raises BadInputError."""
        learned = None if self._session is None else self._session.learned_model
        if learned is None:
            raise BadInputError("There is no few-shot model yet.", "Call propagate() first.")
        path = Path(path)
        ModelLibrary(path.parent).copy_to(read_entry(learned), path)

    def export(
        self, volume: slicer.vtkMRMLVolumeNode, segmentation: slicer.vtkMRMLSegmentationNode, path: str | Path
    ) -> list[str]:
        """Write all segments on the volume's full geometry; returns warnings. Raises BadInputError."""
        target = Target(_idOf(volume, "volume"), _idOf(segmentation, "segmentation"))
        return export_all(self._scene, target, Path(path))

    def undo(self) -> None:
        """Undo what the last `propagate` wrote."""
        self._scene.undo()

    def cancel(self) -> None:
        """Stop the run; it ends with CancelledError, within a second or little more."""
        if self._session is not None and self.isRunning:
            self._session.cancel()

    def close(self) -> None:
        """End the background process and delete its files; a run under way ends with CancelledError."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _run(
        self,
        steps: Iterator[Result | None],
        settings: Settings,
        segmentation: slicer.vtkMRMLSegmentationNode | None,
        onProgress: OnProgress | None,
        onFinished: OnFinished | None,
    ) -> Result | None:
        """Run the steps: now, keeping the application responsive, or from a timer if there is an `onFinished`."""
        if self.isRunning:
            raise BadInputError(*_BUSY)
        self._openSession().settings = settings
        self._editor.segmentation, self._onProgress, self._said, self._mistake = segmentation, onProgress, [], None
        self._steps = steps
        if onFinished is None:
            return self._block(steps)
        self._timer = self._application.makeTimer(
            lambda: self._tick(steps, onFinished), lambda error: self._fail(error, onFinished)
        )
        self._timer.start()
        return None

    def _block(self, steps: Iterator[Result | None]) -> Result:
        try:
            while (result := next(steps)) is None:
                self._application.processEvents()
            return result
        finally:
            self._end()

    def _tick(self, steps: Iterator[Result | None], onFinished: OnFinished) -> None:
        try:
            result, error = next(steps), None
        except FewShotSAMError as raised:
            result, error = None, raised
        if result is not None or error is not None:
            self._end()
            onFinished(result, error)

    def _fail(self, error: Exception, onFinished: OnFinished) -> None:
        """Pass an unexpected error of a tick, which stopped the timer, to `onFinished`, unless that itself failed."""
        if self.isRunning:
            self._end()
            message, _ = message_of_bug(error)
            failure = FewShotSAMError(message.text, message.hint)
            failure.__cause__ = error
            onFinished(None, failure)

    def _end(self) -> None:
        timer, self._timer, self._steps = self._timer, None, None
        if timer is not None:
            timer.stop()
        session = self._session
        if session is not None:
            session.discard()
            session.set_inputs(None, None)  # nothing of ours should watch the scene between two runs
        while session is not None and session.is_busy:  # a model was being applied; stopping takes a second or two
            session.cancel()
            session.poll()
            time.sleep(_PAUSE_S)

    def _openSession(self) -> Session:
        if self._session is None:
            self._session = self._application.makeSession(self._scene)
            self._session.said.connect(self._onSaid)
            self._session.progressed.connect(self._onProgressed)
        return self._session

    def _onSaid(self, message: Message) -> None:
        self._said.append(message)

    def _onProgressed(self, progress: Progress) -> None:
        try:
            if self._onProgress is not None:
                self._onProgress(progress)
        except Exception as error:  # noqa: BLE001 - to be raised in the caller's code, not in the session
            self._mistake = error

    def _propagating(
        self,
        target: Target,
        empty: Mapping[str | None, Sequence[int]],
        axis: int | None,
        sliceRange: tuple[int, int] | None,
        asNewSegmentation: bool,
        models: Sequence[Path],
    ) -> Iterator[Result | None]:
        """The steps of a propagation: None for each, then the result. Raises FewShotSAMError."""
        session = self._openSession()
        session.set_inputs(target.volume, target.segmentation)
        if axis is not None:
            session.set_axis(_checkedAxis(axis))
        session.look_now()
        for segment, indices in empty.items():
            self._declareEmpty(session, target, indices, segment)
        session.range, session.earlier_files = sliceRange, tuple(read_entry(each).path for each in models)
        if reason := session.why_not():
            raise BadInputError(reason)
        session.propagate(whole=True)
        yield from self._wait(session)
        if session.state is not State.PREVIEW:
            raise self._failure()
        review, node = session.review, self._nodes.GetNodeByID(target.segmentation)
        if asNewSegmentation:
            node = self._nodes.GetNodeByID(session.keep(f"{node.GetName()} propagated"))
        else:
            session.apply()
            if session.state is State.PREVIEW:
                raise self._failure()
        yield Result(node, review, self._warnings())

    def _applying(self, path: Path, volumeId: str) -> Iterator[Result | None]:
        """The steps of applying a model, as above."""
        session = self._openSession()
        session.apply_model(read_entry(path), [volumeId])
        yield from self._wait(session)
        if session.applied is None or not session.applied.results:
            raise self._failure()
        yield Result(self._nodes.GetNodeByID(session.applied.results[0]), None, self._warnings())

    def _wait(self, session: Session) -> Iterator[None]:
        while self._mistake is None and session.is_busy:
            if not session.wait(_PAUSE_S) and self._timer is None:
                time.sleep(_PAUSE_S)
            session.poll()
            yield None
            if self._session is not session:
                raise CancelledError(*_CLOSED)
        if self._mistake is not None:
            raise self._mistake

    def _declareEmpty(self, session: Session, target: Target, indices: Sequence[int], segment: str | None) -> None:
        """Declare slices without any of the segments, or without the one with this name or id."""
        if not indices:
            return
        if session.axis is None:
            raise BadInputError("Nothing is painted, so there is no axis to count empty slices along.", "Paint first.")
        count = self._scene.volume(target.volume).geometry.shape[session.axis]
        for index in indices:
            if not 0 <= index < count:
                hint = f"Slices along axis {session.axis} are numbered from 0 to {count - 1}."
                raise BadInputError(f"There is no slice {index}.", hint)
            for segmentId in [None] if segment is None else self._idsOf(target, segment):
                session.set_empty(int(index), True, segmentId)

    def _idsOf(self, target: Target, segment: str) -> list[str]:
        known = self._scene.segments(target)
        found = [each.id for each in known if segment in (each.id, each.name)]
        if not found:
            names = ", ".join(each.name for each in known)
            raise BadInputError(f"There is no segment “{segment}” to declare absent.", f"Choose one of: {names}.")
        return found

    def _failure(self) -> FewShotSAMError:
        """Why there is no result: the last message."""
        last = self._said[-1]
        if last.level == INFO:
            return CancelledError(last.text, last.hint)
        return FewShotSAMError(last.text, f"{last.hint} Log: {last.log}" if last.log else last.hint)

    def _warnings(self) -> tuple[Message, ...]:
        return tuple(message for message in self._said if message.level == WARNING)


def _idOf(node: Any, kind: str) -> str:
    wanted = {"volume": slicer.vtkMRMLVolumeNode, "segmentation": slicer.vtkMRMLSegmentationNode}[kind]
    if not isinstance(node, wanted):
        raise BadInputError(f"{node!r} is not a {kind} node.", f"Pass a {wanted.__name__} of the scene.")
    return str(node.GetID())


def _checkedAxis(axis: int) -> int:
    if axis not in (0, 1, 2):
        raise BadInputError(f"There is no axis {axis!r}.", "Pass 0, 1 or 2 (axes k, j, i), or None to detect it.")
    return int(axis)


def _settings(options: dict[str, Any]) -> Settings:
    known = [field.name for field in fields(Settings)]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise BadInputError(f"There is no option {', '.join(unknown)}.", f"Known options: {', '.join(known)}.")
    return replace(Settings(), **options)
