"""Runs the self-tests in this folder inside 3D Slicer, then exits: with code 0 if all passed. See README.md."""

import sys
import unittest
from pathlib import Path

import slicer

FOLDER = Path(__file__).resolve().parent

sys.path.insert(0, str(FOLDER))
suite = unittest.TestLoader().discover(str(FOLDER), pattern="*Test.py", top_level_dir=str(FOLDER))
result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
passed = result.wasSuccessful() and result.testsRun > len(result.skipped)
slicer.util.exit(slicer.util.EXIT_SUCCESS if passed else slicer.util.EXIT_FAILURE)
