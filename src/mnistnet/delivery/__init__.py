"""May a bundle ship? Then ship it: gates, and the registry in git."""
