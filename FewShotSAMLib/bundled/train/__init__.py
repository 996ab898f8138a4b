"""Trains the bundled model on synthetic anatomy: `python -m FewShotSAMLib.bundled.train --output FOLDER`.

Public interface: `anatomy.synthesise` (random volumes), `episodes.make_episode` (with painted slices and shape priors),
`train.Trainer`. No patient images are used.
"""
