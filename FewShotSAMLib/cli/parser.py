"""Commands and options of the command line, with their help."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from typing import NoReturn

from FewShotSAMLib import __version__
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.methods.registry import DEFAULT_METHOD, METHOD_NAMES, METHODS

EXIT_CODES = "Exit codes: 0 done, 2 bad input, 3 out of memory, 4 cancelled, 1 a bug (with the path of a log)."
SLICE_NUMBERS = "Slice numbers are array indices along the axis: they begin with 0, as in Slicer's IJK coordinates."
METHOD_TABLE = "\n".join(f"  {method.name:<16}{method.title}" for method in METHODS)
PROPAGATE_EXAMPLES = f"""{SLICE_NUMBERS}

Methods:
{METHOD_TABLE}

Examples:
  fewshotsam propagate ct.nrrd painted.seg.nrrd -o liver.seg.nrrd
  fewshotsam propagate dicom-folder painted.nrrd -o out.nii.gz --axis 0 --empty-slices 3,40 --save-model liver.fewshot

{EXIT_CODES}"""
MAX_LISTED_SLICES = 100_000
BENCHMARK_EXAMPLES = f"""Every finished row is kept at once. Run the same command again to go on after a stop, or to
retry what failed.

Examples:
  fewshotsam benchmark --tasks data/tasks.toml --output results
  fewshotsam benchmark --tasks tasks.toml --methods few-shot,grow-from-seeds --encoders tiny,vit_b --k 3,5 --output out
  fewshotsam benchmark --tasks tasks.toml --methods few-shot --across --output across
  fewshotsam benchmark --figure-only --output results

{EXIT_CODES}"""

WEB_NOTES = f"""Results are saved in the served folder: --data, or the one that VOLUME lies in. One browser at a time
can use a server, and only with its secret: a random one that stands in the address, or your own from the environment
variable FEWSHOTSAM_WEB_SECRET. From another computer, best through a tunnel: ssh -L 8765:127.0.0.1:8765 SERVER

{EXIT_CODES}"""


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and where help is, and exit with the code of bad input."""
        print(f"error: {' '.join(message.split())}. See “{self.prog} --help”.", file=sys.stderr)
        sys.exit(BadInputError.exit_code)


def build_parser() -> Parser:
    """The parser of everything; the parsed options say in `command` which command was given."""
    parser = Parser(
        prog="fewshotsam",
        description="Paint a few slices of a CT or MR volume, get the whole volume segmented.",
        epilog=EXIT_CODES,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"fewshotsam {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_propagate(commands)
    _add_apply(commands)
    _add_models(commands)
    _add_cache(commands)
    inspect = _add_command(commands, "inspect", "inspect", "say what is understood of a volume, annotation or model")
    inspect.add_argument("file", metavar="FILE", help="volume, DICOM folder, annotation or few-shot model")
    inspect.add_argument("--json", action="store_true", help="the same as JSON, on stdout")
    demo = _add_command(commands, "demo", "demo", "run the whole thing on a made-up CT volume")
    demo.add_argument("-o", "--output", default="demo-output", metavar="FOLDER", help="(default: %(default)s)")
    _add_quiet(demo)
    _add_benchmark(commands)
    _add_web(commands)
    _add_command(commands, "doctor", "doctor", "say what is installed and what is missing; exit code 1 if anything is")
    return parser


def _add_command(
    commands: argparse._SubParsersAction[Parser], name: str, command: str, summary: str, epilog: str = ""
) -> Parser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=epilog,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=command)
    return parser


