"""Where the kNN graph pays: the same methods on many small data sets, images and graphs."""
