"""The panel's wording of the hints in core/hints.py."""

from FewShotSAMLib.widgets.translation import _

PANEL_WORDS = {
    "get-model": _("Press Download under Advanced, or choose a file that you have as checkpoint there."),
    "replace-model": _("Delete the file and press Download under Advanced."),
    "another-checkpoint": _("Download it again, or choose another file as checkpoint under Advanced."),
    "correct-checkpoint": _("Choose another checkpoint under Advanced, or none and press Download there."),
    "no-checkpoint": _("Empty the field Checkpoint under Advanced: this encoder needs no file."),
    "encoder-of-checkpoint": _("Choose the encoder {encoder}, or another checkpoint, under Advanced."),
    "checkpoint-of-encoder": _("Choose a SAM checkpoint of this encoder under Advanced."),
    "name-encoder": _("Choose the checkpoint's encoder under Advanced, too, or empty the field Checkpoint."),
    "fetch-by-hand": _("Take {file} from {source} and choose it as checkpoint under Advanced."),
    "fetch-later": _("Try again later, or take the file from {source} and choose it as checkpoint under Advanced."),
    "check-login": _(
        "Check whether this network asks for a login, or take the file from {source} and choose it as checkpoint "
        "under Advanced."
    ),
    "check-internet": _(
        "Check the internet connection and press Download again, or bring the file from another computer and choose "
        "it as checkpoint under Advanced."
    ),
    "another-device": _("Choose Automatic as device under Advanced."),
    "automatic-precision": _("Choose Automatic as precision under Advanced."),
    "free-memory": _(
        "Close other programs, or choose under Advanced a smaller encoder, or the CPU as device if the graphics card "
        "is the limit."
    ),
    "free-gpu-memory": _("Close other programs, or choose a smaller encoder, or the CPU as device, under Advanced."),
    "encoder-of-model": _(
        "Choose the encoder {encoder} and its checkpoint under Advanced, or learn again from painted slices."
    ),
    "method-of-model": _("Choose the method {method} under Advanced, or learn again from painted slices."),
    "no-earlier": _(
        "Untick the earlier patients, or choose under Advanced the method few-shot decoder and Automatic as encoder."
    ),
    "install-packages": _("Open the module again and press Install; without internet, From folder."),
    "install-reader": _("Load the file in 3D Slicer, and use it from there or save it as .nrrd."),
    "choose-painted": _("If this is a finished segmentation, untick slices in the list of painted slices."),
    "see-what-is-missing": _("Open the module again: it says what is missing, and how to install it."),
}
