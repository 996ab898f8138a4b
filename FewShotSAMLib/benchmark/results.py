"""Results of a benchmark as JSON, CSV and Markdown: means of each method and k, then every row, worst first."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from FewShotSAMLib.benchmark.environment import machine_line
from FewShotSAMLib.benchmark.methods import METHODS
from FewShotSAMLib.benchmark.rows import Row, is_done
from FewShotSAMLib.core.files import atomic_path

COLUMNS = (
    *("method", "encoder", "k", "task", "source", "modality", "structure", "status", "dice", "hd95_mm", "assd_mm"),
    *("counted_slices", "seconds", "peak_memory_bytes", "peak_gpu_memory_bytes", "gpu", "axis", "painted", "empty"),
    "painted_here",
    *("version", "finished", "error"),
)
RULES = (
    "k slices evenly spaced over the structure are painted, and the first slice beyond each end is declared empty; all "
    "other slices of the volume, and only those, are counted. HD95 and ASSD: surface voxels on counted slices, in mm. "
    "Seconds: the method alone, without importing its packages; embeddings that an earlier row left in the cache are "
    "reused. Memory: the highest of all rows."
)

RULES_ACROSS = (
    "k slices of one volume (or all that show the structure) are painted, and the first slice beyond each end is "
    "declared empty; the model learned from them segments the other volumes of the group. All slices of those count "
    "except the ones “painted here”: evenly spaced slices of that volume, for which no end is declared. An empty "
    "result has Dice 0 and no distance; distances are means over the others. Seconds and memory: of applying the model."
)
FIGURES = {"dice": ".3f", "hd95_mm": ".1f", "assd_mm": ".2f", "seconds": ".1f"}
"""The figures of rows and means, and their formats."""
MEASURES = ("Dice", "HD95, mm", "ASSD, mm")
MEMORY, GPU_MEMORY = "peak memory, MB", "peak GPU memory, MB"


def latest(rows: Iterable[Row], preferred: Iterable[Row] = ()) -> list[Row]:
    """Return a row per method, encoder, k, task and source: the preferred one, else the last done, else the last."""
    chosen = {_place(row): row for row in preferred}
    others = {_place(row): row for row in sorted(rows, key=is_done)}
    return list({**chosen, **others, **chosen}.values())


def summarise(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return means over the tasks for each method, encoder and k, in the order of first occurrence, k ascending."""
    groups: dict[tuple[str, str | None], dict[int, list[Row]]] = {}
    for row in rows:
        if is_done(row):
            groups.setdefault((row["method"], row["encoder"]), {}).setdefault(row["k"], []).append(row)
    return [
        {
            "method": method,
            "encoder": encoder,
            "title": title_of(of_k[k][0]),
            "k": k,
            "tasks": len(of_k[k]),
            **{name: fmean(row[name] for row in of_k[k]) for name in FIGURES},
            **_memory(of_k[k]),
        }
        for (method, encoder), of_k in groups.items()
        for k in sorted(of_k)
    ]


