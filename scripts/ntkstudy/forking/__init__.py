"""Jobs forked from a process that has loaded torch and the library once, instead of one each.

`client` is what a run on one machine uses, `server` the process that it starts.
"""