def _add_propagate(commands: argparse._SubParsersAction[Parser]) -> None:
    summary = "segment a volume from a few painted slices"
    parser = _add_command(commands, "propagate", "propagate", summary, PROPAGATE_EXAMPLES)
    parser.add_argument("volume", metavar="VOLUME", help="NRRD, NIfTI, MHA or a DICOM folder")
    parser.add_argument(
        "annotation",
        metavar="ANNOTATION",
        help="label map or .seg.nrrd in the volume's geometry; a slice with any label counts as painted completely",
    )
    _add_output(parser)
    slices = parser.add_argument_group("slices (array indices, beginning with 0)")
    slices.add_argument(
        "--axis", type=_axis, metavar="auto|0|1|2", help="array axis of the painted slices: 0 = k, 1 = j, 2 = i"
    )
    slices.add_argument("--empty-slices", type=_slices, metavar="3,40", help="slices that hold none of the segments")
    slices.add_argument(
        "--painted-slices", type=_slices, metavar="10,20-25", help="learn from these only and ignore labels elsewhere"
    )
    _add_range(slices)
    method = parser.add_argument_group("method")
    method.add_argument(
        "--method", choices=METHOD_NAMES, metavar="NAME", help=f"see the list below (default: {DEFAULT_METHOD})"
    )
    method.add_argument(
        "--code-faithful", action="store_true", help="AutoSAM's heads exactly as published, slips included"
    )
    method.add_argument(
        "--encoder", metavar="NAME", help="see “fewshotsam models list” (default: what suits the device)"
    )
    method.add_argument(
        "--normalisation",
        "--normalization",
        metavar="KIND",
        help="auto, a CT window such as abdomen or lung, percentile:LOW,HIGH or window:LOW,HIGH (default: auto)",
    )
    method.add_argument("--steps", type=_count, metavar="N", help="training steps (default: fewer after a warm start)")
    method.add_argument(
        "--augmented-copies", type=_count, metavar="N", help="augmented copies to learn from per painted or empty slice"
    )
    method.add_argument(
        "--contact-sheet", metavar="FILE.png", help="picture of synthesised pairs (cheap-lunch, synthesis)"
    )
    method.add_argument(
        "--fresh-augmentation",
        action="store_true",
        help="augment and encode anew at each step, as AutoSAM does, instead of keeping copies; slow without a GPU",
    )
    method.add_argument("--seed", type=_count, metavar="N", help="the same seed gives the same result (default: 0)")
    method.add_argument("--warm-start", metavar="M.fewshot", help="start from this few-shot model instead of afresh")
    method.add_argument("--save-model", metavar="M.fewshot", help="keep what was learned for “fewshotsam apply”")
    _add_common(parser)


def _add_apply(commands: argparse._SubParsersAction[Parser]) -> None:
    summary = "segment another volume with a few-shot model"
    parser = _add_command(commands, "apply", "apply", summary, f"{SLICE_NUMBERS}\n\n{EXIT_CODES}")
    parser.add_argument("model", metavar="M.fewshot", help="file that “fewshotsam propagate --save-model” wrote")
    parser.add_argument("volume", metavar="VOLUME", help="NRRD, NIfTI, MHA or a DICOM folder")
    _add_output(parser)
    _add_range(parser.add_argument_group("slices (array indices, beginning with 0)"))
    _add_common(parser)


def _add_output(parser: Parser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="segmentation (.seg.nrrd, DICOM: .dcm) or label map (.nrrd, .nii.gz, .nii, .mha)",
    )


def _add_range(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--range", type=_range, metavar="FIRST,LAST", help="predict these slices only, both included (default: all)"
    )


def _add_common(parser: Parser) -> None:
    """What propagate and apply share."""
    compute = parser.add_argument_group("computing")
    compute.add_argument("--checkpoint", metavar="FILE", help="file with the encoder's weights, on any disk")
    compute.add_argument("--device", type=_device, metavar="auto|cuda|cuda:N|mps|cpu", help="(default: auto)")
    compute.add_argument("--precision", choices=("auto", "fp32", "bf16", "fp16", "int8"), help="(default: auto)")
    cache = compute.add_mutually_exclusive_group()
    cache.add_argument("--cache", metavar="FOLDER", help="where slices once encoded are kept")
    cache.add_argument("--no-cache", action="store_true", help="keep them in memory, for this run only")
    compute.add_argument("--cache-limit-gb", type=_positive, metavar="GB", help="size limit of the cache")
    result = parser.add_argument_group("result (all off by default)")
    result.add_argument("--largest-island", action="store_true", help="keep the largest piece of each segment")
    result.add_argument("--fill-holes", action="store_true", help="fill holes of each segment")
    result.add_argument("--smooth-mm", type=_positive, metavar="MM", help="smooth outlines by this much")
    result.add_argument("--confidence", metavar="FILE", help="write a volume of confidence values too")
    result.add_argument(
        "--json", metavar="FILE|-", help="write a report to FILE; - : all events to stdout, one JSON object per line"
    )
    _add_quiet(result)