def summarise_across(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return means over the pairs of volumes for each group, method, encoder and k; distances: of non-empty results."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if is_done(row):
            groups.setdefault((row["group"], title_of(row), _here(row), row["k"]), []).append(row)
    titles = list(dict.fromkeys(title for _, title, *_ in groups))
    order = sorted(groups, key=lambda of: (of[0], titles.index(of[1]), of[2], isinstance(of[3], str), of[3]))
    return [
        {
            "group": group,
            "method": own[0]["method"],
            "encoder": own[0]["encoder"],
            "title": f"{title}, {here} painted here" if here else title,
            "k": k,
            "painted_here": here,
            "pairs": len(own),
            "dice": fmean(row["dice"] for row in own),
            **{name: _mean_of_known(row[name] for row in own) for name in ("hd95_mm", "assd_mm")},
            "empty_results": sum(row["assd_mm"] is None for row in own),
            "seconds": fmean(row["seconds"] for row in own),
            "learning_seconds": fmean(row["details"]["learning_seconds"] for row in own),
            **_memory(own),
        }
        for group, title, here, k in order
        for own in [groups[group, title, here, k]]
    ]


def _memory(rows: Sequence[Row]) -> dict[str, int | None]:
    """Return any row's highest use of this computer's memory and of the GPU's; None if no row has it."""
    names = ("peak_memory_bytes", "peak_gpu_memory_bytes")
    return {name: max((row.get(name) or 0 for row in rows), default=0) or None for name in names}


def title_of(row: Row) -> str:
    """Return the method's current title, with its encoder, so that rows from before a change of title match."""
    known = METHODS.get(row["method"])
    title = known.title if known else row.get("title") or row["method"]
    return f"{title}, {row['encoder']}" if row.get("encoder") else str(title)


def write_results(rows: Sequence[Row], folder: Path, left_out: Sequence[str] = ()) -> dict[str, Any]:
    """Write `results.json`, `results.csv` and `results.md`; return the JSON file's content."""
    results = {
        "date": datetime.now(UTC).date().isoformat(),
        "machines": _machines(rows),
        "summary": summarise(row for row in rows if not row.get("source")),
        "across": summarise_across(row for row in rows if row.get("source")),
        "left_out": list(left_out),
        "rows": [{name: value for name, value in row.items() if name != "machine"} for row in rows],
    }
    _write(folder / "results.json", json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    _write_csv(rows, folder / "results.csv")
    _write(folder / "results.md", "\n".join(markdown(results)) + "\n")
    return results


def left_out_of(folder: Path) -> list[str]:
    """Return what the folder's last results list as left out, which no row says; empty if there are none."""
    try:
        written = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        return [str(text) for text in written["left_out"]]
    except (OSError, ValueError, LookupError, TypeError):
        return []


def markdown(results: dict[str, Any]) -> list[str]:
    """Return the lines of `results.md`."""
    rows = results["rows"]
    gpus = sorted({row["gpu"] for row in rows if row.get("gpu")})
    lines = ["# Benchmark", "", f"Written on {results['date']}. Measured on:", ""]
    lines += [f"- {machine_line(machine)}" for machine in results["machines"]]
    lines += [f"- GPU: {', '.join(gpus)}."] if gpus else []
    done = sorted((row for row in rows if is_done(row)), key=lambda row: row["dice"])
    lines += _within([row for row in done if not row.get("source")], results["summary"])
    lines += _across([row for row in done if row.get("source")], results["across"])
    failed = [row for row in rows if not is_done(row)]
    if failed:
        cells = [(_where(row), title_of(row), row["k"], row.get("error", "")) for row in failed]
        lines += ["", "## Failed", "", *_table(("task", "method", "k", "error"), cells)]
    if results["left_out"]:
        lines += ["", "## Left out", "", *(f"- {text}" for text in results["left_out"])]
    return lines


def _within(done: Sequence[Row], summary: Sequence[dict[str, Any]]) -> list[str]:
    if not done:
        return []
    head = ("method", "k", "tasks", *MEASURES, "seconds", *_memory_head(summary))
    means = [(each["title"], each["k"], each["tasks"], *_figures(each), *_memory_cells(each, head)) for each in summary]
    lines = ["", RULES, "", "## Means", "", *_table(head, means)]
    if len({each["tasks"] for each in summary}) > 1:
        lines += ["", "Means over different numbers of tasks cannot be compared with each other."]
    each_row = [(row["task"], title_of(row), row["k"], *_figures(row)) for row in done]
    table = _table(("task", "method", "k", *MEASURES, "seconds"), each_row)
    return [*lines, "", "## Every row, worst first", "", *table]


def _across(done: Sequence[Row], summary: Sequence[dict[str, Any]]) -> list[str]:
    if not done:
        return []
    own = ("empty results", "seconds of learning", *_memory_head(summary))
    head = ("group", "method", "k", "pairs", *MEASURES, "seconds", *own)
    means = [
        (
            *(each[name] for name in ("group", "title", "k", "pairs")),
            *_figures(each),
            each["empty_results"],
            f"{each['learning_seconds']:.1f}",
            *_memory_cells(each, head),
        )
        for each in summary
    ]
    lines = ["", "## Learned on one volume, applied to another", "", RULES_ACROSS, "", *_table(head, means)]
    each_row = [(_where(row), title_of(row), row["k"], _here(row), *_figures(row)) for row in done]
    table = _table(("pair", "method", "k", "painted here", *MEASURES, "seconds"), each_row)
    return [*lines, "", "### Every pair, worst first", "", *table]


def _here(row: Row) -> int:
    """How many slices of the segmented volume itself were painted as well."""
    return len(row.get("painted_here") or ())


def _where(row: Row) -> str:
    return f"{row['source']} to {row['task']}" if row.get("source") else str(row["task"])


def _mean_of_known(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _machines(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """The different computers and versions that computed the rows."""
    known = {json.dumps(row["machine"], sort_keys=True): row["machine"] for row in rows if row.get("machine")}
    return list(known.values())


def _place(row: Row) -> tuple[Any, ...]:
    return row["method"], row.get("encoder"), row["k"], row["task"], row.get("source"), _here(row)


def _figures(values: Row) -> tuple[str, ...]:
    return tuple("-" if values[name] is None else f"{values[name]:{form}}" for name, form in FIGURES.items())


def _memory_head(summary: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Headings of the memory columns; the GPU's only if any row used one."""
    on_gpu = any(each["peak_gpu_memory_bytes"] for each in summary)
    return (MEMORY, GPU_MEMORY) if on_gpu else (MEMORY,)


def _memory_cells(each: Mapping[str, Any], head: Sequence[str]) -> tuple[str, ...]:
    names = {MEMORY: "peak_memory_bytes", GPU_MEMORY: "peak_gpu_memory_bytes"}
    return tuple(_megabytes(each[name]) for title, name in names.items() if title in head)


def _megabytes(size: int | None) -> str:
    return f"{size / 1e6:.0f}" if size else "-"


def _table(head: Sequence[str], body: Iterable[Sequence[Any]]) -> list[str]:
    def line(cells: Sequence[Any]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"

    return [line(head), "|" + "---|" * len(head), *map(line, body)]


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _write_csv(rows: Iterable[Row], path: Path) -> None:
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, extrasaction="ignore", restval="")
        writer.writeheader()
        for row in rows:
            lists = {name: " ".join(map(str, row.get(name, ()))) for name in ("painted", "empty", "painted_here")}
            writer.writerow({**row, **lists})
