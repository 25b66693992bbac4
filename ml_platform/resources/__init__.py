"""The resources: the lake, and the tracking server."""
