"""What a backend must do and what it may assume: abstract bases with a handful of bulk methods each."""
