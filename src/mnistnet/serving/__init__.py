"""The HTTP service, its page, and what other servers need to serve a bundle."""
