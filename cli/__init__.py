"""The command line: `main` dispatches, one thin module per verb does the work, nothing imports this room.

A verb's module is imported only when its verb is used: `affectrt --help` needs neither torch nor GStreamer.
"""
