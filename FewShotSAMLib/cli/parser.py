"""Commands and options of the command line, with their help."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from FewShotSAMLib import __version__
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.methods.registry import METHODS
from FewShotSAMLib.option_kinds import INTEGER, Kind, read_slices
from FewShotSAMLib.options import (
    APPLY,
    CLI,
    COHORT,
    FLAG,
    PATHS,
    PROPAGATE,
    RESULT,
    SLICES_OF,
    Option,
    option,
    options_of,
)

EXIT_CODES = "Exit codes: 0 done, 2 bad input, 3 out of memory, 4 cancelled, 1 a bug (with the path of a log)."
SLICE_NUMBERS = "Slice numbers are array indices along the axis: they begin with 0, as in Slicer's IJK coordinates."
METHOD_TABLE = "\n".join(f"  {method.name:<18}{method.title}" for method in METHODS)
PROPAGATE_EXAMPLES = f"""{SLICE_NUMBERS}

Methods:
{METHOD_TABLE}

Examples:
  fewshotsam propagate ct.nrrd painted.seg.nrrd -o liver.seg.nrrd
  fewshotsam propagate dicom-folder painted.nrrd -o out.nii.gz --axis 0 --empty-slices 3,40 --save-model liver.fewshot
  fewshotsam propagate next.nrrd one-slice.seg.nrrd -o next.seg.nrrd --models liver.fewshot second.fewshot

{EXIT_CODES}"""
APPLY_EXAMPLES = f"""With several volumes, OUT is a folder, made if needed, and each result is named after its volume.
A volume that fails is reported and does not stop the others; the exit code is then that of the first failure.

{SLICE_NUMBERS}

Examples:
  fewshotsam apply liver.fewshot next.nrrd -o next.seg.nrrd
  fewshotsam apply liver.fewshot cohort/*.nii.gz -o results --json results.json

{EXIT_CODES}"""
COHORT_EXAMPLES = f"""A table has the columns “volume” and “annotation” (it is propagated) or “model” (it is
applied), “output” (a name) if wanted, and options such as “empty_slices”; any others are kept. After a stop, the same
command does only what is missing. A volume that fails does not stop the others; the exit code is the first failure's.

Examples:
  fewshotsam cohort patients.csv -o results
  fewshotsam cohort scans --pattern '*/ct.nii.gz' --model liver.fewshot -o results
  fewshotsam cohort bids --pattern 'sub-*/anat/*_T1w.nii.gz' --model brain.fewshot -o results --ray auto

{EXIT_CODES}"""
_LONGEST_SHOWN = 80
BENCHMARK_EXAMPLES = f"""Every finished row is saved at once. Run the same command again to continue after a stop, or to
retry what failed.

Examples:
  fewshotsam benchmark --tasks data/tasks.toml --output results
  fewshotsam benchmark --tasks tasks.toml --methods few-shot,grow-from-seeds --encoders tiny,vit_b --k 3,5 --output out
  fewshotsam benchmark --tasks tasks.toml --methods few-shot --across --output across
  fewshotsam benchmark --figure-only --output results

{EXIT_CODES}"""

WEB_NOTES = f"""Results are saved in the served folder: --data, or the folder of VOLUME. One browser at a time
can use a server, and only with its secret: a random one in the address, or your own from the environment variable
FEWSHOTSAM_WEB_SECRET. From another computer, a tunnel is best: ssh -L 8765:127.0.0.1:8765 SERVER

{EXIT_CODES}"""


_JOBS = (
    (PROPAGATE, "segment a volume from a few painted slices", PROPAGATE_EXAMPLES, "propagate:propagate"),
    (APPLY, "segment other volumes with a few-shot model", APPLY_EXAMPLES, ""),
    (
        COHORT,
        "segment many volumes, on this computer or on a Ray cluster, and say which results to look at first",
        COHORT_EXAMPLES,
        "",
    ),
)


class Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and where help is, and exit with the code of bad input."""
        print(f"error: {' '.join(message.split())}. See “{self.prog} --help”.", file=sys.stderr)
        sys.exit(BadInputError.exit_code)


