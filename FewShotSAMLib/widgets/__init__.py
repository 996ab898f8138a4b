"""The desktop panel: Qt parts that show one `Session` and pass on what the user does. Nothing is computed here.

Public interface: `panel.Panel`, created by the module's shell, and `services.makeServices`, which the panel needs.
"""
