"""Marks user texts as translatable, in the form that Slicer's translation tools find: `_("text").format(...)`."""

try:
    from slicer.i18n import tr as _
except ImportError:  # the wheel of Slicer's core, which tests and the browser app run on, has no translations

    def _(text: str) -> str:
        """The text itself."""
        return text


__all__ = ["_"]
