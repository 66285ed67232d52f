"""The command line, ``tiffin``: words in, one call to the feature store, words or JSON out.

No module here imports anything heavy when it is loaded; the commands do, inside, so that ``tiffin --help`` is quick.
"""

from tiffin.cli.root import root as main

__all__ = ["main"]
