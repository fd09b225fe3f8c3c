"""`mnistnet eval`: measure a run or a bundle on a data set, or on people's own pictures."""
