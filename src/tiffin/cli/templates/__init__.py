"""The repositories that `tiffin init` writes, each a folder of files that are copied."""