def build_parser() -> Parser:
    """The parser of all commands; in the parsed options, `command` names the function that runs the given one."""
    parser = Parser(
        prog="fewshotsam",
        description="Paint a few slices of a CT or MR volume, get the whole volume segmented.",
        epilog=EXIT_CODES,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"fewshotsam {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command, *described in _JOBS:
        _add_options(_add_command(commands, command, *described), command)
    _add_models(commands)
    _add_cache(commands)
    inspect = _add_command(commands, "inspect", "show how a volume, annotation or model is understood")
    inspect.add_argument("file", metavar="FILE", help="volume, DICOM folder, annotation or few-shot model")
    inspect.add_argument("--json", action="store_true", help="the same as JSON, on stdout")
    demo = _add_command(commands, "demo", "run the whole workflow on a synthetic CT volume", function="propagate:demo")
    demo.add_argument("-o", "--output", default="demo-output", metavar="FOLDER", help="(default: %(default)s)")
    _add_quiet(demo)
    _add_benchmark(commands)
    _add_web(commands)
    _add_command(commands, "doctor", "say what is installed and what is missing; exit code 1 if anything is missing")
    return parser


def _add_command(
    commands: argparse._SubParsersAction[Parser], name: str, summary: str, epilog: str = "", function: str = ""
) -> Parser:
    """Add a command. function: what runs it, as "module:function" within `cli`; by default both named like `name`."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=epilog,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=function or f"{name}:{name}")
    return parser


def _add_options(parser: Parser, command: str) -> None:
    """Add a command's options from the table, and those that only the command line has."""
    groups: dict[str, argparse._ActionsContainer] = {"": parser}
    exclusive: dict[str, argparse._ActionsContainer] = {}
    shown = [each for each in options_of(command) if CLI in each.shown]
    rivals = {each.instead_of for each in shown}
    for each in shown:
        if each.group not in groups:
            groups[each.group] = parser.add_argument_group(each.group)
        place = groups[each.group]
        if each.name in rivals:
            place = exclusive[each.name] = place.add_mutually_exclusive_group()
        _add_option(exclusive.get(each.instead_of, place), each, command)
    groups[RESULT].add_argument(
        "--json", metavar="FILE|-", help="write a report to FILE; - : all events to stdout, one JSON object per line"
    )
    _add_quiet(groups[RESULT])


def _add_option(place: argparse._ActionsContainer, known: Option, command: str = "") -> None:
    """Add an option of the table. If it is not given, it stays None (or False) and gets its default in the job."""
    if known.is_positional and command in known.several_in:
        place.add_argument(known.name, metavar=known.metavar, help=f"{known.help}; one or several", nargs="+")
    elif known.is_positional and command not in known.optional_in:
        place.add_argument(known.name, metavar=known.metavar, help=known.help)
    elif known.kind is FLAG:
        place.add_argument(known.flag, action="store_true", help=known.help)
    elif known.kind is PATHS:
        place.add_argument(known.flag, nargs="+", action="extend", metavar=known.metavar, help=known.help)
    else:
        default = "" if known.default is None else f" (default: {known.default})"
        place.add_argument(
            *(name for name in known.aliases if not name.startswith("--")),
            known.flag,
            *(name for name in known.aliases if name.startswith("--")),
            type=_reader(known),
            action=_Gather if known.kind is SLICES_OF else "store",
            required=known.is_required and command not in known.optional_in,
            metavar=known.metavar or "|".join(known.choices),
            help=known.help + default,
        )


def _reader(known: Option) -> Callable[[str], Any]:
    """A parser of typed text into a value for a request; it raises ArgumentTypeError for what is not allowed."""

    def read(text: str) -> Any:
        try:
            return known.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"“{_shortened(text)}” is not {error}") from error

    return read


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _add_quiet(group: argparse._ActionsContainer) -> None:
    group.add_argument("-q", "--quiet", action="store_true", help="print warnings and errors only")


def _add_models(commands: argparse._SubParsersAction[Parser]) -> None:
    parser = commands.add_parser("models", help="list, download and check the encoders' files", allow_abbrev=False)
    actions = parser.add_subparsers(metavar="list|download|verify", required=True)
    summary = "list the encoders with size, licence and whether they are here"
    _add_command(actions, "list", summary, function="models:list_models")
    download = _add_command(actions, "download", "download an encoder's file; asks first", function="models:download")
    download.add_argument("name", metavar="NAME", help="see “fewshotsam models list”")
    download.add_argument("-y", "--yes", action="store_true", help="do not ask (for scripts)")
    summary = "compare files with their published SHA-256"
    verify = _add_command(actions, "verify", summary, function="models:verify")
    verify.add_argument("name", metavar="NAME", nargs="?", help="(default: every file that is here)")


def _add_cache(commands: argparse._SubParsersAction[Parser]) -> None:
    parser = commands.add_parser("cache", help="show or clear the cache of encoded slices", allow_abbrev=False)
    actions = parser.add_subparsers(metavar="info|clear", required=True)
    summary = "say where the cache is, what it holds and how much space it takes"
    _add_command(actions, "info", summary, function="cache:info")
    summary = "remove all encoded slices; they are made again when needed"
    clear = _add_command(actions, "clear", summary, function="cache:clear")
    for action in actions.choices.values():
        action.add_argument("--cache", metavar="FOLDER", help="a cache folder other than the usual one")
    _add_quiet(clear)


