"""The line below the chosen volume says how it was understood; the tool tip has all details."""

from typing import Any

import fakes

from FewShotSAMLib.workflow import PaintedSlice


def test_what_was_understood_is_told_without_a_change_of_width(panel: Any, ct: Any) -> None:
    panel.ui.volumeSelector.setCurrentNodeID("")
    panel.wait(24)
    label, width = panel.ui.factsLabel, panel.root.minimumSizeHint.width()
    assert label.text == "" and label.toolTip == ""
    panel.ui.volumeSelector.setCurrentNodeID(ct.volume.GetID())
    panel.waitForFacts()
    assert label.text.startswith("\N{INFORMATION SOURCE}")
    assert label.text.endswith("CT, 20 x 30 x 40, 1 x 1 x 3 mm, window -150..250 (abdomen)")
    for text in ("CT abdomen", "looks like CT", "-150 to 250", "liver, no painted slices", "1 x 1 x 3 mm"):
        assert text in label.toolTip
    panel.go(axis=0, painted=fakes.painted(10, 20))
    panel.wait(24)
    assert "liver, 2 painted slices: 10, 20" in label.toolTip and "Warning" not in label.toolTip
    odd = PaintedSlice(15, ("s1",), unknown_ids=("s2",), odd_ids=("s1",))
    panel.go(painted=(*fakes.painted(10), odd, *fakes.painted(20)))
    panel.wait(24)
    for text in ("“liver” is much smaller on slice 15", "is not painted on slice 15, where others are"):
        assert text in label.toolTip
    assert label.text.startswith("\N{WARNING SIGN}"), "a tool tip is seen by nobody who has no reason to look"
    panel.go(painted=fakes.painted(*range(20)))
    panel.wait(24)
    assert "Every slice from 0 to 19 is painted" in label.toolTip
    assert panel.root.minimumSizeHint.width() == width
