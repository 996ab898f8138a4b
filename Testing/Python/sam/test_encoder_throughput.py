"""The benchmark script runs and reports what docs/performance.md quotes."""

import importlib.util
import json
import statistics
from pathlib import Path

import pytest

from FewShotSAMLib.sam.registry import get_spec

SCRIPT = Path(__file__).resolve().parents[2] / "Benchmark" / "encoder_throughput.py"


def test_benchmark_on_the_small_encoder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("encoder_throughput", SCRIPT)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    report_file = tmp_path / "report.json"
    script.main(["--encoder", "tiny", "--slices", "2", "--device", "cpu", "--json", str(report_file)])
    report = json.loads(report_file.read_text(encoding="utf-8"))
    assert report["cosine"] >= 0.999
    assert len(report["official_s"]) == len(report["encoder_s"]) == 2
    pairs = zip(report["official_s"], report["encoder_s"], strict=True)
    assert report["ratio"] == pytest.approx(statistics.median(official / ours for official, ours in pairs))
    assert report["peak_mib"]["encoder"] > 0
    assert "median ratio" in capsys.readouterr().out
    # 695 of vit_b's operations are in its linear layers, 230 in attention, 11 at both ends (in 10⁹).
    assert script.operations_per_slice(get_spec("vit_b").architecture) == pytest.approx(936e9, rel=0.01)
