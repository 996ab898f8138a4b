"""A cohort in a thread: what a front end sees of it, stopping, and resuming."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import made_jobs
import pytest

from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.workflow import cohort_job
from FewShotSAMLib.workflow.cohort_job import CohortJob, rows_of


@pytest.fixture
def begin(tmp_path: Path, jobs_script: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., CohortJob]:
    """`begin(a="good")`: a job on volumes with this content."""
    made_jobs.use(jobs_script, monkeypatch, cohort_job)
    (tmp_path / "m.fewshot").write_text("model")

    def make(**volumes: str) -> CohortJob:
        paths = [tmp_path / f"{name}.nrrd" for name in volumes]
        for path, text in zip(paths, volumes.values(), strict=True):
            path.write_text(text) if not path.exists() else None
        rows = rows_of(tmp_path / "m.fewshot", paths, tmp_path)
        return CohortJob(rows, tmp_path / "out", {"device": "cpu"}, sys.executable)

    return make


def test_a_job_is_followed_stopped_and_goes_on(begin: Callable[..., CohortJob], tmp_path: Path) -> None:
    volumes = {"a": "good", "b": "", "c": "slow 0.2", "d": "slow 30"}
    job = begin(**volumes)
    while job.done + job.failed < 3:
        assert job.is_running and job.error is None
        time.sleep(0.02)
    begun = time.monotonic()
    job.close()
    assert time.monotonic() - begun < 20 and not job.is_running and job.error is None
    assert (job.total, job.done, job.failed) == (4, 2, 1)
    page = job.paths.page.read_text("utf-8")
    assert '"name": "b", "state": "failed"' in page and '"name": "d", "state": "missing"' in page
    (tmp_path / "m.fewshot").write_text("damaged")
    with pytest.raises(BadInputError, match="already exists"):
        begin(**volumes)
    (tmp_path / "m.fewshot").write_text("model")
    again = begin(**{name: text for name, text in volumes.items() if name != "d"})
    assert again.done == 2, "what is there is not done again"
    again.close()
