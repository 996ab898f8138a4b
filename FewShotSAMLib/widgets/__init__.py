"""The desktop panel: Qt parts that show one `Session` and pass on what the user does. Nothing is computed here.

Public face: `panel.Panel`, which the module's shell makes, and `services.makeServices`, what the panel works with.
"""
