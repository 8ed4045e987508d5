"""The local Anemoi catalogue: the REST API that the real client accepts, and web pages."""
