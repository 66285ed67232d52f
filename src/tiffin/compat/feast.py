"""Feast's module paths and names, for code that was written for Feast.

``import tiffin.compat.feast`` makes ``import feast`` mean tiffin from then on in this process, whether Feast is
installed or not. For a script, ``python -m tiffin.compat script.py`` or ``tiffin run script.py`` does the same; for the
files of a feature repository tiffin does it by itself while it loads them.
"""

from tiffin.compat.finder import install

install()
