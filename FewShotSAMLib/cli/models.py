"""`models list | download | verify`: the encoders' files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from FewShotSAMLib.core.errors import BadInputError, CancelledError
from FewShotSAMLib.sam import download as fetch
from FewShotSAMLib.sam import model_files
from FewShotSAMLib.sam.registry import EncoderSpec, get_spec

STATE_WORDS = {
    "built-in": "built in, needs no file",
    "absent": "not downloaded",
    "partial": "partly downloaded",
    "wrong size": "damaged (wrong size)",
    "present": "here",
}


def list_models(options: argparse.Namespace) -> int:
    """`fewshotsam models list`."""
    rows = [("NAME", "SIZE", "LICENCE", "STATE", "WHAT")]
    for entry in model_files.status():
        spec = entry.spec
        rows.append((spec.name, _size(spec), spec.licence, STATE_WORDS.get(entry.state, entry.state), spec.title))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    print(f"Folder: {model_files.model_folder()}")
    return 0


def download(options: argparse.Namespace) -> int:
    """`fewshotsam models download NAME`: show what it is, ask, and download it."""
    spec = get_spec(options.name)
    if not spec.is_downloaded:
        print(f"{spec.name} is built in and needs no download.")
        return 0
    path = model_files.model_path(spec)
    if path.is_file() and path.stat().st_size == spec.size_bytes:
        model_files.verify(spec)
        print(f"{spec.name} is already here: {path}")
        return 0
    _ask(spec, path, options.yes)
    print(f"Downloaded and verified: {_fetch(spec)}")
    return 0


def _ask(spec: EncoderSpec, path: Path, yes: bool) -> None:
    """Show what would be downloaded; raise CancelledError unless the user agrees."""
    print(f"{spec.title} ({spec.name})")
    print(f"  Size:    {_size(spec)}")
    print(f"  Licence: {spec.licence} ({spec.licence_url})")
    print(f"  From:    {spec.url}")
    print(f"  To:      {path.parent}", flush=True)
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadInputError("Nobody is at the terminal to agree to the download.", "Add --yes to agree in a script.")
    try:
        answer = input("Download? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise CancelledError("Nothing was downloaded.")


def _fetch(spec: EncoderSpec) -> Path:
    """Download with a bar on a terminal, silently elsewhere."""
    console = Console(file=sys.stderr)
    columns = (TextColumn(spec.filename), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("download", total=spec.size_bytes)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        return fetch.download(spec, progress=show)


def verify(options: argparse.Namespace) -> int:
    """`fewshotsam models verify [NAME]`: one line per file, exit code 2 if one is not as published."""
    if options.name:
        print(f"{options.name}: as published: {model_files.verify(get_spec(options.name))}")
        return 0
    found = [entry.spec for entry in model_files.status() if entry.state in ("built-in", "present", "wrong size")]
    if not any(spec.is_downloaded for spec in found):
        print(f"There is no model file in {model_files.model_folder()}.")
    damaged = [spec.name for spec in found if not _is_as_published(spec)]
    return BadInputError.exit_code if damaged else 0


def _is_as_published(spec: EncoderSpec) -> bool:
    try:
        path = model_files.verify(spec)
    except BadInputError as error:
        print(f"error: {error}", file=sys.stderr)
        return False
    print(f"{spec.name}: as published: {path}")
    return True


def _size(spec: EncoderSpec) -> str:
    return f"{spec.size_bytes / 1e6:.0f} MB" if spec.size_bytes else "-"