def _add_quiet(group: argparse._ActionsContainer) -> None:
    group.add_argument("-q", "--quiet", action="store_true", help="print warnings and errors only")


def _add_models(commands: argparse._SubParsersAction[Parser]) -> None:
    parser = commands.add_parser("models", help="list, download and check the encoders' files", allow_abbrev=False)
    actions = parser.add_subparsers(metavar="list|download|verify", required=True)
    _add_command(actions, "list", "models list", "list the encoders, their size, licence and whether they are here")
    download = _add_command(actions, "download", "models download", "download an encoder's file; asks first")
    download.add_argument("name", metavar="NAME", help="see “fewshotsam models list”")
    download.add_argument("-y", "--yes", action="store_true", help="do not ask (for scripts)")
    summary = "compare files with their published SHA-256"
    verify = _add_command(actions, "verify", "models verify", summary)
    verify.add_argument("name", metavar="NAME", nargs="?", help="(default: every file that is here)")


def _add_cache(commands: argparse._SubParsersAction[Parser]) -> None:
    parser = commands.add_parser("cache", help="show or clear the cache of encoded slices", allow_abbrev=False)
    actions = parser.add_subparsers(metavar="info|clear", required=True)
    _add_command(actions, "info", "cache info", "say where the cache is, what it holds and how much room it takes")
    clear = _add_command(actions, "clear", "cache clear", "remove all encoded slices; they are made again when needed")
    for action in actions.choices.values():
        action.add_argument("--cache", metavar="FOLDER", help="another cache folder than the usual one")
    _add_quiet(clear)


def _add_benchmark(commands: argparse._SubParsersAction[Parser]) -> None:
    summary = "measure methods against each other on labelled volumes"
    parser = _add_command(commands, "benchmark", "benchmark", summary, BENCHMARK_EXAMPLES)
    parser.add_argument("--tasks", metavar="FILE", help="TOML file of tasks; see docs/benchmark.md")
    parser.add_argument("--data", metavar="FOLDER", help="where its paths begin (default: the tasks file's folder)")
    parser.add_argument("--only", metavar="NAME", nargs="+", help="these tasks only")
    parser.add_argument(
        "--methods",
        type=_names,
        metavar="A,B",
        default=["few-shot", "fill-between-slices", "grow-from-seeds"],
        help="few-shot, few-shot-instant, autosam-vit, autosam-cnn, autosam-linear, synthesis, lora, cheap-lunch, "
        "pixel-classifier, sam-1-point, sam-5-points, sam-box (these three also with -given, prompted from the truth "
        "of every slice), u-net, fill-between-slices, fill-in-slicer, grow-from-seeds "
        "(default: few-shot,fill-between-slices,grow-from-seeds)",
    )
    parser.add_argument(
        "--across",
        action="store_true",
        help="learn on one volume, with k painted slices and with all, and segment the others that show the same",
    )
    parser.add_argument("--encoders", type=_names, metavar="A,B", default=["tiny"], help="(default: tiny)")
    parser.add_argument("--k", type=_painted, metavar="3,5", default=[1, 3, 5, 7], help="(default: 1,3,5,7)")
    parser.add_argument("--seed", type=_count, metavar="N", default=0, help="(default: 0)")
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="rows, tables and figures")
    parser.add_argument("--keep-segmentations", action="store_true", help="keep every result as a .seg.nrrd there, too")
    parser.add_argument("--jobs", type=_processes, metavar="N", default=1, help="rows at once (default: 1)")
    parser.add_argument("--recompute", action="store_true", help="compute the rows that are there already anew")
    parser.add_argument("--figure-only", action="store_true", help="write tables and figures anew from the rows there")
    parser.add_argument("--device", type=_device, metavar="auto|cuda|cuda:N|mps|cpu", help="(default: auto)")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16", "fp16", "int8"), help="(default: auto)")
    cache = parser.add_mutually_exclusive_group()
    cache.add_argument("--cache", metavar="FOLDER", help="where slices once encoded are kept (default: OUTPUT/cache)")
    cache.add_argument("--no-cache", action="store_true", help="every row encodes its slices itself")
    parser.add_argument(
        "--json", metavar="FILE|-", help="write the results to FILE, too; - : each row to stdout, one JSON per line"
    )
    _add_quiet(parser)


