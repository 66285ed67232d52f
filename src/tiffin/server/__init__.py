"""The HTTP server: features for programs that are not in Python, or not next to the store.

``app.create_app`` makes an ASGI application of a feature store; ``run.serve`` is what ``tiffin serve`` does with it.
"""
