"""Inside 3D Slicer: the module is found, opens, reloads, and starts its background process."""

from __future__ import annotations

import sys

import slicer
from self_test import MODULE, SelfTestCase

HEAVY = ("torch", "torchvision", "h5py", "safetensors", "segment_anything", "sklearn")


def activeShortcuts() -> list[str]:
    """Return the key sequences that are active in the main window now."""
    shortcuts = slicer.util.findChildren(className="QShortcut")  # QWidget.findChildren does not work in PythonQt
    return sorted(shortcut.key.toString() for shortcut in shortcuts if shortcut.enabled)


class FewShotSAMModuleTest(SelfTestCase):
    """Discovery, packaging, panel, shortcuts, reload, sample data and start of the background process."""

    def test_slicer_lists_the_module(self) -> None:
        module = slicer.util.getModule(MODULE)
        self.assertEqual(list(module.categories), ["Segmentation"])
        self.assertFalse(module.icon.isNull())
        self.assertFalse(module.hidden)

    def test_opening_the_panel_loads_nothing_heavy(self) -> None:
        self.assertEqual([name for name in HEAVY if name in sys.modules], [])

    def test_package_and_bundled_model_are_installed(self) -> None:
        from FewShotSAMLib.core.resources import resource_path

        for name in ("Models/tiny.safetensors", "encoders.json", "requirements.txt"):
            self.assertTrue(resource_path(*name.split("/")).is_file())

    def test_segment_editor_is_embedded_with_its_effects(self) -> None:
        for name in ("Paint", "Erase", "Draw", "Threshold"):
            self.assertIsNotNone(self.editor.effectByName(name), name)
        # The module Segment Editor keeps its own state.
        own = self.editor.mrmlSegmentEditorNode()
        others = slicer.mrmlScene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
        self.assertIsNotNone(own)
        self.assertIsNot(own, others)

    def test_buttons_say_why_they_cannot_be_pressed(self) -> None:
        self.assertFalse(self.ui.propagateButton.enabled)
        self.assertTrue(self.ui.propagateButton.toolTip)
        self.assertFalse(self.ui.applyButton.enabled or self.ui.discardButton.enabled)

    def test_segmentation_is_created_for_a_volume(self) -> None:
        self.loadPhantom(paint=False)
        slicer.mrmlScene.RemoveNode(self.segmentation)
        self.chooseVolume()

    def test_shortcuts_act_while_the_module_is_open_only(self) -> None:
        opened = activeShortcuts()
        slicer.util.selectModule("Welcome")
        closed = activeShortcuts()
        self.assertGreater(len(opened), len(closed))
        slicer.util.selectModule(MODULE)
        self.assertEqual(activeShortcuts(), opened)

    def test_reload_gives_a_working_panel(self) -> None:
        before = activeShortcuts()
        widget, session = self.widget, self.session
        self.widget.onReload()  # as the developer's Reload button does, after which the module is not entered again
        self.useWidget()
        self.assertIsNot(self.widget, widget)
        self.assertIsNot(self.session, session)
        self.assertEqual(activeShortcuts(), before)
        self.letRun(0.2)  # until pending deletions are done
        panels = [child for child in self.widget.parent.children() if child.name == MODULE]
        self.assertEqual(len(panels), 1, "the old panel is still there")
        self.loadPhantom()
        slicer.util.selectModule("Welcome")
        self.assertLess(len(activeShortcuts()), len(before))

    def test_texts_are_given_to_slicers_translation(self) -> None:
        from slicer import i18n

        from FewShotSAMLib.widgets import dependencies, translation

        self.assertIs(translation._, i18n.tr)
        self.assertEqual(i18n.getContext(dependencies.__file__), "widgets.dependencies")

    def test_sample_volumes_are_offered_with_checksums(self) -> None:
        sources = slicer.modules.sampleDataSources[MODULE]
        self.assertGreaterEqual(len(sources), 1)
        for source in sources:
            self.assertTrue(all(checksum.startswith("SHA256:") for checksum in source.checksums))

    def test_background_process_starts_in_slicers_python_and_ends(self) -> None:
        self.needEngine()
        from FewShotSAMLib.widgets.python import createWorkerClient

        client = createWorkerClient()
        client.start()
        self.addCleanup(client.close)
        self.waitFor(lambda: "ready" in [event["type"] for event in client.poll(timeout_s=0.5)], "the start", 60)
        client.close()
        self.assertFalse(client.running)

    def test_nothing_is_installed_while_slicer_tests_itself(self) -> None:
        from FewShotSAMLib.widgets.dependencies import Dependencies

        dependencies = Dependencies()
        if not dependencies.missing():
            self.skipTest("all packages are there")
        self.assertTrue(dependencies.status())
        self.assertFalse(dependencies.install())
