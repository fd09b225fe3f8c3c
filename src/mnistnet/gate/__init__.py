"""`mnistnet gate`: may this bundle ship? Measure it next to the champion, and apply the rules."""
