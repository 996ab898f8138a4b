"""Puts a finished job's report into plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from FewShotSAMLib.core.contributions import used_model_lines


def summary_lines(report: Mapping[str, Any], warnings_shown: Sequence[str]) -> list[str]:
    """Lines for the terminal. Parts that the report lacks are omitted; warnings shown before are only counted."""
    lines = [f"Written: {report['output']}"] if report.get("output") else []
    lines += [_segment_line(segment) for segment in report.get("segments", [])]
    encoder = report.get("encoder")
    if encoder:
        lines.append(f"Encoder: {encoder['name']}, {encoder['device']}, {encoder['precision']}")
    window = report.get("normalisation")
    if window and window.get("window"):
        why = f" ({window['why']})" if window.get("why") else ""
        lines.append(f"Window: {window['window'][0]:.4g} to {window['window'][1]:.4g}{why}")
    lines += used_model_lines(report.get("training", {}))
    confidence = report.get("mean_confidence")
    if confidence is not None:
        lines.append(f"Mean confidence of the predicted slices: {confidence:.2f}")
    if report.get("next_slices"):
        numbers = ", ".join(str(index) for index in report["next_slices"])
        lines.append(f"Next slices to paint, where the result is least sure (counted from 0): {numbers}")
    warnings = report.get("warnings", [])
    if warnings:
        lines.append(f"Warnings: {len(warnings)}")
        lines += [f"  {text}" for text in warnings if text not in warnings_shown]
    return lines


def _segment_line(segment: Mapping[str, Any]) -> str:
    painted = len(segment.get("painted_slices", []))
    parts = [f"{painted} painted slice{'' if painted == 1 else 's'}"] if painted else []
    if segment.get("volume_ml") is not None:
        volume = segment["volume_ml"]
        parts.append(f"{volume:.1f} ml" if volume >= 1 else f"{volume:.3g} ml")
    return f"  {segment['name']}: {', '.join(parts)}" if parts else f"  {segment['name']}"
