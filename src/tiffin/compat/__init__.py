"""Other packages' names for what tiffin has."""
