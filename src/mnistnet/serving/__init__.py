"""The released model behind HTTP, and a page to draw on. Runs without torch; extra `serve`."""
