"""An online store for tiffin that keeps its rows in one growing file; an example of a package of your own."""