def _add_web(commands: argparse._SubParsersAction[Parser]) -> None:
    summary = "paint and propagate in a browser, on this computer or from another one"
    parser = _add_command(commands, "web", "web", summary, WEB_NOTES)
    add = parser.add_argument
    add("volume", metavar="VOLUME", nargs="?", help="NRRD, NIfTI, MHA or a DICOM folder")
    add("--data", metavar="FOLDER", help="volumes to choose from, and where results are saved")
    add("--port", type=_port, metavar="N", default=8765, help="0: any that is free (default: %(default)s)")
    add("--host", metavar="ADDRESS", default="127.0.0.1", help="0.0.0.0: reachable from other computers")
    add("--python", metavar="FILE", help="the Python that has torch (default: this one, or that of .venv)")
    add("--no-browser", action="store_true", help="open no browser, print the address only")


def _axis(text: str) -> str | int:
    if text not in ("auto", "0", "1", "2"):
        raise argparse.ArgumentTypeError(f"“{text}” is not one of auto, 0, 1, 2")
    return text if text == "auto" else int(text)


def _device(text: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"“{text}” is not one of auto, cuda, cuda:N, mps, cpu")
    return text


def _slices(text: str) -> list[int]:
    """Slice numbers from a list such as `3,40` or `10-12,20`, ascending, each once."""
    numbers: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last or last - first > MAX_LISTED_SLICES:
            raise argparse.ArgumentTypeError(f"“{text}” is no list of slice numbers such as 3,40 or 10-12")
        numbers.update(range(first, last + 1))
    return sorted(numbers)


def _range(text: str) -> list[int]:
    match = re.fullmatch(r"\s*(\d{1,9})\s*[,:-]\s*(\d{1,9})\s*", text)
    if not match or int(match[1]) > int(match[2]):
        raise argparse.ArgumentTypeError(f"“{text}” is no range of slices such as 10,80")
    return [int(match[1]), int(match[2])]


def _names(text: str) -> list[str]:
    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names:
        raise argparse.ArgumentTypeError("no name is given")
    return names


def _painted(text: str) -> list[int]:
    numbers = _slices(text)
    if numbers[0] < 1:
        raise argparse.ArgumentTypeError("at least one slice has to be painted")
    return numbers


def _processes(text: str) -> int:
    return int(_number(text, int, 1, "a whole number from 1 up"))


def _port(text: str) -> int:
    number = int(_number(text, int, 0, "a port from 0 to 65535"))
    if number > 65535:
        raise argparse.ArgumentTypeError(f"“{text}” is not a port from 0 to 65535")
    return number


def _number(text: str, convert: Callable[[str], float], least: float, words: str) -> float:
    try:
        value = convert(text)
    except ValueError:
        value = float("nan")
    if not least <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"“{text}” is not {words}")
    return value


def _count(text: str) -> int:
    return int(_number(text, int, 0, "a whole number from 0 up"))


def _positive(text: str) -> float:
    return _number(text, float, 0, "a number from 0 up")
