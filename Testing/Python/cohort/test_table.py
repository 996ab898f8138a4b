"""What the table says, in which order, and what it must not say."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

from FewShotSAMLib.cohort.page import write_page
from FewShotSAMLib.cohort.table import entry_of, ranked, write_table
from FewShotSAMLib.core.contributions import ADDED_NOTHING, NOT_USED
from FewShotSAMLib.core.errors import BadInputError


def test_rows_to_look_at_first_stand_on_top(report: Callable[..., dict], tmp_path: Path) -> None:
    registered = {"registration": {"likeness": 0.2, "used": False}}
    reports = {f"usual-{number}": report(0.8 + number / 100, 100 + number) for number in range(9)}
    reports |= {"unlike": report(training=registered), "nothing": report(volume=0.0), "huge": report(volume=900.0)}
    reports |= {"warned": report(warnings=["The spacing is odd."])}
    entries = [entry_of(name, each) for name, each in reports.items()]
    entries += [entry_of("missing", None), entry_of("broken", None, BadInputError("It is empty.", "Copy it."))]
    found = ranked(entries)
    names = [entry.name for entry in found]
    assert names[:6] == ["broken", "nothing", "unlike", "huge", "warned", "usual-0"]
    assert names[-2:] == ["usual-8", "missing"]
    assert found[1].look_at == ("nothing found: Liver",) and found[3].look_at == ("unusual volume: Liver",)
    write_table(found, tmp_path / "cohort.csv")
    rows = list(csv.DictReader((tmp_path / "cohort.csv").read_text("utf-8-sig").splitlines()))
    assert rows[0]["error"] == "bad_input" and rows[0]["hint"] == "Copy it." and rows[0]["confidence"] == ""
    assert rows[2]["likeness"] == "0.2" and rows[2]["Liver (ml)"] == "100.0" and rows[5]["least_sure_slice"] == "4"


def test_a_warning_of_nearly_all_rows_singles_out_none(report: Callable[..., dict]) -> None:
    every, one = "Learned on a region.", "The spacing is odd."
    entries = [entry_of(str(number), report(warnings=[every, one] if number == 7 else [every])) for number in range(9)]
    found = ranked(entries)
    assert [entry.name for entry in found if entry.look_at] == ["7"] and found[0].warnings == [every, one]


def test_few_rows_have_no_usual_volume(report: Callable[..., dict]) -> None:
    entries = ranked(entry_of(str(number), report(volume=10.0**number)) for number in range(4))
    assert not any(entry.look_at for entry in entries)


def test_no_name_of_a_file_is_in_the_table(report: Callable[..., dict], tmp_path: Path) -> None:
    folder = tmp_path / "Doe John 1970"
    volume, model = folder / "series 1", tmp_path / "Roe.fewshot"
    error = BadInputError(f"{volume}/IM0001 is damaged, see /home/roe/log.txt.", f"Look into {folder / 'series 1'}.")
    warning = f"3 voxels of {volume.name} are odd; {model} was learned elsewhere."
    paths = {"volume": volume, "model": model}
    entries = ranked(
        [entry_of("a", None, error, paths), entry_of("b", report(warnings=[warning]), None, paths, {"site": "1"})]
    )
    write_table(entries, tmp_path / "cohort.csv")
    write_page(entries, tmp_path / "cohort.html", lambda entry: None)
    for path in (tmp_path / "cohort.csv", tmp_path / "cohort.html"):
        text = path.read_text("utf-8-sig")
        for name in ("Doe", "Roe", "series 1", "/home", "roe", str(tmp_path)):
            assert name not in text, (path.name, name)
        assert "the volume is damaged" in text.replace("/IM0001", "") and "site" in text


def test_what_earlier_models_contributed_is_told_by_their_numbers(report: Callable[..., dict], tmp_path: Path) -> None:
    used = {"name": "Doe John", "used": True, "why": "", "agreement": {"Liver": 0.91}, "weights": {"Liver": 0.6}}
    other = {"name": "Roe", "used": False, "why": "none of its segments has the name of a painted one"}
    warning = NOT_USED.format(other["name"], other["why"])
    training = {"models": [used, other], "assumed_slices": [3]}
    entry = entry_of("a", report(training=training, warnings=[warning]))
    assert entry.models == ["The few-shot model “1” was used; Dice with what is painted: Liver 0.91 (weight 0.60)."]
    assert entry.warnings == [NOT_USED.format(2, other["why"])]
    write_table([entry], tmp_path / "cohort.csv")
    write_page([entry], tmp_path / "cohort.html", lambda entry: None)
    for path in (tmp_path / "cohort.csv", tmp_path / "cohort.html"):
        text = path.read_text("utf-8-sig")
        assert "Liver 0.91" in text and "“2” was not used" in text and "Doe" not in text and "Roe" not in text
    nothing = entry_of("a", report(training={"models": [used], "assumed_slices": []}))
    assert nothing.models == [ADDED_NOTHING]


def test_columns_of_the_plan_are_kept_beside_ours(report: Callable[..., dict], tmp_path: Path) -> None:
    kept = [{"Age": "40", "seconds": "x"}, {}]
    write_table([entry_of(str(n), report(), None, None, each) for n, each in enumerate(kept)], tmp_path / "t.csv")
    first, second = csv.DictReader((tmp_path / "t.csv").read_text("utf-8-sig").splitlines())
    assert (first["Age"], first["seconds (plan)"], first["seconds"], second["Age"]) == ("40", "x", "2.5", "")


def test_nothing_in_a_page_can_break_out_of_it(report: Callable[..., dict], tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><!--"
    write_page([entry_of(evil, report(), kept={evil: evil})], tmp_path / "p.html", lambda entry: None)
    text = (tmp_path / "p.html").read_text("utf-8")
    assert text.count("<script") == 2 and "<!--" not in text and "http" not in text.replace("http-equiv", "")
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    assert data["rows"][0]["name"] == evil
