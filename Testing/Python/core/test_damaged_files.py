"""Damaged files of every format are read correctly or refused in one line; never a traceback, a hang or a crash."""

import os
from pathlib import Path

import pytest
from core import mutations

PER_FORMAT = 12


@pytest.mark.skipif(os.name != "posix", reason="children with limits are forked")
def test_mutations_are_read_or_refused(tmp_path: Path) -> None:
    for name, original in mutations.originals(tmp_path).items():
        if name in mutations.HDF5:
            continue  # these can keep the process from ending, which in bulk runs is a child
        content, read = original.read_bytes(), mutations.reader_of(name)
        for seed in range(PER_FORMAT):
            path = mutations.placed(original, tmp_path, content, seed)
            assert mutations.outcome(path, read) in ("read", "refused"), (name, seed)
