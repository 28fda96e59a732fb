"""The Jupyter server extension: REST over the store and a feed of its changes. Never imports torch."""
