"""What a sample is: an image, a node of a graph, or a whole graph; and the protocol of the numbers of each."""
