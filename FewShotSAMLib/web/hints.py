"""The browser app's wording of the hints in core/hints.py.

Its users choose method, encoder and device under Settings; files and packages are on the server.
"""

_OPERATOR = "ask whoever runs the server"

BROWSER_WORDS = {
    "get-model": f"Choose another encoder under Settings, or {_OPERATOR} to download this one.",
    "replace-model": f"Choose another encoder under Settings, or {_OPERATOR} to delete the file and download it again.",
    "another-checkpoint": f"Choose another encoder under Settings, or {_OPERATOR} to download the file again.",
    "correct-checkpoint": f"Choose another encoder under Settings, or {_OPERATOR} to download this one.",
    "no-checkpoint": f"Choose another encoder under Settings, or {_OPERATOR} to correct the checkpoint.",
    "encoder-of-checkpoint": f"Choose the encoder {{encoder}} under Settings, or {_OPERATOR} to replace the file.",
    "checkpoint-of-encoder": f"Choose another encoder under Settings, or {_OPERATOR} to replace the file.",
    "name-encoder": "Choose an encoder other than Automatic under Settings.",
    "fetch-by-hand": f"Choose another encoder under Settings, or {_OPERATOR} to download {{file}} from {{source}}.",
    "fetch-later": f"Try again later, or {_OPERATOR} to download the file from {{source}}.",
    "check-login": f"Try again later, or {_OPERATOR} to download the file from {{source}}.",
    "check-internet": f"Try again later, or {_OPERATOR} to check its internet connection.",
    "another-device": "Choose Automatic as device under Settings.",
    "automatic-precision": f"Choose another encoder under Settings, or {_OPERATOR} to choose another precision.",
    "free-memory": "Under Settings, choose a smaller encoder, or the CPU as device if the GPU is the limit.",
    "free-gpu-memory": "Choose a smaller encoder, or the CPU as device, under Settings.",
    "encoder-of-model": "Choose the encoder {encoder} under Settings, or learn again from painted slices.",
    "method-of-model": "Choose the method {method} under Settings, or learn again from painted slices.",
    "no-earlier": "Untick the earlier patients, or choose Few-shot decoder and the encoder Automatic under Settings.",
    "install-packages": f"Choose another method under Settings, or {_OPERATOR} to install the package.",
    "install-reader": f"Save the file as .nrrd and open that, or {_OPERATOR} to install the package.",
    "choose-painted": "If this is a finished segmentation, untick slices in the list of painted slices.",
    "see-what-is-missing": f"Try again; if it does not help, {_OPERATOR} to look at its terminal.",
}
