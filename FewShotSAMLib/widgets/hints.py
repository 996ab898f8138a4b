"""The panel's wording of the hints in core/hints.py."""

from FewShotSAMLib.widgets.translation import _

PANEL_WORDS = {
    "get-model": _("Press Download under Advanced, or choose a local file as checkpoint there."),
    "replace-model": _("Delete the file and press Download under Advanced."),
    "another-checkpoint": _("Download it again, or choose another file as checkpoint under Advanced."),
    "correct-checkpoint": _("Choose another checkpoint under Advanced, or clear that field and press Download."),
    "no-checkpoint": _("Clear the Checkpoint field under Advanced: this encoder needs no file."),
    "encoder-of-checkpoint": _("Choose the encoder {encoder}, or another checkpoint, under Advanced."),
    "checkpoint-of-encoder": _("Choose a SAM checkpoint for this encoder under Advanced."),
    "name-encoder": _("Also choose the checkpoint's encoder under Advanced, or clear the Checkpoint field."),
    "fetch-by-hand": _("Download {file} from {source} and choose it as checkpoint under Advanced."),
    "fetch-later": _("Try again later, or download the file from {source} and choose it as checkpoint under Advanced."),
    "check-login": _(
        "Check whether this network requires a login, or download the file from {source} and choose it as checkpoint "
        "under Advanced."
    ),
    "check-internet": _(
        "Check the internet connection and press Download again, or copy the file from another computer and choose "
        "it as checkpoint under Advanced."
    ),
    "another-device": _("Set Device to Automatic under Advanced."),
    "automatic-precision": _("Set Precision to Automatic under Advanced."),
    "free-memory": _(
        "Close other programs, or choose a smaller encoder under Advanced, or the CPU as device if GPU memory is too "
        "small."
    ),
    "free-gpu-memory": _("Close other programs, or choose a smaller encoder under Advanced, or the CPU as device."),
    "encoder-of-model": _(
        "Choose the encoder {encoder} and its checkpoint under Advanced, or learn again from painted slices."
    ),
    "method-of-model": _("Choose the method {method} under Advanced, or learn again from painted slices."),
    "no-earlier": _(
        "Untick the earlier patients, or choose the few-shot decoder as method and Automatic as encoder under Advanced."
    ),
    "install-packages": _("Open the module again and press Install; without internet, From folder."),
    "install-reader": _("Load the file in 3D Slicer, and use it there or save it as .nrrd."),
    "choose-painted": _("If this is a finished segmentation, untick slices in the list of painted slices."),
    "see-what-is-missing": _("Open the module again: it says what is missing, and how to install it."),
}