def _add_benchmark(commands: argparse._SubParsersAction[Parser]) -> None:
    summary = "measure methods against each other on labelled volumes"
    parser = _add_command(commands, "benchmark", summary, BENCHMARK_EXAMPLES)
    parser.add_argument("--tasks", metavar="FILE", help="TOML file of tasks; see docs/benchmark.md")
    parser.add_argument("--data", metavar="FOLDER", help="where its paths begin (default: the tasks file's folder)")
    parser.add_argument("--only", metavar="NAME", nargs="+", help="these tasks only")
    parser.add_argument(
        "--methods",
        type=_names,
        metavar="A,B",
        default=["few-shot", "fill-between-slices", "grow-from-seeds"],
        help=f"{', '.join(option('method').choices)}, few-shot-instant, few-shot-without-COMPONENT (omits one: "
        "second-pass, transport, geodesic, ends, doubt, weight, threshold), sam-1-point, sam-5-points, sam-box (these "
        "three also with -given, prompted from the truth of every slice), u-net, fill-between-slices, "
        "fill-in-slicer, grow-from-seeds, biomedisa "
        "(default: few-shot,fill-between-slices,grow-from-seeds)",
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--across",
        action="store_true",
        help="learn on one volume, with k painted slices and with all, and segment the others that show the same",
    )
    kind.add_argument("--no-ends", action="store_true", help="declare no slice empty: the ends have to be found")
    parser.add_argument(
        "--painted-here",
        type=_whole(0),
        metavar="N",
        default=0,
        help="with --across: paint N slices of the volume that is segmented, too (default: 0)",
    )
    parser.add_argument("--encoders", type=_names, metavar="A,B", default=["tiny"], help="(default: tiny)")
    parser.add_argument("--k", type=_painted, metavar="3,5", default=[1, 3, 5, 7], help="(default: 1,3,5,7)")
    parser.add_argument("--seed", type=_whole(0), metavar="N", default=0, help="(default: 0)")
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="rows, tables and figures")
    parser.add_argument("--keep-segmentations", action="store_true", help="keep every result as a .seg.nrrd there, too")
    parser.add_argument("--jobs", type=_whole(1), metavar="N", default=1, help="rows computed at once (default: 1)")
    parser.add_argument("--recompute", action="store_true", help="compute existing rows again")
    parser.add_argument("--figure-only", action="store_true", help="write tables and figures again from existing rows")
    for name in ("device", "precision"):
        _add_option(parser, option(name))
    cache = parser.add_mutually_exclusive_group()
    cache.add_argument("--cache", metavar="FOLDER", help="folder of encoded slices (default: OUTPUT/cache)")
    cache.add_argument("--no-cache", action="store_true", help="every row encodes its slices itself")
    parser.add_argument(
        "--json", metavar="FILE|-", help="write the results to FILE, too; - : each row to stdout, one JSON per line"
    )
    _add_quiet(parser)


def _add_web(commands: argparse._SubParsersAction[Parser]) -> None:
    summary = "paint and propagate in a browser, on this computer or from another one"
    parser = _add_command(commands, "web", summary, WEB_NOTES)
    add = parser.add_argument
    add("volume", metavar="VOLUME", nargs="?", help="NRRD, NIfTI, MHA or a DICOM folder")
    add("--data", metavar="FOLDER", help="folder of volumes to choose from, and of results")
    port = _whole(0, 65535, "a port")
    add("--port", type=port, metavar="N", default=8765, help="0: any that is free (default: %(default)s)")
    add("--host", metavar="ADDRESS", default="127.0.0.1", help="0.0.0.0: reachable from other computers")
    add("--python", metavar="FILE", help="the Python that has torch (default: this one, or that of .venv)")
    add("--no-browser", action="store_true", help="only print the address, do not open a browser")


class _Gather(argparse.Action):
    """Collects an option that may be given several times, each time with other names."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Merge the values into those given before."""
        gathered = dict(getattr(namespace, self.dest) or {})
        for name, numbers in values.items():
            gathered[name] = sorted({*gathered.get(name, ()), *numbers})
        setattr(namespace, self.dest, gathered)


def _names(text: str) -> list[str]:
    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names:
        raise argparse.ArgumentTypeError("no name is given")
    return names


def _painted(text: str) -> list[int]:
    try:
        numbers = read_slices(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if numbers[0] < 1:
        raise argparse.ArgumentTypeError("at least one slice has to be painted")
    return numbers


def _whole(least: int, most: int | None = None, words: str = INTEGER.words) -> Callable[[str], Any]:
    """A parser of whole numbers within these bounds."""
    return _reader(Option("", Kind(words, INTEGER.check, int), "", least=least, most=most))
